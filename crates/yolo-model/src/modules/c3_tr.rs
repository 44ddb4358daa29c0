//! `C3TR`: a C3 with a transformer in the middle.

use super::transformer::HEADS;
use super::{Block, CrossStageSpec, ModuleKind, Stored, TransformerSpec};
use crate::architecture::YamlLayer;
use crate::error::Result;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3TR",
    key: "C3Tr",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| C3TrSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C3TrSpec>(),
};

/// A C3TR: a transformer in the middle.
pub type C3TrSpec = CrossStageSpec<TransformerSpec>;

/// `[out, shortcut, groups, expansion]`; repeats are the transformer's layers, shortcut and groups have no effect.
fn from_yaml(layer: &YamlLayer) -> Result<C3TrSpec> {
    let out = layer.width(layer.int(0)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    if !hidden.is_multiple_of(HEADS) {
        return Err(
            layer.error(&format!("has {hidden} channels in the middle, which {HEADS} heads cannot share"))
        );
    }
    let middle = TransformerSpec::new(layer, hidden, layer.repeats());
    Ok(CrossStageSpec::around(layer, hidden, out, middle))
}
