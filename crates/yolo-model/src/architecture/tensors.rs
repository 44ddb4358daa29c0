//! The tensors that an architecture owns, under PyTorch's names and in PyTorch's order.

use super::{Architecture, ConvSpec};

/// A convolution of the network with its place in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvRef {
    /// Name of the block: `model.2.m.0.cv1`, or `model.24.m.0` for a convolution of the head.
    pub name: String,
    /// Index of the layer it belongs to.
    pub layer: usize,
    /// Its numbers.
    pub spec: ConvSpec,
    /// Whether it is a bare convolution with bias of the head, not a block with batch normalisation.
    pub is_head: bool,
}

/// Name and shape of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// PyTorch's name.
    pub name: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Whether it counts as a parameter (buffers do not).
    pub is_parameter: bool,
}

impl ConvRef {
    /// The convolution at `path` of layer `layer`.
    pub(crate) fn of_layer(layer: usize, path: &str, spec: &ConvSpec, is_head: bool) -> Self {
        let dot = if path.is_empty() { "" } else { "." };
        Self { name: format!("model.{layer}{dot}{path}"), layer, spec: spec.clone(), is_head }
    }

    /// Numbers in its weight.
    pub fn weight_count(&self) -> usize {
        self.spec.weight_count()
    }

    /// Name of the weight tensor: `[out, in / groups, height, width]`.
    pub fn weight(&self) -> String {
        if self.is_head { format!("{}.weight", self.name) } else { format!("{}.conv.weight", self.name) }
    }

    /// Name of the bias tensor, `[out]`: there in the head and in fused blocks.
    pub fn bias(&self) -> String {
        if self.is_head { format!("{}.bias", self.name) } else { format!("{}.conv.bias", self.name) }
    }

    /// Name of a tensor of the block's batch normalisation, `[out]`.
    pub fn bn(&self, what: &str) -> String {
        format!("{}.bn.{what}", self.name)
    }
}

impl Architecture {
    /// Every convolution, in the order of the state dict.
    pub fn convs(&self) -> Vec<ConvRef> {
        (0..self.layers.len()).flat_map(|layer| self.convs_of(layer)).collect()
    }

    /// The convolutions of one layer, in the order of the state dict.
    fn convs_of(&self, layer: usize) -> Vec<ConvRef> {
        let block = &self.layers[layer].block;
        let is_head = block.head().is_some();
        let convs = block.convs().into_iter();
        convs.map(|(path, spec)| ConvRef::of_layer(layer, &path, &spec, is_head)).collect()
    }

    /// Name of the anchors' buffer, `[levels, anchors, 2]`, in cells of each level.
    pub fn anchors_name(&self) -> String {
        format!("model.{}.anchors", self.layers.len().saturating_sub(1))
    }

    /// Every tensor of the state dict, in PyTorch's order: depth first, own buffers before children.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut tensors = Vec::new();
        let mut push = |name: String, shape: Vec<usize>, is_parameter: bool| {
            tensors.push(TensorSpec { name, shape, is_parameter });
        };
        for (index, layer) in self.layers.iter().enumerate() {
            for (path, shape) in layer.block.buffers() {
                push(format!("model.{index}.{path}"), shape, false);
            }
            for conv in self.convs_of(index) {
                let out = vec![conv.spec.out_channels];
                push(conv.weight(), conv.spec.weight_shape().to_vec(), true);
                if conv.is_head || self.fused {
                    push(conv.bias(), out, true);
                } else {
                    push(conv.bn("weight"), out.clone(), true);
                    push(conv.bn("bias"), out.clone(), true);
                    push(conv.bn("running_mean"), out.clone(), false);
                    push(conv.bn("running_var"), out, false);
                    push(conv.bn("num_batches_tracked"), vec![], false);
                }
            }
        }
        tensors
    }
}
