//! `C3k2`: a C2f whose blocks are bottlenecks, C3k, or bottlenecks with attention.

use super::split_stage::{Flow, SplitStage};
use super::{Block, BottleneckSpec, C3kSpec, ModuleKind, PsaBlockSpec, SequenceSpec, SplitStageSpec, Stored};
use crate::architecture::YamlLayer;
use crate::error::Result;
use crate::weights::PlainValue;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3k2",
    key: "C3k2",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| C3k2Spec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C3k2Spec>(),
};

/// Blocks, of which `cv2` reads every one.
pub type C3k2Spec = SplitStageSpec<C3k2>;

/// Marks a [`C3k2Spec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct C3k2;

/// Bottlenecks inside a C3k.
const INNER_REPEATS: usize = 2;
/// Sides of the kernels there.
const INNER_KERNEL: usize = 3;

/// `[out, c3k, expansion, attention, groups, shortcut]`, repeated. Scales m, l and x have C3k whatever their yaml says.
fn from_yaml(layer: &YamlLayer) -> Result<C3k2Spec> {
    let out = layer.width(layer.int(0)?);
    let hidden = layer.hidden(out, 2, 0.5)?;
    let is_large = matches!(layer.scale(), Some("m" | "l" | "x"));
    let (c3k, attention) = (layer.bool_or(1, false)? || is_large, layer.bool_or(3, false)?);
    let (groups, shortcut) = (layer.int_or(4, 1)?, layer.bool_or(5, true)?);
    let narrow = BottleneckSpec::wide(layer, [hidden, hidden / 2, hidden], shortcut, groups);
    let block = if attention {
        Block::new(SequenceSpec {
            blocks: vec![Block::new(narrow), Block::new(PsaBlockSpec::new(layer, hidden))],
        })
    } else if c3k {
        let widths = [hidden, hidden / 2, hidden];
        Block::new(C3kSpec::new(layer, widths, shortcut, INNER_KERNEL, INNER_REPEATS))
    } else {
        Block::new(narrow)
    };
    Ok(C3k2Spec::around(layer, hidden, out, vec![block; layer.repeats()]))
}

impl SplitStage for C3k2 {
    const KIND: &'static ModuleKind = &KIND;
    const FLOW: Flow = Flow::Dense;

    fn arguments(stage: &C3k2Spec, expansion: f64) -> Vec<PlainValue> {
        let sequence = stage.first::<SequenceSpec>();
        let c3k = stage.first::<C3kSpec>();
        let narrow = sequence.and_then(|sequence| sequence.blocks.first()?.get());
        let bottleneck = stage.first::<BottleneckSpec>().or(narrow);
        let inner = c3k.and_then(|c3k| c3k.0.m.first()).or(bottleneck);
        let (shortcut, groups) = inner.map_or((true, 1), |block| (block.add, block.cv2.groups));
        vec![
            c3k.is_some().into(),
            expansion.into(),
            sequence.is_some().into(),
            groups.into(),
            shortcut.into(),
        ]
    }
}
