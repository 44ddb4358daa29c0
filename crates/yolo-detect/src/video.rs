//! Videos and streams through the user's own ffmpeg: their frames, and videos that are written.

mod ffmpeg;
mod latest;
mod reconnect;
mod recorder;

use std::path::PathBuf;

pub use ffmpeg::{Ffmpeg, Frames, Probe, Rate};
pub use latest::{Latest, Next};
pub use reconnect::{LiveEvent, Reconnecting};
pub use recorder::Recorder;

/// Why a video cannot be read or written. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// There is no ffmpeg.
    #[error(
        "videos are read by ffmpeg, which is not in PATH; install it (apt install ffmpeg, brew install ffmpeg, \
         winget install ffmpeg): {0}"
    )]
    NotInstalled(std::io::Error),
    /// ffmpeg is there, but does not run.
    #[error("ffmpeg cannot be started: {0}")]
    Start(std::io::Error),
    /// ffmpeg ended without a picture and without a reason.
    #[error("no picture in it")]
    NoPicture,
    /// A file with sound only.
    #[error("it has no video, only sound or other data")]
    NoVideo,
    /// ffmpeg ended without a picture.
    #[error("ffmpeg cannot read it: {reason}")]
    Unreadable {
        /// The last line that it wrote.
        reason: String,
    },
    /// ffmpeg failed on the way.
    #[error("ffmpeg stopped after {frames} frames{}", because(reason))]
    Stopped {
        /// Pictures that it gave.
        frames: u64,
        /// The last line that it wrote; may be empty.
        reason: String,
    },
    /// A picture of another size than the first.
    #[error("{}: pictures of different sizes", .0.display())]
    DifferentSizes(PathBuf),
    /// ffmpeg cannot write the video.
    #[error("{}: ffmpeg cannot write it: {reason}", path.display())]
    Unwritable {
        /// The video.
        path: PathBuf,
        /// The last line that ffmpeg wrote.
        reason: String,
    },
    /// The complete video cannot be moved to its place.
    #[error("{}: cannot be written: {source}", path.display())]
    Rename {
        /// The video.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
