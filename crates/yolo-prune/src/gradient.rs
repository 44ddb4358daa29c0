//! How much the detections depend on every weight: gradients on calibration images, without labels.
//!
//! The labels are the network's own. With `p = σ(z)`, the gradient of binary cross-entropy by a logit `z` is
//! `p − y`. Taking `y = 1` where `p > ½` (a pseudo-label) gives a loss whose gradient says which weights carry the
//! present decisions; drawing `y` with probability `p` gives gradients whose mean square is the Fisher information.
//! As in YOLOv5's loss, the classes and the box of an anchor count as much as there is an object.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_model::{Channel, Checkpoint};
use yolo_nn::{Yolo, host_values};

use crate::calibration::CalibrationImages;
use crate::error::{PruneError, Result};

/// Where the labels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labels {
    /// The likelier answer.
    Pseudo,
    /// Drawn from the network's own probabilities.
    Drawn,
}

/// Calls `each` with the gradient of every parameter, once per batch of images; names are those of the state dict.
/// Batch normalisation keeps to its running statistics.
///
/// # Errors
/// A gradient that is not finite, or a device that does not return its results.
pub(crate) fn gradients(
    checkpoint: &Checkpoint,
    images: &CalibrationImages,
    device: &Device,
    labels: Labels,
    mut each: impl FnMut(&str, &[f32]) -> Result<()>,
    mut done: impl FnMut(),
) -> Result<()> {
    let device = device.clone().autodiff();
    let model = Yolo::from_checkpoint(checkpoint, &device)?.freeze_batch_norm();
    let head = checkpoint.architecture.head();
    let mut draws = Draws(0x9E37_79B9_7F4A_7C15);
    for batch in images.batches() {
        let levels = model.forward(batch.tensor(&device));
        let mut loss: Option<Tensor<1>> = None;
        for (level, logits) in levels.into_iter().enumerate() {
            let shape = logits.dims();
            let values = host_values(logits.clone())?;
            let slopes = slopes(&values, shape, &head.level(level).groups, labels, &mut draws);
            let slopes = Tensor::<4>::from_data(TensorData::new(slopes, shape), &device);
            // The gradient of Σ slope · z by z is the slope, and so on down to the weights.
            let part = (logits * slopes).sum();
            loss = Some(match loss {
                Some(loss) => loss + part,
                None => part,
            });
        }
        let Some(loss) = loss else { continue };
        for (name, gradient) in model.gradients(&loss.backward())? {
            let count = gradient.iter().filter(|value| !value.is_finite()).count();
            if count > 0 {
                return Err(PruneError::NotFinite { name, count });
            }
            each(&name, &gradient)?;
        }
        done();
    }
    Ok(())
}

/// The gradient of the loss by every logit `[N, channels, ny, nx]`, whose channels mean `groups`.
fn slopes(
    logits: &[f32],
    [n, channels, ny, nx]: [usize; 4],
    groups: &[Vec<Channel>],
    labels: Labels,
    draws: &mut Draws,
) -> Vec<f32> {
    let cells = ny * nx;
    let mut slopes = vec![0.0; logits.len()];
    let mut first_channel = 0;
    for group in (0..n).flat_map(|_| groups) {
        let at = |channel: usize, cell: usize| (first_channel + channel) * cells + cell;
        let objectness = group.iter().position(|channel| *channel == Channel::Objectness);
        for cell in 0..cells {
            let object = objectness.map_or(1.0, |channel| sigmoid(logits[at(channel, cell)]));
            for (index, channel) in group.iter().enumerate() {
                let p = sigmoid(logits[at(index, cell)]);
                let is_answer = matches!(channel, Channel::Objectness | Channel::Class);
                let label = match labels {
                    // The box of a detection is what it is: no label differs from it.
                    Labels::Pseudo if !is_answer => p,
                    Labels::Pseudo => f32::from(u8::from(p > 0.5)),
                    Labels::Drawn => f32::from(u8::from(draws.unit() < p)),
                };
                let weight = if *channel == Channel::Objectness { 1.0 } else { object };
                slopes[at(index, cell)] = weight * (p - label);
            }
        }
        first_channel += group.len();
    }
    debug_assert_eq!(first_channel, n * channels, "channels of the head");
    slopes
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// A fixed sequence of numbers in `[0, 1)` (xorshift64*), so that the same images give the same scores.
struct Draws(u64);

impl Draws {
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests;
