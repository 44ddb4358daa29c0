//! The tensors that an architecture owns, under PyTorch's names and in PyTorch's order.

use super::{Architecture, ConvSpec};

/// A convolution of the network with its place in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvRef {
    /// What its tensors' names start with: `model.2.m.0.cv1`, or `model.24.m.0` for a convolution of the head.
    pub name: String,
    /// Index of the layer it belongs to; 0 in a program without layers.
    pub layer: usize,
    /// Its numbers.
    pub spec: ConvSpec,
    /// Whether it has a bias and never a batch normalisation, as those of a head do. Its tensors are `{name}.weight` and
    /// `{name}.bias`; those of other convolutions are `{name}.conv.…` and `{name}.bn.…`.
    pub is_bare: bool,
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
    pub(crate) fn of_layer(layer: usize, path: &str, spec: &ConvSpec, is_bare: bool) -> Self {
        let dot = if path.is_empty() { "" } else { "." };
        Self { name: format!("model.{layer}{dot}{path}"), layer, spec: spec.clone(), is_bare }
    }

    /// Numbers in its weight.
    pub fn weight_count(&self) -> usize {
        self.spec.weight_count()
    }

    /// Name of the weight tensor: `[out, in / groups, height, width]`.
    pub fn weight(&self) -> String {
        if self.is_bare { format!("{}.weight", self.name) } else { format!("{}.conv.weight", self.name) }
    }

    /// Name of the bias tensor, `[out]`: there in bare and in fused convolutions.
    pub fn bias(&self) -> String {
        if self.is_bare { format!("{}.bias", self.name) } else { format!("{}.conv.bias", self.name) }
    }

    /// Name of a tensor of the block's batch normalisation, `[out]`.
    pub fn bn(&self, what: &str) -> String {
        format!("{}.bn.{what}", self.name)
    }

    /// Whether it has a bias: it is bare, or in a network that is `fused`.
    pub fn has_bias(&self, fused: bool) -> bool {
        self.is_bare || fused
    }

    /// Its tensors in PyTorch's order.
    pub fn tensors(&self, fused: bool) -> Vec<TensorSpec> {
        let out = vec![self.spec.out_channels];
        let tensor = |name: String, shape: &[usize], is_parameter: bool| TensorSpec {
            name,
            shape: shape.to_vec(),
            is_parameter,
        };
        let mut tensors = vec![tensor(self.weight(), &self.spec.weight_shape(), true)];
        if self.has_bias(fused) {
            tensors.push(tensor(self.bias(), &out, true));
        } else {
            tensors.push(tensor(self.bn("weight"), &out, true));
            tensors.push(tensor(self.bn("bias"), &out, true));
            tensors.push(tensor(self.bn("running_mean"), &out, false));
            tensors.push(tensor(self.bn("running_var"), &out, false));
            tensors.push(tensor(self.bn("num_batches_tracked"), &[], false));
        }
        tensors
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
        let is_bare = block.head().is_some();
        let convs = block.convs().into_iter();
        convs.map(|(path, spec)| ConvRef::of_layer(layer, &path, &spec, is_bare)).collect()
    }

    /// Name of the anchors' buffer, `[levels, anchors, 2]`, in cells of each level.
    pub fn anchors_name(&self) -> String {
        format!("model.{}.anchors", self.layers.len().saturating_sub(1))
    }

    /// Every tensor of the state dict, in PyTorch's order: depth first, own buffers before children.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut tensors = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            for (path, shape) in layer.block.buffers() {
                let name = format!("model.{index}.{path}");
                tensors.push(TensorSpec { name, shape, is_parameter: false });
            }
            for conv in self.convs_of(index) {
                tensors.extend(conv.tensors(self.fused));
            }
        }
        tensors
    }
}
