//! `MixConv2d`: convolutions with several kernels side by side.

use serde::{Deserialize, Serialize};

use super::dw_conv::greatest_common_divisor;
use super::{Block, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{Activation, ConvForm, ConvSpec, NormSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "MixConv2d",
    key: "MixConv",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<MixConvSpec>(),
};

/// `act(bn(concat[m₀(x), m₁(x), …]))`, plus the input if `add` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixConvSpec {
    /// One convolution per kernel.
    pub m: Vec<ConvSpec>,
    /// What follows all of them.
    pub bn: NormSpec,
    /// Whether the input is added, as up to release 6.0.
    pub add: bool,
}

/// `[out, kernels, stride, whether every kernel gets the same number of channels]`.
fn from_yaml(layer: &YamlLayer) -> Result<MixConvSpec> {
    let (input, out) = (layer.input(), layer.width(layer.int(0)?));
    let kernels = layer.ints(1)?.unwrap_or_else(|| vec![1, 3]);
    let stride = layer.int_or(2, 1)?;
    if kernels.is_empty() || kernels.contains(&0) {
        return Err(layer.error("needs a list of kernels of at least 1 as argument 2"));
    }
    let widths = if layer.bool_or(3, true)? { equal(out, kernels.len()) } else { by_weights(out, &kernels) };
    let conv = |(&kernel, &width): (&usize, &usize)| ConvSpec {
        stride: [stride; 2],
        groups: greatest_common_divisor(input, width),
        activation: Activation::Identity,
        form: ConvForm::Plain,
        ..ConvSpec::new(input, width, kernel, 1)
    };
    Ok(MixConvSpec {
        m: kernels.iter().zip(&widths).map(conv).collect(),
        bn: NormSpec { channels: widths.iter().sum(), activation: Activation::Silu },
        add: false,
    })
}

/// Channel `j` of `out` belongs to kernel `⌊j · (n − 10⁻⁶) / (out − 1)⌋`.
fn equal(out: usize, n: usize) -> Vec<usize> {
    let mut widths = vec![0; n];
    for j in 0..out {
        let place = j as f64 * (n as f64 - 1e-6) / (out - 1).max(1) as f64;
        widths[(place as usize).min(n - 1)] += 1;
    }
    widths
}

/// Widths for which every kernel has the same number of weights, rounded half to even.
fn by_weights(out: usize, kernels: &[usize]) -> Vec<usize> {
    let shares: Vec<f64> = kernels.iter().map(|&kernel| 1.0 / (kernel * kernel) as f64).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter().map(|share| (out as f64 * share / sum).round_ties_even() as usize).collect()
}

fn from_pickle(layer: &PickledLayer) -> Result<MixConvSpec> {
    let norm = layer.norm()?;
    Ok(MixConvSpec {
        m: layer.child("m")?.children().iter().map(PickledLayer::lone_conv).collect::<Result<_>>()?,
        // The release that stopped to add the input also changed the activation.
        add: matches!(norm.activation, Activation::LeakyRelu { .. }),
        bn: norm,
    })
}

impl Module for MixConvSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let mut parts = Vec::new();
        for (j, conv) in self.m.iter().enumerate() {
            parts.push(lowering.conv(&format!("m.{j}"), conv, inputs[0])?);
        }
        let joined = lowering.concat(&parts);
        let output = lowering.norm("bn", &self.bn, joined)?;
        if self.add { lowering.add([output, inputs[0]]) } else { Ok(output) }
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        for (j, conv) in self.m.iter_mut().enumerate() {
            visit(&format!("m.{j}"), Part::Conv(conv));
        }
        visit("bn", Part::Norm(&mut self.bn));
    }

    fn n_wrappers(&self) -> usize {
        // The block and its list.
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification.
    #[test]
    fn widths_per_kernel() {
        assert_eq!(equal(32, 2), [16, 16]);
        assert_eq!(equal(33, 2), [17, 16]);
        assert_eq!(by_weights(32, &[1, 3, 5]), [28, 3, 1]);
        assert_eq!(by_weights(64, &[3, 5, 7, 9]), [39, 14, 7, 4]);
    }
}
