//! `C2`: a split stage whose first half goes through bottlenecks.

use super::split_stage::{Flow, SplitStage};
use super::{Block, ModuleKind, SplitStageSpec, Stored};
use crate::weights::PlainValue;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C2",
    key: "C2",
    takes_repeats: true,
    // `[out, shortcut, groups, expansion]`, repeated.
    from_yaml: |layer| C2Spec::of_bottlenecks(layer, true).map(Block::new),
    from_pickle: |layer| C2Spec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C2Spec>(),
};

/// Bottlenecks behind the first half.
pub type C2Spec = SplitStageSpec<C2>;

/// Marks a [`C2Spec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct C2;

impl SplitStage for C2 {
    const KIND: &'static ModuleKind = &KIND;
    const FLOW: Flow = Flow::First;

    fn arguments(stage: &C2Spec, expansion: f64) -> Vec<PlainValue> {
        stage.bottleneck_arguments(expansion)
    }
}
