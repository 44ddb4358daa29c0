//! `DWConv`: a convolution block with as many groups as its widths allow.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "DWConv",
    key: "DwConv",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer: &PickledLayer| Ok(Block::new(DwConvSpec(layer.conv()?))),
    stored: Stored::fields::<DwConvSpec>(),
};

/// The convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DwConvSpec(pub ConvSpec);

/// `[out, kernel, stride, dilation, activation]`.
fn from_yaml(layer: &YamlLayer) -> Result<DwConvSpec> {
    let (out, kernel) = (layer.width(layer.int(0)?), layer.int_or(1, 1)?);
    let dilation = layer.int_or(3, 1)?;
    let reach = dilation * kernel.saturating_sub(1) + 1;
    Ok(DwConvSpec(ConvSpec {
        stride: [layer.int_or(2, 1)?; 2],
        padding: [reach / 2; 2],
        dilation: [dilation; 2],
        groups: greatest_common_divisor(layer.input(), out),
        activation: layer.activation_at(4)?,
        ..layer.conv(layer.input(), out, kernel)
    }))
}

/// The greatest common divisor; the other number if one is 0.
pub(super) fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl Module for DwConvSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.conv("", &self.0, inputs[0])
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("", &mut self.0);
    }

    fn n_wrappers(&self) -> usize {
        0
    }
}
