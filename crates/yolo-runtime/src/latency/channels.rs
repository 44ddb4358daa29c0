//! The time of a network by the channels of its convolutions.

use std::cell::RefCell;

use yolo_model::Layout;

use super::{NetworkTimes, WidthTimes, geometries};
use crate::error::{Result, RuntimeError};
use crate::plan::Options;

/// Predicts the time of networks like one that was measured, with other widths.
///
/// Every convolution is timed alone, on a grid of channels that is measured when it is asked about. In the network
/// they take a little more or less than that; by which factor, and what is not a convolution, is taken from one
/// measurement of the whole.
pub struct ChannelTimes<'a> {
    options: &'a Options,
    image: [usize; 2],
    times: RefCell<WidthTimes>,
    /// Milliseconds in the network over milliseconds alone.
    factor: f64,
    /// Milliseconds of what is not a convolution.
    rest: f64,
    /// Is told how many points of the grid were measured.
    progress: Box<dyn Fn(usize) + 'a>,
    /// The first thing that went wrong.
    error: RefCell<Option<RuntimeError>>,
}

impl<'a> ChannelTimes<'a> {
    /// Times of networks that come from `layout`, on images of `image` (height and width): `whole` are its own
    /// times, dense first, and `times` the points of the grid that are known.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub fn new(
        layout: &dyn Layout,
        whole: &NetworkTimes,
        times: WidthTimes,
        image: [usize; 2],
        options: &'a Options,
        progress: impl Fn(usize) + 'a,
    ) -> Result<Self> {
        let (times, progress) = (times.into(), Box::new(progress));
        let mut new = Self { options, image, times, factor: 1.0, rest: 0.0, progress, error: None.into() };
        let alone = new.convolutions(layout)?;
        let convolutions: f64 = whole.convs.values().flatten().sum();
        new.factor = convolutions / alone.max(f64::MIN_POSITIVE);
        new.rest = (whole.whole.first().copied().unwrap_or_default() - convolutions).max(0.0);
        Ok(new)
    }

    /// Milliseconds of a network, which never grow when it loses channels. Not a number if it cannot be measured; see
    /// [`ChannelTimes::finish`].
    pub fn of(&self, layout: &dyn Layout) -> f64 {
        match self.convolutions(layout) {
            Ok(milliseconds) => self.factor * milliseconds + self.rest,
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                f64::NAN
            }
        }
    }

    /// The grid, to be kept.
    ///
    /// # Errors
    /// The first thing that went wrong in [`ChannelTimes::of`].
    pub fn finish(&self) -> Result<std::cell::Ref<'_, WidthTimes>> {
        match self.error.borrow_mut().take() {
            Some(error) => Err(error),
            None => Ok(self.times.borrow()),
        }
    }

    /// Milliseconds of all convolutions, each timed alone.
    fn convolutions(&self, layout: &dyn Layout) -> Result<f64> {
        let mut times = self.times.borrow_mut();
        let mut sum = 0.0;
        for (_, geometry) in geometries(&layout.program(), self.image) {
            sum += times.milliseconds(&geometry, self.options)?;
            (self.progress)(times.measured());
        }
        Ok(sum)
    }
}
