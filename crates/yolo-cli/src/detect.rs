//! The parts of `detect`: what it looks at, what it writes, and videos.

pub(crate) mod ffmpeg;
pub(crate) mod live;
pub(crate) mod output;
pub(crate) mod sources;
