//! Calibration: the inputs of a network's convolutions on a few images, without labels.
//!
//! [`CalibrationImages`] holds the images as bytes; [`walk`] runs them through the network one convolution at a
//! time, through the dense weights and through those that a visitor chose so far; [`Moments`] are the first and
//! second moments of a convolution's input that reconstruction needs.

mod columns;
mod images;
mod moments;
mod walk;

use burn::tensor::Device;

pub use images::{CalibrationImages, ImageBatch};
pub(crate) use moments::Moments;
pub use walk::bytes_per_image;
pub(crate) use walk::{ConvValues, ConvVisit, walk, walk_observed};

/// Images to calibrate with, the device, and a callback for progress.
pub struct Calibration<'a> {
    /// The images.
    pub images: &'a CalibrationImages,
    /// The device that runs the network.
    pub device: &'a Device,
    /// Is called with the current stage, the steps done, and the steps in all.
    pub progress: &'a mut dyn FnMut(&'static str, usize, usize),
    stage: (&'static str, usize, usize),
}

impl<'a> Calibration<'a> {
    /// Calibration with `images` on `device`.
    pub fn new(
        images: &'a CalibrationImages,
        device: &'a Device,
        progress: &'a mut dyn FnMut(&'static str, usize, usize),
    ) -> Self {
        Self { images, device, progress, stage: ("", 0, 0) }
    }

    /// Begins something of `total` steps.
    pub(crate) fn start(&mut self, what: &'static str, total: usize) {
        self.stage = (what, 0, total);
        (self.progress)(what, 0, total);
    }

    /// One step is done.
    pub(crate) fn step(&mut self) {
        let (what, done, total) = &mut self.stage;
        *done += 1;
        (self.progress)(what, *done, *total);
    }
}
