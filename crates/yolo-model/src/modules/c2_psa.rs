//! `C2PSA`: a split stage whose second half goes through blocks of attention.

use super::split_stage::{Flow, SplitStage};
use super::{Block, ModuleKind, PsaBlockSpec, SplitStageSpec, Stored};
use crate::architecture::YamlLayer;
use crate::error::Result;
use crate::weights::PlainValue;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C2PSA",
    key: "C2Psa",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| C2PsaSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C2PsaSpec>(),
};

/// Blocks of attention behind the second half.
pub type C2PsaSpec = SplitStageSpec<C2Psa>;

/// Marks a [`C2PsaSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct C2Psa;

/// `[out, expansion]`, repeated; there are as many channels out as in.
fn from_yaml(layer: &YamlLayer) -> Result<C2PsaSpec> {
    let out = layer.width(layer.int(0)?);
    if out != layer.input() {
        return Err(layer.error(&format!("makes {out} channels of {}; both must be equal", layer.input())));
    }
    let hidden = layer.hidden(out, 1, 0.5)?;
    let block = Block::new(PsaBlockSpec::new(layer, hidden));
    Ok(C2PsaSpec::around(layer, hidden, out, vec![block; layer.repeats()]))
}

impl SplitStage for C2Psa {
    const KIND: &'static ModuleKind = &KIND;
    const FLOW: Flow = Flow::Second;

    fn arguments(_: &C2PsaSpec, expansion: f64) -> Vec<PlainValue> {
        vec![expansion.into()]
    }
}
