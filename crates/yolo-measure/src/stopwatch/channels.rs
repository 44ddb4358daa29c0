//! The time of a network by the channels of its convolutions, with what was measured kept between runs.

use yolo_model::{Checkpoint, Layout};
use yolo_runtime::{ConvGeometry, WidthTimes};

use super::Stopwatch;
use crate::Result;

/// Predicts the time of networks like one that was measured, with other widths.
pub struct ChannelTimes<'a> {
    stopwatch: &'a Stopwatch,
    times: yolo_runtime::ChannelTimes<'a>,
}

/// A point of the grid as it is kept: input and output channels, size, window, step, padding, milliseconds.
type Saved = ([usize; 2], [[usize; 2]; 4], f64);

impl<'a> ChannelTimes<'a> {
    /// Times of networks that come from `checkpoint`, whose whole time is measured now: `whole` is told of it as
    /// [`Stopwatch::table`] tells of its. `progress` is told how many single convolutions were measured, then and later.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub fn new(
        stopwatch: &'a Stopwatch,
        checkpoint: &Checkpoint,
        whole: &mut dyn FnMut(usize, usize),
        progress: impl Fn(usize) + 'a,
    ) -> Result<Self> {
        let mut known = WidthTimes::default();
        let saved: Option<Vec<Saved>> = stopwatch.load(&stopwatch.key("channels"));
        for ([in_channels, out_channels], [size, kernel, stride, padding], ms) in saved.unwrap_or_default() {
            known.add(&ConvGeometry { in_channels, out_channels, size, kernel, stride, padding }, ms);
        }
        let whole = stopwatch.times(checkpoint, &[0.0], whole)?;
        let times = yolo_runtime::ChannelTimes::new(
            &checkpoint.architecture,
            &whole,
            known,
            stopwatch.image,
            &stopwatch.options,
            progress,
        )?;
        Ok(Self { stopwatch, times })
    }

    /// Milliseconds of a network; not a number if it cannot be measured: see [`ChannelTimes::finish`].
    pub fn of(&self, layout: &dyn Layout) -> f64 {
        self.times.of(layout)
    }

    /// Whether every time that was asked for could be measured. Keeps the grid, if something was added to it.
    ///
    /// # Errors
    /// What went wrong while measuring.
    pub fn finish(&self) -> Result<()> {
        let times = self.times.finish()?;
        let saved = |(geometry, ms): (ConvGeometry, f64)| -> Saved {
            let ConvGeometry { in_channels, out_channels, size, kernel, stride, padding } = geometry;
            ([in_channels, out_channels], [size, kernel, stride, padding], ms)
        };
        if times.measured() > 0 {
            let points: Vec<Saved> = times.points().into_iter().map(saved).collect();
            self.stopwatch.save(&self.stopwatch.key("channels"), &points);
        }
        Ok(())
    }
}
