//! Folds batch normalisation into the convolution before it.

use std::collections::HashMap;

use crate::architecture::{Architecture, BATCH_NORM_EPSILON, ConvRef};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::weights::{HostTensor, StateDict};

impl Checkpoint {
    /// The same detector without batch normalisation; a fused checkpoint comes back as it is.
    ///
    /// In `f32`, in the reference's order of operations: with `d = √(var + ε)` and `s = γ / d`,
    /// `W'[o] = s[o] · W[o]` and `b'[o] = β[o] − (γ[o] · mean[o]) / d[o]`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than the architecture says.
    pub fn fuse(&self) -> Result<Self> {
        if self.architecture.fused {
            return Ok(self.clone());
        }
        self.check_tensors()?;
        let convs = self.architecture.convs().into_iter().filter(|conv| !conv.is_head);
        let blocks: HashMap<String, ConvRef> = convs.map(|conv| (conv.weight(), conv)).collect();
        let mut weights = StateDict::default();
        for (name, tensor) in self.weights.iter() {
            if let Some(block) = blocks.get(name) {
                let (weight, bias) = fuse_block(block, &self.weights)?;
                weights.insert(block.weight(), weight);
                weights.insert(block.bias(), bias);
            } else if !name.contains(".bn.") {
                weights.insert(name, tensor.clone());
            }
        }
        let fused = Self {
            architecture: Architecture { fused: true, ..self.architecture.clone() },
            weights,
            class_names: self.class_names.clone(),
            pruning: self.pruning.clone(),
        };
        fused.check_tensors()?;
        Ok(fused)
    }
}

fn fuse_block(block: &ConvRef, weights: &StateDict) -> Result<(HostTensor, HostTensor)> {
    let vector = |what: &str| -> Result<&[f32]> { Ok(weights.f32s(&block.bn(what))?) };
    let (gamma, beta) = (vector("weight")?, vector("bias")?);
    let (mean, var) = (vector("running_mean")?, vector("running_var")?);
    let deviation: Vec<f32> = var.iter().map(|v| (v + BATCH_NORM_EPSILON as f32).sqrt()).collect();

    let mut weight = weights.require(&block.weight())?.clone();
    let per_channel = block.spec.weight_shape()[1..].iter().product::<usize>().max(1);
    for (channel, kernel) in weight.f32s_mut()?.chunks_exact_mut(per_channel).enumerate() {
        let scale = gamma[channel] / deviation[channel];
        kernel.iter_mut().for_each(|w| *w *= scale);
    }
    let bias = (0..gamma.len()).map(|c| beta[c] - gamma[c] * mean[c] / deviation[c]).collect();
    Ok((weight, HostTensor::from_f32s(vec![gamma.len()], bias)))
}
