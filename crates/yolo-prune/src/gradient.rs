//! How strongly a network's answers depend on each weight: gradients on calibration images, without labels.
//!
//! The labels are the network's own ([`labels`]): the likelier answer of each question (a pseudo-label) gives a loss
//! whose gradient says which weights carry the present decisions; answers drawn from the network's own probabilities
//! give gradients whose mean square is the Fisher information.

mod labels;

use burn::tensor::{Device, Tensor, TensorData};
use yolo_model::Model;
use yolo_nn::{Network, host_values};

pub(crate) use labels::Labels;
use labels::{Draws, slopes};

use crate::calibration::CalibrationImages;
use crate::error::{PruneError, Result};

/// Calls `each` with the gradient of every parameter, once per batch of images; names are those of the state dict.
/// Batch normalisation keeps to its running statistics.
///
/// # Errors
/// A gradient that is not finite, images of other channels, or a device that does not return its results.
pub(crate) fn gradients(
    model: &dyn Model,
    images: &CalibrationImages,
    device: &Device,
    labels: Labels,
    mut each: impl FnMut(&str, &[f32]) -> Result<()>,
    mut done: impl FnMut(),
) -> Result<()> {
    let device = device.clone().autodiff();
    let network = Network::of(model, &device)?.freeze_batch_norm();
    images.check_channels(network.program().channels[0])?;
    let mut draws = Draws::default();
    for batch in images.batches() {
        let mut loss: Option<Tensor<1>> = None;
        for (output, logits) in network.forward(batch.tensor(&device)).into_iter().enumerate() {
            let shape = logits.dims();
            let values = host_values(logits.clone())?;
            let slopes = slopes(&values, shape, &model.answers(output), labels, &mut draws);
            let slopes = Tensor::<4>::from_data(TensorData::new(slopes, shape), &device);
            // The gradient of Σ slope · z by z is the slope, and so on down to the weights.
            let part = (logits * slopes).sum();
            loss = Some(match loss {
                Some(loss) => loss + part,
                None => part,
            });
        }
        let Some(loss) = loss else { continue };
        for (name, gradient) in network.gradients(&loss.backward())? {
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

#[cfg(test)]
mod tests;
