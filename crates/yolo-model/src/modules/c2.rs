//! `C2`: a split stage whose first half goes through bottlenecks.

use super::split_stage::{Flow, SplitStage};
use super::{Block, BottleneckSpec, ModuleKind, SplitStageSpec, Stored};
use crate::architecture::YamlLayer;
use crate::error::Result;
use crate::weights::PlainValue;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C2",
    key: "C2",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| C2Spec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C2Spec>(),
};

/// Bottlenecks behind the first half.
pub type C2Spec = SplitStageSpec<C2>;

/// Marks a [`C2Spec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct C2;

/// `[out, shortcut, groups, expansion]`, repeated.
fn from_yaml(layer: &YamlLayer) -> Result<C2Spec> {
    let out = layer.width(layer.int(0)?);
    let (shortcut, groups) = (layer.bool_or(1, true)?, layer.int_or(2, 1)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    let bottleneck = BottleneckSpec::wide(layer, [hidden; 3], shortcut, groups);
    Ok(C2Spec::around(layer, hidden, out, vec![Block::new(bottleneck); layer.repeats()]))
}

impl SplitStage for C2 {
    const KIND: &'static ModuleKind = &KIND;
    const FLOW: Flow = Flow::First;

    fn arguments(stage: &C2Spec, expansion: f64) -> Vec<PlainValue> {
        let bottleneck = stage.first::<BottleneckSpec>();
        let (shortcut, groups) = bottleneck.map_or((false, 1), |block| (block.add, block.cv2.groups));
        vec![shortcut.into(), groups.into(), expansion.into()]
    }
}
