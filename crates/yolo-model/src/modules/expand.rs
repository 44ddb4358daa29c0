//! `Expand`: groups of channels become squares of pixels, row by row.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::ConvSpec;
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Expand",
    key: "Expand",
    takes_repeats: false,
    // `[side]`
    from_yaml: |layer| Ok(Block::new(ExpandSpec { gain: layer.int_or(0, 2)? })),
    from_pickle: |layer| Ok(Block::new(ExpandSpec { gain: layer.whole("gain")? })),
    stored: Stored::fields::<ExpandSpec>(),
};

/// A map with sides `gain` times larger, and channels `gain²` times fewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpandSpec {
    /// Side of the square, in pixels.
    pub gain: usize,
}

impl Module for ExpandSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.depth_to_space(self.gain, inputs[0])
    }

    fn visit_convs(&mut self, _visit: &mut dyn FnMut(&str, &mut ConvSpec)) {}

    fn n_wrappers(&self) -> usize {
        1
    }
}
