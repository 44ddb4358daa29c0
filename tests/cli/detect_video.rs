//! `detect` on videos and streams, through ffmpeg; skipped with a message where it is not installed.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::Case;

const DETECT: &str = "detect --weights in/tiny.safetensors --imgsz 64 --conf-thres 0.2";

/// A case with a video of `frames` pictures, or `None` with a message where there is no ffmpeg.
fn with_video(name: &str, frames: u32, size: &str, rate: &str) -> Option<Case> {
    let case = Case::with_model();
    make_video(&case.path(name), frames, size, rate).then_some(case)
}

/// Makes a video of `frames` pictures; false with a message where there is no ffmpeg.
pub(crate) fn make_video(file: &Path, frames: u32, size: &str, rate: &str) -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("skipped: ffmpeg is not installed");
        return false;
    }
    let picture = format!("testsrc=size={size}:rate={rate}");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", &picture])
        .args(["-frames:v", &frames.to_string(), "-c:v", "mpeg4"])
        .arg(file)
        .status();
    assert!(made.unwrap().success());
    true
}

/// Width, height, frame rate and number of frames that are really in a video.
fn facts(case: &Case, name: &str) -> (i64, i64, String, String) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "json"])
        .args(["-show_entries", "stream=width,height,avg_frame_rate,nb_read_frames,codec_name"])
        .arg(case.path(name))
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &json["streams"][0];
    assert_eq!(stream["codec_name"], "mpeg4", "{json}");
    let text = |key: &str| stream[key].as_str().unwrap().to_owned();
    let number = |key: &str| stream[key].as_i64().unwrap();
    (number("width"), number("height"), text("avg_frame_rate"), text("nb_read_frames"))
}

#[test]
fn a_video_comes_back_with_as_many_frames() {
    let Some(case) = with_video("in/clip.mp4", 100, "96x64", "25") else { return };
    let outcome = case.run(&format!("{DETECT} --source in/clip.mp4 --save-txt --json")).ok();
    let found = outcome.json();
    let results = found["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[99]["frame"]), (100, &100.into()));
    let expected = (96, 64, "25/1".to_owned(), "100".to_owned());
    assert_eq!(facts(&case, "runs/detect/exp/clip.mp4"), expected);
    let labelled =
        results.iter().filter(|result| !result["detections"].as_array().unwrap().is_empty()).count();
    let texts = outcome.written.iter().filter(|path| path.contains("/labels/clip_")).count();
    assert!(labelled > 0 && texts == labelled, "{texts} {labelled}");
    let outcome = outcome.shows(&["video 1/1 in/clip.mp4: 64x64, 100 frames, in all "]);
    assert!(!outcome.written.iter().any(|path| path.contains(".partial")), "{:?}", outcome.written);
}

#[test]
fn odd_sizes_and_rates_stay_and_a_stride_keeps_the_length() {
    let Some(case) = with_video("in/odd.avi", 30, "75x51", "30000/1001") else { return };
    case.run(&format!("{DETECT} --source in/odd.avi")).ok();
    let expected = (75, 51, "30000/1001".to_owned(), "30".to_owned());
    assert_eq!(facts(&case, "runs/detect/exp/odd.mp4"), expected);
    let found = case.run(&format!("{DETECT} --source in/odd.avi --vid-stride 3 --json")).ok().json();
    let frames: Vec<u64> =
        found["results"].as_array().unwrap().iter().map(|result| result["frame"].as_u64().unwrap()).collect();
    assert_eq!(frames, (0..10).map(|i| 3 * i + 1).collect::<Vec<_>>());
    let expected = (75, 51, "10000/1001".to_owned(), "10".to_owned());
    assert_eq!(facts(&case, "runs/detect/exp2/odd.mp4"), expected);
}

#[test]
fn a_video_that_cannot_be_read_costs_itself() {
    let Some(case) = with_video("in/good.mp4", 5, "64x64", "25") else { return };
    case.write("in/bad.mp4", b"no video");
    let outcome = case.run(&format!("{DETECT} --source in/*.mp4")).ok();
    outcome.warns(&["left out", "in/bad.mp4", "ffmpeg"]);
    assert!(case.path("runs/detect/exp/good.mp4").exists() && !case.path("runs/detect/exp/bad.mp4").exists());
    case.run(&format!("{DETECT} --source in/bad.mp4")).fails(&["in/bad.mp4", "ffmpeg"]);
}

#[test]
fn without_ffmpeg_the_error_says_what_to_install() {
    let case = Case::with_model();
    case.write("in/clip.mp4", b"whatever");
    let args: Vec<&str> = DETECT.split(' ').chain(["--source", "in/clip.mp4"]).collect();
    let outcome = case.run_with(&args, &[("PATH", String::new())]);
    outcome.fails(&["in/clip.mp4", "ffmpeg", "not in PATH", "apt install ffmpeg"]);
}

#[test]
fn a_stream_is_looked_at_until_it_ends() {
    let Some(case) = with_video("in/live.ts", 40, "64x64", "25") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("tcp://{}", listener.local_addr().unwrap());
    let bytes = case.read("in/live.ts");
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(&bytes));
    let outcome = case.run(&format!("{DETECT} --source {source} --reconnect 0 --json")).ok();
    // Whoever reads it may stop early.
    let _ = server.join().unwrap();
    let found = outcome.json();
    let frames: Vec<u64> =
        found["results"].as_array().unwrap().iter().map(|result| result["frame"].as_u64().unwrap()).collect();
    assert!(!frames.is_empty() && frames.is_sorted() && frames.last() == Some(&40), "{frames:?}");
    let video = outcome.written.iter().find(|path| path.ends_with(".mp4")).unwrap();
    assert_eq!(facts(&case, video).3, frames.len().to_string());
}

/// A camera that sends its video once to each of `visitors`.
fn camera(video: Vec<u8>, visitors: usize) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("tcp://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for _ in 0..visitors {
            // Whoever reads it may stop early.
            let _ = listener.accept().unwrap().0.write_all(&video);
        }
    });
    (source, server)
}

#[test]
fn streams_are_looked_at_together_and_lost_ones_come_back() {
    let Some(case) = with_video("in/live.ts", 12, "64x64", "25") else { return };
    let video = case.read("in/live.ts");
    let (steady, first) = camera(video.clone(), 1);
    let (restarted, second) = camera(video, 2);
    case.write("in/list.txt", format!("{steady}\n{restarted}\n"));
    let outcome = case.run(&format!("{DETECT} --source in/list.txt --reconnect 2 --json")).ok();
    first.join().unwrap();
    second.join().unwrap();
    let outcome = outcome.warns(&[&restarted, "the stream is lost", "connecting again for up to 2 s"]);
    let outcome = outcome.shows(&[&format!("{restarted}: the stream is back")]);
    let found = outcome.json();
    let results = found["results"].as_array().unwrap();
    let last = |source: &str| {
        let frames = results.iter().filter(|result| result["source"] == source);
        frames.map(|result| result["frame"].as_u64().unwrap()).max()
    };
    assert_eq!((last(&steady), last(&restarted)), (Some(12), Some(24)));
    let videos = outcome.written.iter().filter(|path| path.ends_with(".mp4")).count();
    assert_eq!(videos, 2, "{:?}", outcome.written);
}

#[test]
fn a_file_with_sound_only_is_one_clear_line() {
    let Some(case) = with_video("in/clip.mp4", 5, "64x64", "25") else { return };
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=0.2"])
        .arg(case.path("in/sound.mp4"))
        .status();
    assert!(made.unwrap().success());
    case.run(&format!("{DETECT} --source in/sound.mp4"))
        .fails(&["in/sound.mp4: it has no video, only sound or other data"]);
}
