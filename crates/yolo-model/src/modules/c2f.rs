//! `C2f`: a split stage that keeps what every bottleneck makes.

use super::split_stage::{Flow, SplitStage};
use super::{Block, ModuleKind, SplitStageSpec, Stored};
use crate::weights::PlainValue;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C2f",
    key: "C2f",
    takes_repeats: true,
    // `[out, shortcut, groups, expansion]`, repeated.
    from_yaml: |layer| C2fSpec::of_bottlenecks(layer, false).map(Block::new),
    from_pickle: |layer| C2fSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C2fSpec>(),
};

/// The name under which scripts for pruning keep a C2f whose entry they cut in two.
pub(super) static CUT: ModuleKind = ModuleKind {
    name: "C2f_v2",
    key: "C2fCut",
    takes_repeats: true,
    from_yaml: |layer| Err(layer.error("is the form of a pruned file; write C2f")),
    from_pickle: |layer| C2fSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C2fSpec>(),
};

/// Bottlenecks, of which `cv2` reads every one.
pub type C2fSpec = SplitStageSpec<C2f>;

/// Marks a [`C2fSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct C2f;

impl SplitStage for C2f {
    const KIND: &'static ModuleKind = &KIND;
    const FLOW: Flow = Flow::Dense;

    fn arguments(stage: &C2fSpec, expansion: f64) -> Vec<PlainValue> {
        stage.bottleneck_arguments(expansion)
    }
}
