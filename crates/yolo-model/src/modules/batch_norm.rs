//! `nn.BatchNorm2d` as a layer.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{Activation, ConvSpec, NormSpec, PickledLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "BatchNorm2d",
    key: "BatchNorm",
    takes_repeats: false,
    // The arguments have no effect.
    from_yaml: |layer| Ok(Block::new(BatchNormSpec(silent(layer.input())))),
    from_pickle: |layer: &PickledLayer| Ok(Block::new(BatchNormSpec(silent(layer.norm_channels()?)))),
    stored: Stored::fields::<BatchNormSpec>(),
};

/// The batch normalisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchNormSpec(pub NormSpec);

/// Without an activation.
fn silent(channels: usize) -> NormSpec {
    NormSpec { channels, activation: Activation::Identity }
}

impl Module for BatchNormSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.norm("", &self.0, inputs[0])
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        visit("", Part::Norm(&mut self.0));
    }

    fn n_wrappers(&self) -> usize {
        0
    }
}
