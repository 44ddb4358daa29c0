//! Batch normalisation that stands alone, not behind the convolution of a block.

use serde::{Deserialize, Serialize};

use super::{Activation, BATCH_NORM_EPSILON, MAX_CHANNELS, TensorSpec};
use crate::error::Result;
use crate::weights::StateDict;

/// A batch normalisation with what follows it. Fusing a checkpoint leaves it, as the reference does; executors fold it
/// into the convolutions before it if they can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormSpec {
    /// Channels.
    pub channels: usize,
    /// What follows.
    #[serde(rename = "act")]
    pub activation: Activation,
}

/// A batch normalisation with its place in the network.
#[derive(Clone, Debug, PartialEq)]
pub struct NormRef {
    /// What its tensors' names start with: `model.4.bn`.
    pub name: String,
    /// Index of the layer it belongs to; 0 in a program without layers.
    pub layer: usize,
    /// Its numbers.
    pub spec: NormSpec,
}

impl NormSpec {
    /// Checks the numbers, and that the input has `channels` channels; the error says what is wrong.
    pub(crate) fn check(&self, channels: usize) -> std::result::Result<(), String> {
        if !(1..=MAX_CHANNELS).contains(&self.channels) {
            return Err(format!("has {} channels; it must be between 1 and {MAX_CHANNELS}", self.channels));
        }
        if self.channels == channels {
            return Ok(());
        }
        Err(format!("normalises {} channels but receives {channels}", self.channels))
    }
}

impl NormRef {
    /// Name of one of its tensors, `[channels]`: `weight`, `bias`, `running_mean`, `running_var`.
    pub fn tensor(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// Its tensors in PyTorch's order.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        TensorSpec::of_batch_norm(self.spec.channels, |what| self.tensor(what)).to_vec()
    }

    /// What it multiplies each channel with: `γ / √(var + ε)`.
    ///
    /// # Errors
    /// A tensor that `weights` lacks.
    pub fn scales(&self, weights: &StateDict) -> Result<Vec<f32>> {
        let (gamma, var) =
            (weights.f32s(&self.tensor("weight"))?, weights.f32s(&self.tensor("running_var"))?);
        Ok(gamma.iter().zip(var).map(|(g, v)| g / (v + BATCH_NORM_EPSILON as f32).sqrt()).collect())
    }
}
