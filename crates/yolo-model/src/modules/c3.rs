//! `C3`: cross-stage-partial block with three convolutions around bottlenecks.

use super::cross_stage::Repeated;
use super::{Block, BottleneckCspSpec, BottleneckSpec, CrossStageSpec, ModuleKind, Stored};
use crate::architecture::{PickledLayer, YamlLayer};
use crate::error::Result;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3",
    key: "C3",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| match layer.child("cv4") {
        // Releases 2.0 to 3.1 called another block C3 as well.
        Ok(_) => BottleneckCspSpec::from_pickle(layer).map(Block::new),
        Err(_) => C3Spec::from_pickle(layer).map(Block::new),
    },
    stored: Stored::fields::<C3Spec>(),
};

/// A C3: bottlenecks in the middle.
pub type C3Spec = CrossStageSpec<Vec<BottleneckSpec>>;

impl Repeated for BottleneckSpec {
    const FAMILY: &'static ModuleKind = &KIND;
    const FIRST_WEIGHT: &'static str = "cv1.conv.weight";

    const CLASS: &'static str = "models.common.C3";

    fn of_pickle(layer: &PickledLayer) -> Result<Self> {
        Self::from_pickle(layer)
    }

    fn shortcut_and_groups(&self) -> (bool, usize) {
        (self.add, self.cv2.groups)
    }
}

/// `[out, shortcut, groups, expansion]`, repeated.
fn from_yaml(layer: &YamlLayer) -> Result<C3Spec> {
    let out = layer.width(layer.int(0)?);
    let (shortcut, groups) = (layer.bool_or(1, true)?, layer.int_or(2, 1)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    let bottleneck = BottleneckSpec::new(layer, [hidden; 3], shortcut, groups);
    Ok(CrossStageSpec::around(layer, hidden, out, vec![bottleneck; layer.repeats()]))
}
