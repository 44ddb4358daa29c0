//! `C3SPP`: a C3 with a spatial pyramid in the middle.

use super::{Block, CrossStageSpec, ModuleKind, SppSpec, Stored};
use crate::architecture::YamlLayer;
use crate::error::Result;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3SPP",
    key: "C3Spp",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| C3SppSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C3SppSpec>(),
};

/// A C3SPP: a spatial pyramid in the middle.
pub type C3SppSpec = CrossStageSpec<SppSpec>;

/// `[out, windows, n, shortcut, groups, expansion]`; `n`, shortcut and groups have no effect.
fn from_yaml(layer: &YamlLayer) -> Result<C3SppSpec> {
    let out = layer.width(layer.int(0)?);
    let hidden = layer.hidden(out, 5, 0.5)?;
    let pools = layer.ints(1)?.unwrap_or_else(|| SppSpec::POOLS.to_vec());
    Ok(CrossStageSpec::around(layer, hidden, out, SppSpec::new(layer, [hidden; 2], pools)))
}
