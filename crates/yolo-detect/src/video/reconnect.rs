//! Streams that are connected to again when they are lost: a camera that restarts, a network that fails.

use std::ffi::OsString;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use yolo_data::image::RgbImage;

use super::{Ffmpeg, Frames, VideoError};

/// The pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What happens to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveEvent<'a> {
    /// It ended or broke; connecting again begins. The reason may be empty.
    Lost {
        /// What ffmpeg said.
        reason: &'a str,
    },
    /// Pictures come again.
    Regained,
}

/// Opens a source.
type Open = Box<dyn FnMut() -> Result<Source, VideoError> + Send>;

/// Pictures, and what ends the wait for them.
struct Source {
    pictures: Box<dyn Iterator<Item = Result<RgbImage, VideoError>> + Send>,
    stop: Box<dyn FnOnce() + Send>,
}

impl From<Frames> for Source {
    fn from(frames: Frames) -> Self {
        let stop = Box::new(frames.stopper());
        Self { pictures: Box::new(frames), stop }
    }
}

/// What another thread may stop.
#[derive(Default)]
struct Control {
    is_stopped: bool,
    stop: Option<Box<dyn FnOnce() + Send>>,
}

/// The pictures of a stream, across interruptions.
pub struct Reconnecting {
    open: Open,
    pictures: Option<Box<dyn Iterator<Item = Result<RgbImage, VideoError>> + Send>>,
    control: Arc<(Mutex<Control>, Condvar)>,
    patience: Duration,
    notify: Box<dyn Fn(LiveEvent<'_>) + Send>,
    /// Whether there was a picture: a stream that never sent one is wrong, not lost.
    has_begun: bool,
}

impl Reconnecting {
    /// Opens `input` (arguments up to and with `-i`). A stream that ends or breaks after its first picture is opened again
    /// and again until pictures come, for at most `patience`; zero does not try. `notify` is called on the thread that
    /// asks for pictures.
    ///
    /// # Errors
    /// ffmpeg cannot be started.
    pub fn open(
        ffmpeg: &Ffmpeg,
        input: &[OsString],
        patience: Duration,
        notify: impl Fn(LiveEvent<'_>) + Send + 'static,
    ) -> Result<Self, VideoError> {
        let (ffmpeg, input) = (ffmpeg.clone(), input.to_vec());
        Self::with(Box::new(move || ffmpeg.frames(&input).map(Source::from)), patience, Box::new(notify))
    }

    fn with(
        mut open: Open,
        patience: Duration,
        notify: Box<dyn Fn(LiveEvent<'_>) + Send>,
    ) -> Result<Self, VideoError> {
        let first = open()?;
        let mut stream =
            Self { open, pictures: None, control: Arc::default(), patience, notify, has_begun: false };
        stream.adopt(first);
        Ok(stream)
    }

    /// Ends the stream from another thread.
    pub fn stopper(&self) -> impl FnOnce() + Send + use<> {
        let control = Arc::clone(&self.control);
        move || {
            let mut state = control.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_stopped = true;
            let stop = state.stop.take();
            drop(state);
            control.1.notify_all();
            if let Some(stop) = stop {
                stop();
            }
        }
    }

    fn adopt(&mut self, source: Source) {
        self.pictures = Some(source.pictures);
        let mut state = self.control.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped {
            (source.stop)();
        } else {
            state.stop = Some(source.stop);
        }
    }

    /// Waits; true if the stream was stopped meanwhile.
    fn pause(&self, pause: Duration) -> bool {
        let state = self.control.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.control.1.wait_timeout_while(state, pause, |state| !state.is_stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    /// The first picture after an interruption; `last` is how the stream ended.
    fn reconnected(&mut self, last: Option<VideoError>) -> Option<Result<RgbImage, VideoError>> {
        let reason = last.as_ref().map(ToString::to_string).unwrap_or_default();
        (self.notify)(LiveEvent::Lost { reason: &reason });
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        while start.elapsed() < self.patience {
            let left = self.patience.saturating_sub(start.elapsed());
            if self.pause(pause.min(left)) {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            let Ok(source) = (self.open)() else { continue };
            self.adopt(source);
            if let Some(Ok(image)) = self.pictures.as_mut().and_then(Iterator::next) {
                (self.notify)(LiveEvent::Regained);
                return Some(Ok(image));
            }
        }
        last.map(Err)
    }
}

impl Iterator for Reconnecting {
    type Item = Result<RgbImage, VideoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = match self.pictures.as_mut()?.next() {
            Some(Ok(image)) => {
                self.has_begun = true;
                return Some(Ok(image));
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        self.pictures = None;
        let is_stopped = self.control.0.lock().unwrap_or_else(PoisonError::into_inner).is_stopped;
        let next = match is_stopped || !self.has_begun || self.patience.is_zero() {
            true => end.map(Err),
            false => self.reconnected(end),
        };
        if !matches!(next, Some(Ok(_))) {
            self.pictures = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A stream of parts: how many pictures each gives before it is lost; a part of none cannot be opened.
    fn stream(parts: &'static [usize], patience: Duration) -> (Reconnecting, Arc<Mutex<Vec<&'static str>>>) {
        let events = Arc::<Mutex<Vec<&'static str>>>::default();
        let seen = Arc::clone(&events);
        let mut parts = parts.iter();
        let open = move || match parts.next() {
            Some(&count @ 1..) => {
                let pictures = (0..count).map(|_| Ok(RgbImage::filled(1, 1, [0; 3])));
                Ok(Source { pictures: Box::new(pictures), stop: Box::new(|| ()) })
            }
            _ => Err(VideoError::NoPicture),
        };
        let notify = move |event: LiveEvent<'_>| {
            let name = if event == LiveEvent::Regained { "regained" } else { "lost" };
            seen.lock().unwrap().push(name);
        };
        (Reconnecting::with(Box::new(open), patience, Box::new(notify)).unwrap(), events)
    }

    #[test]
    fn a_lost_stream_continues_where_it_can_be_opened_again() {
        let (pictures, events) = stream(&[3, 0, 2], Duration::from_secs(2));
        assert_eq!(pictures.map(Result::unwrap).count(), 5);
        assert_eq!(*events.lock().unwrap(), ["lost", "regained", "lost"]);
    }

    #[test]
    fn without_patience_a_stream_ends_where_it_ends() {
        let (pictures, events) = stream(&[3, 2], Duration::ZERO);
        assert_eq!(pictures.count(), 3);
        assert!(events.lock().unwrap().is_empty());
    }

    #[test]
    fn a_stream_that_is_stopped_is_not_waited_for() {
        let (mut pictures, _) = stream(&[1], Duration::from_secs(600));
        assert!(pictures.next().unwrap().is_ok());
        let stop = pictures.stopper();
        let start = Instant::now();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            stop();
        });
        assert!(pictures.next().is_none());
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
