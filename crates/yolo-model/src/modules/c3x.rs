//! `C3x`: a C3 with cross convolutions in the middle.

use super::cross_stage::Repeated;
use super::{Block, CrossConvSpec, CrossStageSpec, ModuleKind, Stored};
use crate::architecture::{PickledLayer, YamlLayer};
use crate::error::Result;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3x",
    key: "C3x",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| C3xSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C3xSpec>(),
};

/// A C3x: cross convolutions in the middle.
pub type C3xSpec = CrossStageSpec<Vec<CrossConvSpec>>;

impl Repeated for CrossConvSpec {
    const FAMILY: &'static ModuleKind = &KIND;
    const FIRST_WEIGHT: &'static str = "cv1.conv.weight";

    const CLASS: &'static str = "models.common.C3x";

    fn of_pickle(layer: &PickledLayer) -> Result<Self> {
        Self::from_pickle(layer)
    }

    fn shortcut_and_groups(&self) -> (bool, usize) {
        (self.add, self.cv2.groups)
    }
}

/// `[out, shortcut, groups, expansion]`, repeated.
fn from_yaml(layer: &YamlLayer) -> Result<C3xSpec> {
    let out = layer.width(layer.int(0)?);
    let (shortcut, groups) = (layer.bool_or(1, true)?, layer.int_or(2, 1)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    let cross = CrossConvSpec::new(layer, [hidden; 3], [3, 1], groups, shortcut);
    Ok(CrossStageSpec::around(layer, hidden, out, vec![cross; layer.repeats()]))
}
