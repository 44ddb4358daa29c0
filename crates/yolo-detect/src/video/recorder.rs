//! Videos that ffmpeg writes, from raw RGB.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use yolo_data::image::RgbImage;

use super::VideoError;
use super::ffmpeg::{Rate, complaints, quiet};

/// A video that is being written. It appears under its name when it is complete.
pub struct Recorder {
    child: Child,
    stdin: Option<ChildStdin>,
    complaints: Option<JoinHandle<String>>,
    size: (u32, u32),
    path: PathBuf,
    partial: PathBuf,
    is_finished: bool,
}

impl Recorder {
    /// Starts the MPEG-4 video `path` (.mp4) of pictures of `(width, height)`.
    ///
    /// # Errors
    /// ffmpeg cannot be started.
    pub fn start(path: &Path, size: (u32, u32), rate: Rate) -> Result<Self, VideoError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".partial-{name}"));
        let Rate { frames, seconds } = rate.fitted();
        let mut child = quiet(Command::new("ffmpeg").args(["-loglevel", "error", "-y", "-f", "rawvideo"]))
            .args(["-pix_fmt", "rgb24", "-video_size", &format!("{}x{}", size.0, size.1)])
            .args(["-framerate", &format!("{frames}/{seconds}"), "-i", "pipe:0"])
            .args(["-an", "-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p", "-f", "mp4"])
            .arg(&partial)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(VideoError::Start)?;
        let (stdin, complaints) = (child.stdin.take(), complaints(&mut child));
        Ok(Self { child, stdin, complaints, size, path: path.to_owned(), partial, is_finished: false })
    }

    /// Adds a picture, which has the size of the first.
    ///
    /// # Errors
    /// Another size, or ffmpeg failed.
    pub fn write(&mut self, image: &RgbImage) -> Result<(), VideoError> {
        if (image.width, image.height) != self.size {
            return Err(VideoError::DifferentSizes(self.path.clone()));
        }
        let written = self.stdin.as_mut().map(|stdin| stdin.write_all(&image.pixels));
        match written {
            Some(Ok(())) => Ok(()),
            // Why it closed its input is on its stderr.
            _ => self.close(),
        }
    }

    /// Completes the file.
    ///
    /// # Errors
    /// ffmpeg failed, or the file cannot be moved to its place.
    pub fn finish(mut self) -> Result<(), VideoError> {
        self.close()?;
        std::fs::rename(&self.partial, &self.path)
            .map_err(|source| VideoError::Rename { path: self.path.clone(), source })?;
        self.is_finished = true;
        Ok(())
    }

    fn close(&mut self) -> Result<(), VideoError> {
        drop(self.stdin.take());
        let status = self.child.wait().map_err(VideoError::Start)?;
        let reason = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        if !status.success() {
            return Err(VideoError::Unwritable { path: self.path.clone(), reason });
        }
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.is_finished {
            drop(self.stdin.take());
            let _ = self.child.wait();
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}
