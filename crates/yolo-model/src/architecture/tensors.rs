//! The tensors that an architecture owns, under PyTorch's names and in PyTorch's order.

use std::borrow::Cow;

use super::{Architecture, ConvForm, ConvSpec, NormRef, TransposedRef};
use crate::error::Result;
use crate::modules::Part;
use crate::weights::StateDict;

/// A convolution of the network with its place in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvRef {
    /// What its tensors' names start with: `model.2.m.0.cv1`, or `model.24.m.0` for a convolution of the head.
    pub name: String,
    /// Index of the layer it belongs to; 0 in a program without layers.
    pub layer: usize,
    /// Its numbers.
    pub spec: ConvSpec,
    /// Whether it never has a batch normalisation, as those of a head do not: its form is not [`ConvForm::Block`]. Its
    /// tensors are `{name}.weight` and, if it has one, `{name}.bias`; those of blocks are `{name}.conv.…` and `{name}.bn.…`.
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

impl TensorSpec {
    pub(super) fn parameter(name: String, shape: &[usize]) -> Self {
        Self { name, shape: shape.to_vec(), is_parameter: true }
    }

    /// Those of a batch normalisation over `channels` in PyTorch's order, which `name` calls by theirs.
    pub(super) fn of_batch_norm(channels: usize, name: impl Fn(&str) -> String) -> [Self; 5] {
        let buffer = |what: &str, shape: &[usize]| Self {
            name: name(what),
            shape: shape.to_vec(),
            is_parameter: false,
        };
        [
            Self::parameter(name("weight"), &[channels]),
            Self::parameter(name("bias"), &[channels]),
            buffer("running_mean", &[channels]),
            buffer("running_var", &[channels]),
            buffer("num_batches_tracked", &[]),
        ]
    }
}

impl ConvRef {
    /// The convolution at `path` of layer `layer`.
    pub(crate) fn of_layer(layer: usize, path: &str, spec: &ConvSpec) -> Self {
        Self::new(name_in_layer(layer, path), layer, spec)
    }

    /// The convolution called `name`.
    pub(crate) fn new(name: String, layer: usize, spec: &ConvSpec) -> Self {
        Self { name, layer, spec: spec.clone(), is_bare: spec.form != ConvForm::Block }
    }

    /// Numbers in its weight.
    pub fn weight_count(&self) -> usize {
        self.spec.weight_count()
    }

    /// Name of the weight tensor, see [`ConvRef::weight_shape`].
    pub fn weight(&self) -> String {
        self.tensor("weight")
    }

    /// Name of the bias tensor, `[out]`: there if [`ConvRef::has_bias`].
    pub fn bias(&self) -> String {
        self.tensor("bias")
    }

    fn tensor(&self, what: &str) -> String {
        match self.spec.form {
            ConvForm::Block => format!("{}.conv.{what}", self.name),
            ConvForm::Projections => format!("{}.in_proj_{what}", self.name),
            ConvForm::Bare
            | ConvForm::Plain
            | ConvForm::Linear
            | ConvForm::PlainLinear
            | ConvForm::LastProjection => format!("{}.{what}", self.name),
        }
    }

    /// Shape of the weight tensor: `[out, in / groups, height, width]`, of a linear layer without the last two.
    pub fn weight_shape(&self) -> Vec<usize> {
        let shape = self.spec.weight_shape();
        let dimensions = if self.spec.form.is_linear() { 2 } else { 4 };
        shape[..dimensions].to_vec()
    }

    /// Name of a tensor of the block's batch normalisation, `[out]`.
    pub fn bn(&self, what: &str) -> String {
        format!("{}.bn.{what}", self.name)
    }

    /// Whether it has a bias, in a network that is `fused` or not.
    pub fn has_bias(&self, fused: bool) -> bool {
        self.spec.form.has_bias(fused)
    }

    /// The bias in the weights of a fused network; zeros if it has none.
    ///
    /// # Errors
    /// A bias that is missing.
    pub fn fused_bias<'a>(&self, weights: &'a StateDict) -> Result<Cow<'a, [f32]>> {
        match self.has_bias(true) {
            true => Ok(Cow::Borrowed(weights.f32s(&self.bias())?)),
            false => Ok(Cow::Owned(vec![0.0; self.spec.out_channels])),
        }
    }

    /// Its tensors in PyTorch's order.
    pub fn tensors(&self, fused: bool) -> Vec<TensorSpec> {
        let out = self.spec.out_channels;
        let mut tensors = vec![TensorSpec::parameter(self.weight(), &self.weight_shape())];
        if self.has_bias(fused) {
            tensors.push(TensorSpec::parameter(self.bias(), &[out]));
        } else if !self.is_bare {
            tensors.extend(TensorSpec::of_batch_norm(out, |what| self.bn(what)));
        }
        tensors
    }
}

/// What the names of tensors at `path` of layer `layer` start with.
pub(crate) fn name_in_layer(layer: usize, path: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("model.{layer}{dot}{path}")
}

impl Architecture {
    /// Every convolution, in the order of the state dict.
    pub fn convs(&self) -> Vec<ConvRef> {
        (0..self.layers.len()).flat_map(|layer| self.convs_of(layer)).collect()
    }

    /// The convolutions of one layer, in the order of the state dict.
    fn convs_of(&self, layer: usize) -> Vec<ConvRef> {
        let convs = self.layers[layer].block.convs().into_iter();
        convs.map(|(path, spec)| ConvRef::of_layer(layer, &path, &spec)).collect()
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
            layer.block.clone().visit_parts(&mut |path, part| {
                let name = name_in_layer(index, path);
                tensors.extend(match part {
                    Part::Conv(spec) => ConvRef::new(name, index, spec).tensors(self.fused),
                    Part::Norm(spec) => NormRef { name, layer: index, spec: spec.clone() }.tensors(),
                    Part::Transposed(spec) => {
                        TransposedRef { name, layer: index, spec: spec.clone() }.tensors()
                    }
                    Part::Constant(shape) => vec![TensorSpec::parameter(name, shape)],
                });
            });
        }
        tensors
    }
}
