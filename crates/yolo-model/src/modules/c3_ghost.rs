//! `C3Ghost`: a C3 with ghost bottlenecks in the middle.

use super::cross_stage::Repeated;
use super::{Block, CrossStageSpec, GhostBottleneckSpec, ModuleKind, Stored};
use crate::architecture::{PickledLayer, YamlLayer};
use crate::error::Result;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3Ghost",
    key: "C3Ghost",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| C3GhostSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C3GhostSpec>(),
};

/// A C3Ghost: ghost bottlenecks in the middle.
pub type C3GhostSpec = CrossStageSpec<Vec<GhostBottleneckSpec>>;

impl Repeated for GhostBottleneckSpec {
    const FAMILY: &'static ModuleKind = &KIND;
    const FIRST_WEIGHT: &'static str = "conv.0.cv1.conv.weight";

    const CLASS: &'static str = "models.common.C3Ghost";

    fn of_pickle(layer: &PickledLayer) -> Result<Self> {
        Self::from_pickle(layer)
    }

    /// Neither has an effect.
    fn shortcut_and_groups(&self) -> (bool, usize) {
        (true, 1)
    }
}

/// `[out, shortcut, groups, expansion]`, repeated; shortcut and groups have no effect.
fn from_yaml(layer: &YamlLayer) -> Result<C3GhostSpec> {
    let out = layer.width(layer.int(0)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    let ghost = GhostBottleneckSpec::new(layer, hidden, hidden, [3, 1]);
    Ok(CrossStageSpec::around(layer, hidden, out, vec![ghost; layer.repeats()]))
}
