//! The time of a network by the channels of its convolutions.

use std::cell::RefCell;

use anyhow::Result;
use indicatif::ProgressBar;
use yolo_model::{Checkpoint, Layout};
use yolo_runtime::{ConvGeometry, WidthTimes, geometries};

use super::Stopwatch;
use crate::console::counter;

/// Predicts the time of networks like one that was measured, with other widths.
///
/// Every convolution is timed alone, on a grid of channels that is measured where it is asked about. In the network
/// they take a little more or less than that; by which factor, and what is no convolution, is taken from one
/// measurement of the whole.
pub(crate) struct ChannelTimes<'a> {
    stopwatch: &'a Stopwatch,
    times: RefCell<WidthTimes>,
    /// Milliseconds in the network over milliseconds alone.
    factor: f64,
    /// Milliseconds of what is no convolution.
    rest: f64,
    bar: ProgressBar,
    /// The first thing that went wrong.
    error: RefCell<Option<anyhow::Error>>,
}

/// A point of the grid as it is kept: input and output channels, size, window, step, padding, milliseconds.
type Saved = ([usize; 2], [[usize; 2]; 4], f64);

impl<'a> ChannelTimes<'a> {
    /// Times of networks that come from `checkpoint`.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub(crate) fn new(stopwatch: &'a Stopwatch, checkpoint: &Checkpoint) -> Result<Self> {
        let mut times = WidthTimes::default();
        let saved: Option<Vec<Saved>> = stopwatch.load(&stopwatch.key("channels"));
        for ([in_channels, out_channels], [size, kernel, stride, padding], ms) in saved.unwrap_or_default() {
            times.add(&ConvGeometry { in_channels, out_channels, size, kernel, stride, padding }, ms);
        }
        let bar = counter("Timing");
        let mut new =
            Self { stopwatch, times: times.into(), factor: 1.0, rest: 0.0, bar, error: None.into() };
        let alone = new.convolutions(&checkpoint.architecture)?;
        let measured = stopwatch.times(checkpoint, &[0.0])?;
        let whole = measured.whole.first().copied().unwrap_or_default();
        let convolutions: f64 = measured.convs.values().flatten().sum();
        new.factor = convolutions / alone.max(f64::MIN_POSITIVE);
        new.rest = (whole - convolutions).max(0.0);
        Ok(new)
    }

    /// Milliseconds of a network, which never grow when it loses channels. Not a number where it cannot be measured:
    /// see [`ChannelTimes::or_error`].
    pub(crate) fn of(&self, layout: &dyn Layout) -> f64 {
        match self.convolutions(layout) {
            Ok(milliseconds) => self.factor * milliseconds + self.rest,
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                f64::NAN
            }
        }
    }

    /// The result of whatever asked for times, or what went wrong while measuring them.
    pub(crate) fn or_error<T>(&self, result: Result<T>) -> Result<T> {
        self.bar.finish_and_clear();
        self.save();
        match self.error.borrow_mut().take() {
            Some(error) => Err(error),
            None => result,
        }
    }

    /// Milliseconds of all convolutions, each timed alone.
    fn convolutions(&self, layout: &dyn Layout) -> Result<f64> {
        let mut times = self.times.borrow_mut();
        let mut sum = 0.0;
        for (_, geometry) in geometries(&layout.program(), self.stopwatch.image) {
            sum += times.milliseconds(&geometry, &self.stopwatch.options)?;
            self.bar.set_position(times.measured() as u64);
        }
        Ok(sum)
    }

    /// Keeps the grid, where something was added to it.
    fn save(&self) {
        let times = self.times.borrow();
        if times.measured() == 0 {
            return;
        }
        let saved = |(geometry, ms): (ConvGeometry, f64)| -> Saved {
            let ConvGeometry { in_channels, out_channels, size, kernel, stride, padding } = geometry;
            ([in_channels, out_channels], [size, kernel, stride, padding], ms)
        };
        let points: Vec<Saved> = times.points().into_iter().map(saved).collect();
        self.stopwatch.save(&self.stopwatch.key("channels"), &points);
    }
}
