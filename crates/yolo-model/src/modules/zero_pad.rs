//! `nn.ZeroPad2d`: zeros around a map.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "ZeroPad2d",
    key: "ZeroPad",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer: &PickledLayer| {
        let sides = layer.wholes("padding")?;
        let sides = <[usize; 4]>::try_from(sides).map_err(|_| layer.error("needs four paddings"))?;
        Ok(Block::new(ZeroPadSpec { sides }))
    },
    stored: Stored::fields::<ZeroPadSpec>(),
};

/// How many zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroPadSpec {
    /// Columns on the left and on the right, rows above and below.
    pub sides: [usize; 4],
}

/// `[[left, right, above, below]]`, or one number for all.
fn from_yaml(layer: &YamlLayer) -> Result<ZeroPadSpec> {
    if let Ok(all) = layer.int(0) {
        return Ok(ZeroPadSpec { sides: [all; 4] });
    }
    let sides = layer.ints(0)?.unwrap_or_default();
    let sides = <[usize; 4]>::try_from(sides).map_err(|_| layer.error("needs four paddings in a list"))?;
    Ok(ZeroPadSpec { sides })
}

impl Module for ZeroPadSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.zero_pad(self.sides, inputs[0])
    }

    fn visit_convs(&mut self, _visit: &mut dyn FnMut(&str, &mut ConvSpec)) {}

    fn n_wrappers(&self) -> usize {
        1
    }
}
