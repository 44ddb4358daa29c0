//! The time of a network by the channels of its convolutions, with what was measured kept between runs.

use anyhow::Result;
use indicatif::ProgressBar;
use yolo_model::{Checkpoint, Layout};
use yolo_runtime::{ConvGeometry, WidthTimes};

use super::Stopwatch;
use crate::console::counter;

/// Predicts the time of networks like one that was measured, with other widths.
pub(crate) struct ChannelTimes<'a> {
    stopwatch: &'a Stopwatch,
    times: yolo_runtime::ChannelTimes<'a>,
    bar: ProgressBar,
}

/// A point of the grid as it is kept: input and output channels, size, window, step, padding, milliseconds.
type Saved = ([usize; 2], [[usize; 2]; 4], f64);

impl<'a> ChannelTimes<'a> {
    /// Times of networks that come from `checkpoint`.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub(crate) fn new(stopwatch: &'a Stopwatch, checkpoint: &Checkpoint) -> Result<Self> {
        let mut known = WidthTimes::default();
        let saved: Option<Vec<Saved>> = stopwatch.load(&stopwatch.key("channels"));
        for ([in_channels, out_channels], [size, kernel, stride, padding], ms) in saved.unwrap_or_default() {
            known.add(&ConvGeometry { in_channels, out_channels, size, kernel, stride, padding }, ms);
        }
        let bar = counter("Timing");
        let whole = stopwatch.times(checkpoint, &[0.0])?;
        let (shown, architecture) = (bar.clone(), &checkpoint.architecture);
        let progress = move |measured| shown.set_position(measured as u64);
        let times = yolo_runtime::ChannelTimes::new(
            architecture,
            &whole,
            known,
            stopwatch.image,
            &stopwatch.options,
            progress,
        )?;
        Ok(Self { stopwatch, times, bar })
    }

    /// Milliseconds of a network; not a number if it cannot be measured: see [`ChannelTimes::or_error`].
    pub(crate) fn of(&self, layout: &dyn Layout) -> f64 {
        self.times.of(layout)
    }

    /// The result of whatever asked for times, or what went wrong while measuring them. Keeps the grid, if something
    /// was added to it.
    pub(crate) fn or_error<T>(&self, result: Result<T>) -> Result<T> {
        self.bar.finish_and_clear();
        let times = self.times.finish()?;
        let saved = |(geometry, ms): (ConvGeometry, f64)| -> Saved {
            let ConvGeometry { in_channels, out_channels, size, kernel, stride, padding } = geometry;
            ([in_channels, out_channels], [size, kernel, stride, padding], ms)
        };
        if times.measured() > 0 {
            let points: Vec<Saved> = times.points().into_iter().map(saved).collect();
            self.stopwatch.save(&self.stopwatch.key("channels"), &points);
        }
        result
    }
}
