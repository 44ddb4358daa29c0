//! `Concat`: concatenation along the channels.

use serde::Serialize;

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::ConvSpec;
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Concat",
    key: "Concat",
    takes_repeats: false,
    from_yaml: |_| Ok(Block::new(ConcatSpec)),
    from_pickle: |_| Ok(Block::new(ConcatSpec)),
    stored: Stored::Name(|| Block::new(ConcatSpec)),
};

/// The channels of all inputs, in their order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConcatSpec;

impl Module for ConcatSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        Ok(lowering.concat(inputs))
    }

    fn visit_convs(&mut self, _visit: &mut dyn FnMut(&str, &mut ConvSpec)) {}

    fn to_torch(&self) -> Option<TorchModule> {
        const CHANNELS: usize = 1;
        Some(TorchModule::new("models.common.Concat").attribute("d", CHANNELS).yaml(1, vec![CHANNELS.into()]))
    }

    fn n_wrappers(&self) -> usize {
        1
    }

    fn takes_several(&self) -> bool {
        true
    }
}
