//! `Contract`: squares of pixels become channels, row by row.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::ConvSpec;
use crate::error::Result;
use crate::program::{Lowering, PixelOrder, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Contract",
    key: "Contract",
    takes_repeats: false,
    // `[side]`
    from_yaml: |layer| Ok(Block::new(ContractSpec { gain: layer.int_or(0, 2)? })),
    from_pickle: |layer| Ok(Block::new(ContractSpec { gain: layer.whole("gain")? })),
    stored: Stored::fields::<ContractSpec>(),
};

/// A map with sides `gain` times smaller and `gain²` times the channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractSpec {
    /// Side of the square, in pixels.
    pub gain: usize,
}

impl Module for ContractSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.space_to_depth(self.gain, PixelOrder::Rows, inputs[0])
    }

    fn visit_convs(&mut self, _visit: &mut dyn FnMut(&str, &mut ConvSpec)) {}

    fn n_wrappers(&self) -> usize {
        1
    }
}
