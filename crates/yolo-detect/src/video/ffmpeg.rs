//! Pictures of videos from ffmpeg, as PPM, which carries their size.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Error, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use yolo_data::image::{MAX_PIXELS, RgbImage};

use super::VideoError;

/// How ffmpeg says that a file has no video.
const NO_VIDEO: &str = "matches no streams";
/// Time bases of MPEG-4 have 16 bits.
const MAX_TIME_BASE: u64 = 65_535;

/// ffmpeg, as it is found in PATH.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    /// The flags that keep it from repeating and dropping frames.
    every_frame: [&'static str; 2],
}

/// Frames per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Pictures, above 0.
    pub frames: u64,
    /// In this many seconds, above 0.
    pub seconds: u64,
}

/// What a video says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Frame rate.
    pub rate: Rate,
    /// Number of frames, if the file says it.
    pub frames: Option<u64>,
}

impl Ffmpeg {
    /// Looks for it in PATH.
    ///
    /// # Errors
    /// [`VideoError::NotInstalled`].
    pub fn find() -> Result<Self, VideoError> {
        let version = Self::version().map_err(VideoError::NotInstalled)?;
        let text = String::from_utf8_lossy(&version.stdout);
        Ok(Self {
            every_frame: if is_before_5_1(&text) { ["-vsync", "0"] } else { ["-fps_mode", "passthrough"] },
        })
    }

    /// Frame rate and length of what `input` (arguments up to and with `-i`) opens, as ffprobe tells them; the usual
    /// rate if it does not.
    ///
    /// # Errors
    /// There is no ffprobe.
    pub fn probe(&self, input: &[OsString]) -> std::io::Result<Probe> {
        let wanted = "stream=avg_frame_rate,r_frame_rate,nb_frames";
        let flags = ["-v", "error", "-select_streams", "v:0", "-show_entries", wanted, "-of", "json"];
        let output = quiet(Command::new("ffprobe").args(flags).args(input))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        Ok(parse_probe(&output.stdout))
    }

    /// Opens `input` for reading.
    ///
    /// # Errors
    /// ffmpeg cannot be started.
    pub fn frames(&self, input: &[OsString]) -> Result<Frames, VideoError> {
        let mut child = quiet(Command::new("ffmpeg").args(["-nostdin", "-loglevel", "error"]).args(input))
            .args(["-map", "0:v:0", "-an", "-sn"])
            .args(self.every_frame)
            .args(["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(VideoError::Start)?;
        let stdout =
            child.stdout.take().ok_or_else(|| VideoError::Start(Error::other("it has no output")))?;
        let complaints = complaints(&mut child);
        let (child, stdout) = (Arc::new(Mutex::new(child)), BufReader::with_capacity(1 << 20, stdout));
        Ok(Frames { child, stdout, complaints, read: 0, has_ended: false })
    }

    /// What `ffmpeg -version` prints.
    ///
    /// # Errors
    /// There is no ffmpeg.
    pub fn version() -> std::io::Result<Output> {
        quiet(Command::new("ffmpeg").arg("-version")).stdin(Stdio::null()).stderr(Stdio::null()).output()
    }
}

/// A child in a separate process group, on systems that have them: Ctrl-C is for us, and we end it in good order.
pub(super) fn quiet(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command
}

/// Whether this is a version that does not know `-fps_mode` yet.
fn is_before_5_1(version: &str) -> bool {
    let number = version.split_whitespace().nth(2).unwrap_or_default().trim_start_matches('n');
    let mut parts = number.split(['.', '-']).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (5, 1),
        (Some(Ok(major)), _) => major < 5,
        // Builds from a repository are called by a commit; old ones are rare.
        _ => false,
    }
}

fn parse_probe(json: &[u8]) -> Probe {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let stream = &value["streams"][0];
    let text = |key: &str| stream[key].as_str().unwrap_or_default();
    let rate = [text("avg_frame_rate"), text("r_frame_rate")].into_iter().find_map(Rate::parse);
    Probe { rate: rate.unwrap_or(Rate::USUAL), frames: text("nb_frames").parse().ok() }
}

impl Rate {
    /// Of streams, and of videos that do not say.
    pub const USUAL: Self = Self { frames: 30, seconds: 1 };

    /// A fraction as ffmpeg writes it: `30000/1001`.
    fn parse(text: &str) -> Option<Self> {
        let (frames, seconds) = text.split_once('/').unwrap_or((text, "1"));
        let (frames, seconds) = (frames.parse().ok()?, seconds.parse().ok()?);
        (frames > 0 && seconds > 0 && frames / seconds <= 1000).then_some(Self { frames, seconds })
    }

    /// When only every n-th frame is kept and the video takes as long.
    pub fn every(self, n: u32) -> Self {
        Self { seconds: self.seconds.saturating_mul(u64::from(n)), ..self }
    }

    /// The same, or nearly, with numbers that MPEG-4 can hold.
    pub(super) fn fitted(self) -> Self {
        let (mut a, mut b) = (self.frames, self.seconds);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let (frames, seconds) = (self.frames / a.max(1), self.seconds / a.max(1));
        if frames <= MAX_TIME_BASE && seconds <= MAX_TIME_BASE {
            return Self { frames, seconds };
        }
        let per_second = frames as f64 / seconds.max(1) as f64;
        let seconds = if per_second < 60.0 { 1000 } else { 60 };
        Self { frames: ((per_second * seconds as f64).round() as u64).clamp(1, MAX_TIME_BASE), seconds }
    }
}

/// What ffmpeg writes to stderr, read on another thread so that it never waits for us; the last line of it, or the one
/// that tells that there is no video.
pub(super) fn complaints(child: &mut Child) -> Option<JoinHandle<String>> {
    let stderr = child.stderr.take()?;
    Some(std::thread::spawn(move || {
        let lines = BufReader::new(stderr).split(b'\n').map_while(std::result::Result::ok);
        let lines = lines.map(|line| String::from_utf8_lossy(line.trim_ascii()).into_owned());
        lines.filter(|line| !line.is_empty()).fold(String::new(), |kept, line| {
            // What follows that sentence is about ffmpeg's own flags.
            if kept.contains(NO_VIDEO) { kept } else { line }
        })
    }))
}

/// The pictures of a video, in order.
pub struct Frames {
    child: Arc<Mutex<Child>>,
    stdout: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
    read: u64,
    has_ended: bool,
}

impl Frames {
    /// Ends ffmpeg from another thread, so that nobody waits for a stream that sends nothing.
    pub fn stopper(&self) -> impl FnOnce() + Send + use<> {
        let child = Arc::clone(&self.child);
        move || kill(&child)
    }

    /// Waits for the end; an error if nothing could be read or ffmpeg failed.
    fn end(&mut self) -> Option<VideoError> {
        if std::mem::replace(&mut self.has_ended, true) {
            return None;
        }
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let reason = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let failed = !status.is_ok_and(|status| status.success()) || self.read == 0;
        let error = match (reason.is_empty(), self.read) {
            (true, 0) => VideoError::NoPicture,
            (false, 0) if reason.contains(NO_VIDEO) => VideoError::NoVideo,
            (false, 0) => VideoError::Unreadable { reason },
            (_, frames) => VideoError::Stopped { frames, reason },
        };
        failed.then_some(error)
    }
}

impl Iterator for Frames {
    type Item = Result<RgbImage, VideoError>;

    fn next(&mut self) -> Option<Self::Item> {
        match read_ppm(&mut self.stdout) {
            Ok(Some(image)) => {
                self.read += 1;
                Some(Ok(image))
            }
            // A picture that is cut off is the end, as a player would have it.
            Ok(None) | Err(_) => self.end().map(Err),
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if !self.has_ended {
            kill(&self.child);
        }
    }
}

/// Ends a child, which may have ended by itself.
fn kill(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = child.kill();
    let _ = child.wait();
}

/// The next picture; none at the end.
fn read_ppm(from: &mut impl BufRead) -> std::io::Result<Option<RgbImage>> {
    let mut header = [String::new(), String::new(), String::new()];
    for line in &mut header {
        if from.by_ref().take(64).read_line(line)? == 0 {
            return Ok(None);
        }
    }
    let invalid = || Error::other(format!("not a PPM header: {header:?}"));
    let size = header[1].trim().split_once(' ').map(|(width, height)| (width.parse(), height.parse()));
    let Some((Ok(width), Ok(height))) = size else { return Err(invalid()) };
    let (width, height): (u32, u32) = (width, height);
    let count = u64::from(width) * u64::from(height);
    if header[0].trim() != "P6" || header[2].trim() != "255" || count == 0 || count > MAX_PIXELS {
        return Err(invalid());
    }
    let mut pixels = vec![0; count as usize * 3];
    from.read_exact(&mut pixels)?;
    Ok(Some(RgbImage { width, height, pixels }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        let before =
            |number: &str| is_before_5_1(&format!("ffmpeg version {number} Copyright (c) 2000-2021"));
        assert!(before("4.4.2-0ubuntu0.22.04.1") && before("5.0") && before("n4.3.1"));
        assert!(!before("5.1.9-0+deb12u1") && !before("8.0") && !before("n7.1") && !before("N-117-gabc"));
        assert!(!is_before_5_1(""));
    }

    #[test]
    fn rates_are_exact_fractions_that_mpeg_4_can_hold() {
        let rate = |text: &str| Rate::parse(text).map(|rate| (rate.frames, rate.seconds));
        assert_eq!(rate("30000/1001"), Some((30000, 1001)));
        assert_eq!((rate("25"), rate("0/0"), rate("90000/1"), rate("x")), (Some((25, 1)), None, None, None));
        let fitted = |frames, seconds| {
            let rate = Rate { frames, seconds }.fitted();
            (rate.frames, rate.seconds)
        };
        assert_eq!(fitted(30000, 1001), (30000, 1001));
        assert_eq!(fitted(60, 2), (30, 1));
        assert_eq!(fitted(2_997_003, 100_000), (29_970, 1000));
        assert_eq!(Rate { frames: 30, seconds: 1 }.every(3).fitted(), Rate { frames: 10, seconds: 1 });
    }

    #[test]
    fn probes_are_read_and_may_be_missing() {
        let json =
            br#"{"streams": [{"r_frame_rate": "30/1", "avg_frame_rate": "24000/1001", "nb_frames": "7"}]}"#;
        assert_eq!(parse_probe(json), Probe { rate: Rate { frames: 24000, seconds: 1001 }, frames: Some(7) });
        let still = br#"{"streams": [{"r_frame_rate": "12/1", "avg_frame_rate": "0/0"}]}"#;
        assert_eq!(parse_probe(still), Probe { rate: Rate { frames: 12, seconds: 1 }, frames: None });
        assert_eq!(parse_probe(b""), Probe { rate: Rate::USUAL, frames: None });
    }

    #[test]
    fn pictures_carry_their_size() {
        let bytes = b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyzP6\n1 1\n255\nx";
        let mut from = BufReader::new(&bytes[..]);
        let first = read_ppm(&mut from).unwrap().unwrap();
        assert_eq!((first.width, first.height, first.pixels.as_slice()), (2, 1, &b"abcdef"[..]));
        assert_eq!(read_ppm(&mut from).unwrap().unwrap().pixels, b"xyz");
        assert!(read_ppm(&mut from).is_err());
        for bad in [&b"P5\n1 1\n255\nx"[..], b"P6\n0 9\n255\n", b"P6\n99999 99999\n255\n", b"P6\n1\n255\n"] {
            assert!(read_ppm(&mut BufReader::new(bad)).is_err());
        }
        assert!(read_ppm(&mut BufReader::new(&b""[..])).unwrap().is_none());
    }
}
