//! New running statistics for a network whose weights were changed without training.

use burn::tensor::{Device, Tensor};
use yolo_model::Prunable;
use yolo_nn::Network;

use crate::error::{PruneError, Result};

/// The model with the running means and variances of every batch normalisation measured anew: the plain
/// average over `batches` of images `[n, 3, height, width]` in `[0, 1]` on `device` with automatic
/// differentiation ([`Device::autodiff`]), without labels.
///
/// Pruning shifts the outputs of every layer; the old statistics then normalise with the wrong scale. Nothing else
/// changes. A fused model has no statistics left and comes back as it is.
///
/// # Errors
/// Those of `batches`; no batch at all; statistics that are not finite; a device that does not return its results.
pub fn reestimate_batch_norm<M: Prunable, E: From<PruneError>>(
    model: &M,
    batches: impl Iterator<Item = std::result::Result<Tensor<4>, E>>,
    device: &Device,
) -> std::result::Result<M, E> {
    let mut renewed = model.clone();
    if model.layout().is_fused() {
        return Ok(renewed);
    }
    let network = Network::of(model, device).map_err(PruneError::from)?;
    let mut network = network.without_gradients();
    let mut done = 0;
    for batch in batches {
        let batch = batch?;
        let n = batch.dims()[0];
        // A batch weighs as much as it has images, so the last, smaller one does not count too much.
        done += n;
        network.set_batch_norm_momentum(n as f64 / done as f64);
        network.forward(batch);
    }
    if done == 0 {
        return Err(PruneError::Calibration { reason: "there are no images".to_owned() }.into());
    }
    adopt(&mut renewed, &network)?;
    Ok(renewed)
}

fn adopt(renewed: &mut impl Prunable, network: &Network) -> Result<()> {
    for (name, values) in network.running_statistics()? {
        let count = values.iter().filter(|value| !value.is_finite()).count();
        if count > 0 {
            return Err(PruneError::NotFinite { name, count });
        }
        if let Some(tensor) = renewed.weights_mut().get_mut(&name) {
            tensor.f32s_mut()?.copy_from_slice(&values);
        }
    }
    Ok(())
}
