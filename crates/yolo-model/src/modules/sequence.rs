//! `nn.Sequential`: a module that a yaml repeats.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{ConvSpec, PickledLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Sequential",
    key: "Sequential",
    takes_repeats: false,
    from_yaml: |layer| Err(layer.error("is made of repeats; write the repeated module with their number")),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<SequenceSpec>(),
};

/// Modules one after the other, each of one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceSpec {
    /// The modules, in order.
    pub blocks: Vec<Block>,
}

fn from_pickle(layer: &PickledLayer) -> Result<SequenceSpec> {
    let blocks: Vec<Block> = layer.children().iter().map(PickledLayer::block).collect::<Result<_>>()?;
    if blocks.is_empty() {
        return Err(layer.error("has no parts"));
    }
    Ok(SequenceSpec { blocks })
}

impl Module for SequenceSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    /// The reference names the module that is repeated.
    fn name(&self) -> &'static str {
        self.blocks.first().map_or(KIND.name, |block| block.name())
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let mut value = inputs[0];
        for (j, block) in self.blocks.iter().enumerate() {
            if block.takes_several() {
                return Err(
                    lowering.error(&j.to_string(), "takes several inputs, which a repeat cannot have")
                );
            }
            value = lowering.within(&j.to_string(), |lowering| block.lower(lowering, &[value]))?;
        }
        Ok(value)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        for (j, block) in self.blocks.iter_mut().enumerate() {
            block.visit_parts(&mut |path, part| {
                let dot = if path.is_empty() { "" } else { "." };
                visit(&format!("{j}{dot}{path}"), part);
            });
        }
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let blocks = self.blocks.iter().map(|block| block.to_torch()).collect::<Option<Vec<_>>>()?;
        let (_, arguments) = blocks.first()?.yaml.clone()?;
        Some(TorchModule::sequential(blocks).yaml(self.blocks.len(), arguments))
    }

    fn n_wrappers(&self) -> usize {
        1 + self.blocks.iter().map(|block| block.n_wrappers()).sum::<usize>()
    }

    fn n_repeats(&self) -> usize {
        self.blocks.len()
    }

    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        for (j, block) in self.blocks.iter_mut().enumerate() {
            block.fit_repeats(&|path| has(&format!("{j}.{path}")));
        }
    }
}
