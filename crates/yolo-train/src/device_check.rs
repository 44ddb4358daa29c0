//! Whether a device computes what the processor does, and how fast: a numerical self-check.
//!
//! Each check returns rows with what was measured and what is allowed. A back end may panic on what it cannot do;
//! whoever runs the checks catches that.

mod epoch;
mod layers;
mod losses;
mod rows;
mod speed;
mod steps;

use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::HalfFormat;

use crate::error::Result;

pub use epoch::{Example, Trainer};
pub use rows::{Outcome, Row, table};
pub use speed::{Load, Speed};

/// A device, and what it is compared with.
pub struct DeviceCheck<'a> {
    /// The device that is checked.
    pub device: &'a Device,
    /// The one that it is compared with.
    pub reference: &'a Device,
    /// A trained network. Gradients of random weights are chaos after some sixty normalisations; those of trained ones
    /// are not.
    pub weights: &'a Checkpoint,
    /// Whether images and networks are small: for trying out the check itself.
    pub is_quick: bool,
    /// When nothing new begins any more.
    pub deadline: Instant,
}

impl DeviceCheck<'_> {
    /// The layers of stock networks, in every format that the device has.
    ///
    /// # Errors
    /// A network that cannot run on the device; the same for the other checks.
    pub fn layers(&self) -> Result<Vec<Row>> {
        layers::stock(self)
    }

    /// The layers of a network whose channels were pruned to counts that no kernel was made for.
    ///
    /// # Errors
    /// As [`Self::layers`].
    pub fn odd_widths(&self) -> Result<Vec<Row>> {
        layers::odd_widths(self)
    }

    /// Loss and gradients of one batch.
    ///
    /// # Errors
    /// As [`Self::layers`].
    pub fn losses(&self) -> Result<Vec<Row>> {
        losses::compared(self)
    }

    /// Loss and gradients beside those of a reference: `loss.json` and `loss_batch.safetensors` in `folder`.
    ///
    /// # Errors
    /// As [`Self::layers`], or files that cannot be read.
    pub fn reference_losses(&self, folder: &Path) -> Result<Vec<Row>> {
        losses::reference(self, folder)
    }

    /// Some steps of training on one batch: the loss has to fall, and pruned weights have to stay zero.
    ///
    /// # Errors
    /// As [`Self::layers`].
    pub fn steps(&self) -> Result<Vec<Row>> {
        steps::check(self)
    }

    /// How many images a second go through networks, forward and in training, and rows for what there was no time for.
    ///
    /// # Errors
    /// As [`Self::layers`].
    pub fn speed(&self) -> Result<(Vec<Speed>, Vec<Row>)> {
        speed::measure(self)
    }

    /// Whether nothing new is to begin.
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// The formats of 16 bits that the device has, and that a network can be compared in.
    pub fn formats(&self) -> impl Iterator<Item = HalfFormat> {
        let has = |format: &HalfFormat| self.device.supports_dtype(format.dtype());
        [HalfFormat::Fp16, HalfFormat::Bf16].into_iter().filter(has)
    }

    /// Side of the images of comparisons, in pixels.
    fn image_size(&self) -> usize {
        if self.is_quick { 64 } else { 320 }
    }

    /// Names of the stock networks that are compared.
    fn networks(&self) -> &'static [&'static str] {
        if self.is_quick { &["yolov5n"] } else { &["yolov5n", "yolov5s"] }
    }
}

/// A stock network with random weights, the same every time.
///
/// # Errors
/// A name of no stock network.
pub fn stock_network(name: &str) -> Result<Checkpoint> {
    let architecture = Architecture::variant(name, Some(80))?;
    let mut checkpoint = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(0))?;
    // With scales of 1 and statistics of no data, a random network lets the signal fade until nothing is compared.
    for conv in checkpoint.architecture.convs().iter().filter(|conv| !conv.is_bare) {
        if let Some(scales) = checkpoint.weights.get_mut(&conv.bn("weight")) {
            scales.f32s_mut()?.fill(2.5);
        }
    }
    Ok(checkpoint)
}

/// Images `[n, 3, size, size]` of smooth noise, the same on every device.
fn pictures(n: usize, size: usize, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(picture_values(n, size), [n, 3, size, size]), device)
}

fn picture_values(n: usize, size: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(1);
    let value =
        |i: usize| 0.5 + 0.4 * ((i % size) as f32 * 0.07).sin() * ((i / size % size) as f32 * 0.05).cos();
    (0..n * 3 * size * size).map(|i| (value(i) + 0.1 * rng.random::<f32>()).clamp(0.0, 1.0)).collect()
}

/// Ten objects for each of `n` images.
fn targets(n: usize, classes: usize) -> Vec<Target> {
    let place = |i: usize, step: f32| (i as f32 * step).fract() * 0.8 + 0.1;
    let target = |i: usize| Target {
        image: i / 10,
        class: (i * 7 % classes) as u32,
        bbox_norm: Cxcywh { cx: place(i, 0.37), cy: place(i, 0.61), w: place(i, 0.17) * 0.4, h: 0.2 },
    };
    (0..10 * n).map(target).collect()
}

/// `‖got − expected‖ / ‖expected‖`; infinite if a value is not a number.
fn relative_error(got: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = got.iter().zip(expected);
    let difference = square(&mut pairs.map(|(&g, &e)| f64::from(g) - f64::from(e)));
    let size = square(&mut expected.iter().map(|&e| f64::from(e)));
    let error = (difference / size.max(f64::MIN_POSITIVE)).sqrt();
    if error.is_finite() && got.len() == expected.len() { error } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_and_never_hidden() {
        assert_eq!(relative_error(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert!((relative_error(&[3.0, 4.5], &[3.0, 4.0]) - 0.1).abs() < 1e-9);
        assert_eq!(relative_error(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(relative_error(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }
}
