//! `SPPF`: fast spatial pyramid pooling.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "SPPF",
    key: "Sppf",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<SppfSpec>(),
};

/// `cv2(concat[x, p(x), p(p(x)), p(p(p(x)))])` of `x = cv1(input)`, where `p` is a max-pool of stride 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SppfSpec {
    /// Entry.
    pub cv1: ConvSpec,
    /// Joins the four.
    pub cv2: ConvSpec,
    /// Side of the pooling window, odd.
    pub pool: usize,
}

/// `[out, window]`.
fn from_yaml(layer: &YamlLayer) -> Result<SppfSpec> {
    let (out, hidden) = (layer.width(layer.int(0)?), layer.input() / 2);
    Ok(SppfSpec {
        cv1: layer.conv(layer.input(), hidden, 1),
        cv2: layer.conv(4 * hidden, out, 1),
        pool: layer.int_or(1, 5)?,
    })
}

fn from_pickle(layer: &PickledLayer) -> Result<SppfSpec> {
    Ok(SppfSpec {
        cv1: layer.child("cv1")?.conv()?,
        cv2: layer.child("cv2")?.conv()?,
        pool: layer.child("m")?.pair("kernel_size")?[0],
    })
}

impl Module for SppfSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let mut stages = vec![lowering.conv("cv1", &self.cv1, inputs[0])?];
        for stage in 0..3 {
            stages.push(lowering.max_pool(self.pool, stages[stage])?);
        }
        let joined = lowering.concat(&stages);
        lowering.conv("cv2", &self.cv2, joined)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("cv1", &mut self.cv1);
        visit("cv2", &mut self.cv2);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let module = TorchModule::new("models.common.SPPF")
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv_block(&self.cv2))
            .child("m", TorchModule::max_pool(self.pool, 1, self.pool / 2));
        Some(module.yaml(1, vec![self.cv2.out_channels.into(), self.pool.into()]))
    }

    fn n_wrappers(&self) -> usize {
        // The block and its pool.
        2
    }
}
