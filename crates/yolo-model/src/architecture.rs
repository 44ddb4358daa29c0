//! The network as data: a list of layers with explicit channel counts.
//!
//! A stock YOLOv5, a user's own yaml and a channel-pruned network are all an [`Architecture`]; they differ in
//! numbers only. Nothing here holds weights: see [`crate::weights`] for those.

mod activation;
mod conv;
mod norm;
mod pickled;
mod state_dict;
mod tensors;
mod torch_parts;
mod transposed;
mod validate;
mod variants;
mod widths;
mod yaml;

use serde::{Deserialize, Serialize};

pub use activation::Activation;
pub use conv::{ConvForm, ConvSpec};
pub use norm::{NormRef, NormSpec};
pub use pickled::PickledLayer;
pub(crate) use tensors::name_in_layer;
pub use tensors::{ConvRef, TensorSpec};
pub use transposed::{TransposedRef, TransposedSpec};
pub use variants::{SCALED, Scaled, VARIANTS, is_variant, variant_yaml};
pub use yaml::{ModelConfig, YamlFit, YamlLayer};

use crate::heads::{Family, Head, HeadMut};
use crate::modules::Block;
use crate::weights::StateDict;

/// Batch normalisation's ε in every YOLOv5 network.
pub const BATCH_NORM_EPSILON: f64 = 1e-3;
/// Batch normalisation's momentum in every YOLOv5 network: `new = 0.97 · old + 0.03 · batch`.
pub const BATCH_NORM_MOMENTUM: f64 = 0.03;

/// No real network comes near these; a hostile file must not ask for the memory.
pub(crate) const MAX_CHANNELS: usize = 1 << 16;
/// Largest side of a kernel, stride, padding or window.
pub(crate) const MAX_KERNEL: usize = 64;

/// A detector: its layers in order of execution, the last of them its head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Channels of the input image, 3 for RGB.
    pub in_channels: usize,
    /// Whether batch normalisation has been folded into the convolutions, which then have a bias.
    #[serde(default)]
    pub fused: bool,
    /// How many activation objects the network's file had, if blocks shared them; summaries count those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<usize>,
    /// The layers; a layer's index is the number in its tensors' names (`model.{index}.…`).
    pub layers: Vec<Layer>,
}

/// One entry of the network: a block and where its input comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Inputs: negative numbers count back from this layer (−1 is the one before), others are layer indices.
    pub from: Vec<i64>,
    /// What the layer computes.
    pub block: Block,
}

impl Architecture {
    /// The head.
    ///
    /// # Panics
    /// On an architecture that [`Architecture::validate`] would reject for having none.
    pub fn head(&self) -> Head<'_> {
        let head = self.layers.last().and_then(|layer| layer.block.head());
        head.unwrap_or_else(|| panic!("an architecture ends with its head; validate() checks it"))
    }

    /// The head, to change it; none in an architecture that [`Architecture::validate`] would reject for having none.
    pub(crate) fn head_mut(&mut self) -> Option<HeadMut<'_>> {
        self.layers.last_mut().and_then(|layer| layer.block.head_mut())
    }

    /// Those of `weights` that belong to the network, in its order.
    pub(crate) fn own_tensors(&self, mut weights: StateDict) -> StateDict {
        let mut own = weights.origin().map_or_else(StateDict::new, StateDict::of_file);
        for tensor in self.tensors() {
            if let Some(values) = weights.remove(&tensor.name) {
                own.insert(tensor.name, values);
            }
        }
        own
    }

    /// The family that its head belongs to.
    pub fn family(&self) -> Family {
        self.head().family()
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.head().num_classes()
    }

    /// The same network that answers by its one-to-one branches, or by the others, if its head has both.
    #[must_use]
    pub fn with_end_to_end(mut self, end_to_end: bool) -> Self {
        if let Some(HeadMut::AnchorFree(head)) = self.head_mut()
            && head.has_both()
        {
            head.end_to_end = end_to_end;
        }
        self
    }

    /// The same network with batch normalisation folded into its blocks, and without branches of the head that do not answer.
    #[must_use]
    pub fn without_batch_norm(mut self) -> Self {
        self.fused = true;
        if let Some(HeadMut::AnchorFree(head)) = self.head_mut() {
            head.drop_silent();
        }
        self
    }

    /// The coarsest stride: image sides must be multiples of it (at least 32, as YOLOv5 has it).
    pub fn max_stride(&self) -> usize {
        self.head().strides().iter().copied().max().unwrap_or(32).max(32)
    }

    /// Indices of the layers whose output layer `index` reads; `None` is the image.
    pub fn sources(&self, index: usize) -> Vec<Option<usize>> {
        self.layers[index].from.iter().map(|&from| resolve(index, from)).collect()
    }
}

/// Layer index behind a `from` entry of layer `index`; `None` is the image.
pub(crate) fn resolve(index: usize, from: i64) -> Option<usize> {
    let absolute = if from < 0 { index as i64 + from } else { from };
    usize::try_from(absolute).ok()
}
