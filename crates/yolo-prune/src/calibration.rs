//! Calibration: what a network's convolutions see on a handful of images, without labels.
//!
//! [`CalibrationImages`] holds the images as bytes; [`walk`] runs them through the network one convolution at a
//! time, through the dense weights and through those that a visitor chose so far; [`Moments`] are the first and
//! second moments of a convolution's input that reconstruction needs.

mod columns;
mod images;
mod moments;
mod walk;

use burn::tensor::Device;
use yolo_model::Model;

use crate::candidates::Candidate;
use crate::error::{PruneError, Result};
use crate::fused::Fused;
use crate::gradient::Labels;
use crate::image_scores::{saliencies, wanda};
use crate::measure::Measure;
use crate::method::Criterion;
use crate::scores::Scores;
use crate::sensitivity::{ErrorCurves, error_curves};

pub use images::{CalibrationImages, ImageBatch};
pub(crate) use moments::Moments;
pub use walk::bytes_per_image;
pub(crate) use walk::{ConvValues, ConvVisit, walk, walk_observed};

/// Where and with what to calibrate, and who hears of the progress.
pub struct Calibration<'a> {
    /// The images.
    pub images: &'a CalibrationImages,
    /// Where the network runs.
    pub device: &'a Device,
    /// Hears what is being done, how many steps of it are done, and how many there are.
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

impl Measure for Calibration<'_> {
    fn scores(
        &mut self,
        model: &dyn Model,
        fused: &Fused,
        candidates: &[Candidate],
        criterion: Criterion,
    ) -> Result<Scores<'static>> {
        match criterion {
            Criterion::Wanda => wanda(fused, candidates, self),
            Criterion::Snip => saliencies(model, candidates, self, Labels::Pseudo, |product| product.abs()),
            Criterion::Taylor => {
                saliencies(model, candidates, self, Labels::Drawn, |product| product * product)
            }
            Criterion::Magnitude | Criterion::Reconstruction => {
                Err(PruneError::Calibration { reason: "magnitudes are not measured on images".to_owned() })
            }
        }
    }

    fn error_curves(
        &mut self,
        fused: &Fused,
        candidates: &[Candidate],
        scores: &Scores,
    ) -> Result<ErrorCurves> {
        error_curves(fused, candidates, scores, self)
    }
}
