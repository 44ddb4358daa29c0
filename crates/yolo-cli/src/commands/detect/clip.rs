//! Videos and streams of `detect`: frames in, boxes out, and a video with them.

use anyhow::Result;
use indicatif::ProgressBar;
use std::time::Duration;
use yolo_data::image::RgbImage;
use yolo_detect::Detected;
use yolo_detect::sources::Input;
use yolo_detect::video::{Frames, Latest, LiveEvent, Next, Probe, Rate, Reconnecting, Recorder, VideoError};
use yolo_report::detections::ClassCounts;

use super::Session;
use crate::console::{counter, progress_bar};
use crate::detect::output::draw;
use crate::interrupt;

/// How long we wait for a picture of any stream before we look again.
const PATIENCE: Duration = Duration::from_millis(20);

/// A video or stream that is being looked at.
struct Clip<'a> {
    input: &'a Input,
    place: String,
    /// What its files are called.
    stem: String,
    /// Frames per time of the video that is written.
    rate: Rate,
    recorder: Option<Recorder>,
    /// Size of the pictures of the recorder, and how many videos were begun: a camera that comes back may send another
    /// size.
    size: (u32, u32),
    parts: u32,
    frames: u64,
    /// Number of the frame that is processed next.
    next: u64,
    classes: ClassCounts,
    inference_ms: f64,
    shape: [usize; 4],
}

impl Session<'_> {
    /// Every frame of a video file.
    pub(super) fn video(&mut self, place: &str, input: &Input) -> Result<()> {
        let (frames, probe) = match self.open(input) {
            Ok(opened) => opened,
            Err(error) => {
                self.skip(input.name.clone(), format!("{}: {error}", input.name));
                return Ok(());
            }
        };
        let bar = match probe.frames {
            Some(frames) => progress_bar("Detecting", frames),
            None => counter("Detecting"),
        };
        let mut clip = self.clip(place, input, probe.rate.every(self.args.vid_stride));
        for (number, frame) in (1..).zip(frames) {
            if interrupt::requested() {
                break;
            }
            bar.set_position(number);
            match frame {
                Ok(image) => self.frame(&mut clip, number, image)?,
                Err(error) => {
                    self.cut_short(&clip, &error);
                    break;
                }
            }
        }
        bar.finish_and_clear();
        self.close(clip)
    }

    /// The latest pictures of all streams in turn, until the last stream ends.
    pub(super) fn streams(&mut self, inputs: &[(String, &Input)]) -> Result<()> {
        let mut live = Vec::new();
        for (place, input) in inputs {
            match self.live(input) {
                Ok(latest) => live.push((self.clip(place, input, Rate::USUAL), latest)),
                Err(error) => self.skip(input.name.clone(), format!("{}: {error}", input.name)),
            }
        }
        let bar = counter("Detecting");
        while !live.is_empty() && !interrupt::requested() {
            let mut is_idle = true;
            let mut at = 0;
            while at < live.len() && !interrupt::requested() {
                let (clip, latest) = &mut live[at];
                let ended = match latest.try_next() {
                    Next::Frame(number, Ok(image)) => {
                        is_idle = false;
                        show_position(&bar, clip, number);
                        self.frame(clip, number, image)?;
                        false
                    }
                    Next::Frame(_, Err(error)) => {
                        self.cut_short(clip, &error);
                        true
                    }
                    Next::Waiting => false,
                    Next::Ended => true,
                };
                if ended {
                    let (clip, _) = live.remove(at);
                    self.close(clip)?;
                } else {
                    at += 1;
                }
            }
            if is_idle {
                std::thread::sleep(PATIENCE);
            }
        }
        bar.finish_and_clear();
        live.into_iter().try_for_each(|(clip, _)| self.close(clip))
    }

    fn clip<'a>(&mut self, place: &str, input: &'a Input, rate: Rate) -> Clip<'a> {
        Clip {
            input,
            place: place.to_owned(),
            stem: self.files.stem(&input.stem, &input.name),
            rate,
            recorder: None,
            size: (0, 0),
            parts: 0,
            frames: 0,
            next: 0,
            classes: ClassCounts::default(),
            inference_ms: 0.0,
            shape: [0; 4],
        }
    }

    fn frame(&mut self, clip: &mut Clip<'_>, number: u64, mut image: RgbImage) -> Result<()> {
        if number < clip.next {
            return Ok(());
        }
        clip.next = number + u64::from(self.args.vid_stride);
        let found = self.detect(&clip.input.name, Some(number), &image)?;
        clip.add(&found);
        let file = format!("{}_{number}", clip.stem);
        self.files.detections(&file, &file, &image, &found.boxes)?;
        if !self.args.nosave {
            draw(&mut image, &found.boxes, self.names, self.args);
            self.record(clip, &image)?;
        }
        Ok(())
    }

    fn record(&mut self, clip: &mut Clip<'_>, image: &RgbImage) -> Result<()> {
        let size = (image.width, image.height);
        if clip.size != size
            && let Some(recorder) = clip.recorder.take()
        {
            recorder.finish()?;
            self.files.any = true;
        }
        let recorder = match &mut clip.recorder {
            Some(recorder) => recorder,
            None => {
                (clip.size, clip.parts) = (size, clip.parts + 1);
                let part = if clip.parts > 1 { format!("_part{}", clip.parts) } else { String::new() };
                let path = self.run.path().join(format!("{}{part}.mp4", clip.stem));
                clip.recorder.insert(Recorder::start(&path, size, clip.rate)?)
            }
        };
        Ok(recorder.write(image)?)
    }

    /// Completes the video that is written, and prints the clip's line.
    fn close(&mut self, mut clip: Clip<'_>) -> Result<()> {
        if let Some(recorder) = clip.recorder.take() {
            recorder.finish()?;
            self.files.any = true;
        }
        clip.line(self.names).map_or(Ok(()), |line| self.output.line(line))
    }

    fn open(&mut self, input: &Input) -> Result<(Frames, Probe), VideoError> {
        let ffmpeg = self.ffmpeg()?;
        let probe = ffmpeg.probe(&input.args).unwrap_or_else(|_| {
            let name = &input.name;
            tracing::warn!("{name}: ffprobe is not in PATH, so 30 frames per second are assumed");
            Probe { rate: Rate::USUAL, frames: None }
        });
        Ok((ffmpeg.frames(&input.args)?, probe))
    }

    fn live(&mut self, input: &Input) -> Result<Latest, VideoError> {
        let patience = Duration::from_secs(u64::from(self.args.reconnect));
        let name = input.name.clone();
        let frames = Reconnecting::open(self.ffmpeg()?, &input.args, patience, move |event| match event {
            LiveEvent::Lost { reason } => {
                let seconds = patience.as_secs();
                let because = if reason.is_empty() { reason.to_owned() } else { format!(": {reason}") };
                tracing::warn!("{name}: the stream is lost{because}; connecting again for up to {seconds} s");
            }
            LiveEvent::Regained => tracing::info!("{name}: the stream is back"),
        })?;
        let stop = frames.stopper();
        Ok(Latest::of(frames, stop, interrupt::requested))
    }

    /// A video that ended with an error: left out if no frame was processed.
    fn cut_short(&mut self, clip: &Clip<'_>, error: &VideoError) {
        let message = format!("{}: {error}", clip.input.name);
        if clip.frames == 0 {
            self.skip(clip.input.name.clone(), message);
        } else {
            tracing::warn!("{message}");
        }
    }
}

fn show_position(bar: &ProgressBar, clip: &Clip<'_>, number: u64) {
    bar.set_message(clip.input.name.clone());
    bar.set_position(number);
}

impl Clip<'_> {
    fn add(&mut self, found: &Detected) {
        self.frames += 1;
        self.inference_ms += found.speed.inference;
        self.shape = found.speed.shape;
        self.classes.add(&found.boxes);
    }

    /// A line for the video, if any frame was processed.
    fn line(&self, names: &[String]) -> Option<String> {
        let [_, _, height, width] = self.shape;
        let mean = self.inference_ms / self.frames.max(1) as f64;
        let plural = if self.frames > 1 { "s" } else { "" };
        (self.frames > 0).then(|| {
            format!(
                "video {} {}: {height}x{width}, {} frame{plural}, in all {}, {mean:.1}ms",
                self.place,
                self.input.name,
                self.frames,
                self.classes.line(names)
            )
        })
    }
}
