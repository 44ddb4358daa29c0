//! From the weights of a fused convolution back to those that a checkpoint stores.

use yolo_model::Model;
use yolo_model::architecture::{BATCH_NORM_EPSILON, ConvRef};

use crate::calibration::ConvValues;
use crate::error::Result;
use crate::mask::Mask;
use crate::plan::TensorUpdate;

/// Largest magnitude of a stored weight: that of f16, in which checkpoints are written.
const LARGEST: f32 = 65504.0;

/// The stored tensors of `model` that make `conv` compute with `values` once it is fused.
///
/// With `s = γ / √(var + ε)`, a fused weight is `s · w` and a fused bias `β − s · mean`. So `w = W / s`, and the
/// difference of the biases goes to `β`; `γ` and the statistics stay. A channel whose `s` is too small to divide by
/// keeps its stored weights where `mask` keeps them. Those of a fused or bare convolution are
/// stored as they are.
pub(crate) fn stored_tensors(
    model: &dyn Model,
    conv: &ConvRef,
    values: &ConvValues,
    mask: &Mask,
) -> Result<Vec<TensorUpdate>> {
    let update = |name: String, values: Vec<f32>| TensorUpdate { tensor: name, values };
    if conv.has_bias(model.layout().is_fused()) {
        return Ok(vec![
            update(conv.weight(), values.weight.clone()),
            update(conv.bias(), values.bias.clone()),
        ]);
    }
    if conv.is_bare {
        return Ok(vec![update(conv.weight(), values.weight.clone())]);
    }
    let vector = |what: &str| model.weights().f32s(&conv.bn(what));
    let (gamma, beta, mean, var) =
        (vector("weight")?, vector("bias")?, vector("running_mean")?, vector("running_var")?);
    let stored = model.weights().f32s(&conv.weight())?;
    let per_channel = (stored.len() / gamma.len().max(1)).max(1);
    let mut weight = Vec::with_capacity(stored.len());
    let mut shifted = Vec::with_capacity(beta.len());
    for (channel, new) in values.weight.chunks_exact(per_channel).enumerate() {
        let scale = gamma[channel] / (var[channel] + BATCH_NORM_EPSILON as f32).sqrt();
        let old = &stored[channel * per_channel..][..per_channel];
        let divided: Vec<f32> = new.iter().map(|w| w / scale).collect();
        if divided.iter().all(|w| w.is_finite() && w.abs() <= LARGEST) {
            weight.extend(divided);
        } else {
            let first = channel * per_channel;
            let kept = old.iter().enumerate();
            weight.extend(kept.map(|(i, old)| if mask.keeps(first + i) { *old } else { 0.0 }));
        }
        shifted.push(values.bias[channel] + scale * mean[channel]);
    }
    debug_assert_eq!(shifted.len(), beta.len());
    Ok(vec![update(conv.weight(), weight), update(conv.bn("bias"), shifted)])
}
