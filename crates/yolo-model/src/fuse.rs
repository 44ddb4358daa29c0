//! Folds batch normalisation into the convolution before it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;

use crate::architecture::{BATCH_NORM_EPSILON, ConvRef};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::layout::Model;
use crate::weights::{HostTensor, StateDict};

/// A checkpoint whose batch normalisation is folded into its convolutions, for what can only work on such a network.
///
/// Borrowed from a checkpoint that is stored fused, or made from one that is not, so that nothing is fused twice and
/// no weights are copied to find out.
#[derive(Clone, Debug)]
pub struct FusedCheckpoint<'a>(Cow<'a, Checkpoint>);

impl FusedCheckpoint<'_> {
    /// The same with owned weights: copied if they are borrowed, else moved.
    pub fn into_owned(self) -> FusedCheckpoint<'static> {
        FusedCheckpoint(Cow::Owned(self.into_checkpoint()))
    }

    /// The checkpoint itself: copied if it is borrowed, else moved.
    pub fn into_checkpoint(self) -> Checkpoint {
        self.0.into_owned()
    }

    /// The same, borrowed.
    pub fn borrowed(&self) -> FusedCheckpoint<'_> {
        FusedCheckpoint(Cow::Borrowed(&self.0))
    }
}

impl Deref for FusedCheckpoint<'_> {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.0
    }
}

impl Checkpoint {
    /// The same detector with the batch normalisation of its blocks folded in; a fused checkpoint is borrowed. Batch
    /// normalisation that stands alone stays, as in the reference. Of a head with two kinds of branches those go that do
    /// not answer.
    ///
    /// In `f32`, in the reference's order of operations: with `d = √(var + ε)` and `s = γ / d`,
    /// `W'[o] = s[o] · W[o]` and `b'[o] = β[o] − (γ[o] · mean[o]) / d[o]`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than the architecture says.
    pub fn fuse(&self) -> Result<FusedCheckpoint<'_>> {
        if self.architecture.fused {
            return Ok(FusedCheckpoint(Cow::Borrowed(self)));
        }
        Ok(FusedCheckpoint(Cow::Owned(self.without_batch_norm()?)))
    }

    /// [`Checkpoint::fuse`] for a checkpoint that is not needed afterwards: nothing is copied.
    ///
    /// # Errors
    /// As [`Checkpoint::fuse`].
    pub fn into_fused(self) -> Result<FusedCheckpoint<'static>> {
        let fused = if self.architecture.fused { self } else { self.without_batch_norm()? };
        Ok(FusedCheckpoint(Cow::Owned(fused)))
    }

    fn without_batch_norm(&self) -> Result<Self> {
        let architecture = self.architecture.clone().without_batch_norm();
        let mut weights = fused_weights(self)?.into_owned();
        if architecture.head() != self.architecture.head() {
            weights = architecture.own_tensors(weights);
        }
        let fused = Self {
            weights,
            architecture,
            class_names: self.class_names.clone(),
            pruning: self.pruning.clone(),
        };
        fused.check_tensors()?;
        Ok(fused)
    }
}

/// The tensors of `model` with batch normalisation folded into its convolutions; those of a fused model are borrowed.
/// [`Checkpoint::fuse`] has the formula.
///
/// # Errors
/// A tensor that is missing or has another shape than the layout says.
pub fn fused_weights<M: Model + ?Sized>(model: &M) -> Result<Cow<'_, StateDict>> {
    let (layout, stored) = (model.layout(), model.weights());
    if layout.is_fused() {
        return Ok(Cow::Borrowed(stored));
    }
    model.check_tensors()?;
    let convs = layout.convs().into_iter().filter(|conv| !conv.is_bare);
    let blocks: HashMap<String, ConvRef> = convs.map(|conv| (conv.weight(), conv)).collect();
    let norms: HashSet<String> = blocks.values().flat_map(norm_tensors).collect();
    let mut weights = StateDict::default();
    for (name, tensor) in stored.iter() {
        if let Some(block) = blocks.get(name) {
            let (weight, bias) = fuse_block(block, stored)?;
            weights.insert(block.weight(), weight);
            weights.insert(block.bias(), bias);
        } else if !norms.contains(name) {
            weights.insert(name, tensor.clone());
        }
    }
    Ok(Cow::Owned(weights))
}

/// Names of the tensors that fusing folds away.
fn norm_tensors(block: &ConvRef) -> impl Iterator<Item = String> {
    block.tensors(false).into_iter().skip(1).map(|tensor| tensor.name)
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
