//! `nn.Upsample`: nearest-neighbour enlargement.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Upsample",
    key: "Upsample",
    takes_repeats: false,
    // `[size, factor, mode]`
    from_yaml: |layer| Ok(Block::new(UpsampleSpec { scale: layer.int(1)? })),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<UpsampleSpec>(),
};

/// Enlargement by a whole factor: each pixel becomes a square.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpsampleSpec {
    /// The factor in both directions.
    pub scale: usize,
}

fn from_pickle(layer: &PickledLayer) -> Result<UpsampleSpec> {
    if let Some(mode) = layer.attribute("mode").and_then(PlainValue::as_str)
        && mode != "nearest"
    {
        return Err(layer.error(&format!("enlarges by {mode:?}; only nearest is known here")));
    }
    match layer.attribute("scale_factor").and_then(PlainValue::as_float) {
        Some(factor) if factor.fract() == 0.0 && (1.0..=8.0).contains(&factor) => {
            Ok(UpsampleSpec { scale: factor as usize })
        }
        _ => Err(layer.error("has no whole scale_factor")),
    }
}

impl Module for UpsampleSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.upsample(self.scale, inputs[0])
    }

    fn visit_convs(&mut self, _visit: &mut dyn FnMut(&str, &mut ConvSpec)) {}

    fn to_torch(&self) -> Option<TorchModule> {
        let module = TorchModule::new("torch.nn.modules.upsampling.Upsample")
            .attribute("name", "Upsample")
            .attribute("size", PlainValue::None)
            .attribute("scale_factor", self.scale as f64)
            .attribute("mode", "nearest")
            .attribute("align_corners", PlainValue::None)
            .attribute("recompute_scale_factor", PlainValue::None);
        Some(module.yaml(1, vec!["None".into(), self.scale.into(), "nearest".into()]))
    }

    fn n_wrappers(&self) -> usize {
        1
    }
}
