//! Streams: they continue while we compute, so the latest picture counts and those before it are left out.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use yolo_data::image::RgbImage;

use super::VideoError;

/// How long we wait before we look whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// The latest picture of a stream, with its number from 1.
pub struct Latest {
    shared: Arc<(Mutex<Slot>, Condvar)>,
    /// Makes the thread's wait for the next picture end.
    stop: Option<Box<dyn FnOnce()>>,
    /// Whether the user wants to stop.
    is_stopped: fn() -> bool,
}

#[derive(Default)]
struct Slot {
    latest: Option<(u64, Result<RgbImage, VideoError>)>,
    has_ended: bool,
    is_dropped: bool,
}

impl Latest {
    /// Reads `frames` on a separate thread, which ends after `stop` was called. There are no more pictures once
    /// `is_stopped` returns true.
    pub fn of(
        frames: impl Iterator<Item = Result<RgbImage, VideoError>> + Send + 'static,
        stop: impl FnOnce() + 'static,
        is_stopped: fn() -> bool,
    ) -> Self {
        let shared = Arc::<(Mutex<Slot>, Condvar)>::default();
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (index, frame) in frames.enumerate() {
                let mut slot = theirs.0.lock().unwrap_or_else(PoisonError::into_inner);
                if slot.is_dropped {
                    return;
                }
                slot.latest = Some((index as u64 + 1, frame));
                theirs.1.notify_one();
            }
            theirs.0.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
            theirs.1.notify_one();
        });
        Self { shared, stop: Some(Box::new(stop)), is_stopped }
    }
}

/// What a stream has right now.
#[derive(Debug)]
pub enum Next {
    /// The latest picture, with its number.
    Frame(u64, Result<RgbImage, VideoError>),
    /// Nothing new.
    Waiting,
    /// Nothing any more.
    Ended,
}

impl Latest {
    /// The latest picture, without waiting for one.
    pub fn try_next(&mut self) -> Next {
        let mut slot = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.latest.take() {
            Some((number, frame)) => Next::Frame(number, frame),
            None if slot.has_ended => Next::Ended,
            None => Next::Waiting,
        }
    }
}

impl Iterator for Latest {
    type Item = (u64, Result<RgbImage, VideoError>);

    /// Waits for a picture; none when the stream ended or was stopped.
    fn next(&mut self) -> Option<Self::Item> {
        let (slot, changed) = &*self.shared;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        while slot.latest.is_none() && !slot.has_ended && !(self.is_stopped)() {
            slot = changed.wait_timeout(slot, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        slot.latest.take()
    }
}

impl Drop for Latest {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).is_dropped = true;
        if let Some(stop) = self.stop.take() {
            stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_came_while_we_computed_are_left_out() {
        let frames = (0..50u8).map(|grey| {
            std::thread::sleep(Duration::from_millis(4));
            Ok(RgbImage::filled(1, 1, [grey; 3]))
        });
        let mut seen = Vec::new();
        for (number, frame) in Latest::of(frames, || {}, || false) {
            let grey = frame.map(|frame| frame.pixels[0]).unwrap_or_default();
            assert_eq!(number, u64::from(grey) + 1);
            seen.push(number);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(seen.len() < 50 && seen.is_sorted(), "{seen:?}");
        assert_eq!(seen.last(), Some(&50));
    }
}
