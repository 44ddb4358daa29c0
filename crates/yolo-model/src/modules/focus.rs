//! `Focus`: squares of four pixels become channels, then a convolution.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, PixelOrder, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Focus",
    key: "Focus",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer: &PickledLayer| Ok(Block::new(FocusSpec { conv: layer.child("conv")?.conv()? })),
    stored: Stored::fields::<FocusSpec>(),
};

/// `conv` of the pixels of every square of 2×2, column by column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FocusSpec {
    /// The convolution of four times the input's channels.
    pub conv: ConvSpec,
}

/// `[out, kernel, stride, padding, groups, activation]`.
fn from_yaml(layer: &YamlLayer) -> Result<FocusSpec> {
    let (out, kernel) = (layer.width(layer.int(0)?), layer.int_or(1, 1)?);
    let conv = ConvSpec {
        stride: [layer.int_or(2, 1)?; 2],
        padding: [layer.int_or(3, kernel / 2)?; 2],
        groups: layer.int_or(4, 1)?,
        activation: layer.activation_at(5)?,
        ..layer.conv(4 * layer.input(), out, kernel)
    };
    Ok(FocusSpec { conv })
}

impl Module for FocusSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let squares = lowering.space_to_depth(2, PixelOrder::Columns, inputs[0])?;
        lowering.conv("conv", &self.conv, squares)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("conv", &mut self.conv);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let conv = &self.conv;
        let numbers = [conv.out_channels, conv.kernel[0], conv.stride[0], conv.padding[0], conv.groups];
        let module = TorchModule::new("models.common.Focus").child("conv", TorchModule::conv_block(conv));
        Some(module.yaml(1, numbers.map(Into::into).to_vec()))
    }

    fn n_wrappers(&self) -> usize {
        1
    }
}
