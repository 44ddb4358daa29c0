//! `SPPF`: fast spatial pyramid pooling.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{Activation, ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "SPPF",
    key: "Sppf",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<SppfSpec>(),
};

/// `cv2(concat[x, p(x), p(p(x)), …])` of `x = cv1(input)`, where `p` is a max-pool of stride 1; the input is added to the
/// result if `add` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SppfSpec {
    /// Entry.
    pub cv1: ConvSpec,
    /// Joins the four.
    pub cv2: ConvSpec,
    /// Side of the pooling window, odd.
    pub pool: usize,
    /// Pools in a row.
    #[serde(rename = "n", default = "three", skip_serializing_if = "is_three")]
    pub pools: usize,
    /// Whether the block has its shortcut; needs as many channels out as in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub add: bool,
}

/// More pools than any network has in a row.
const MAX_POOLS: usize = 16;

fn three() -> usize {
    3
}
fn is_three(n: &usize) -> bool {
    *n == three()
}

/// `[out, window, pools, shortcut]`. With more than the first two, as YOLO26 has it, `cv1` has no activation.
fn from_yaml(layer: &YamlLayer) -> Result<SppfSpec> {
    let (out, hidden) = (layer.width(layer.int(0)?), layer.input() / 2);
    let (pools, shortcut) = (layer.int_or(2, three())?, layer.bool_or(3, false)?);
    let cv1 = layer.conv(layer.input(), hidden, 1);
    let activation = if layer.n_arguments() > 2 { Activation::Identity } else { cv1.activation };
    Ok(SppfSpec {
        cv1: ConvSpec { activation, ..cv1 },
        cv2: layer.conv((pools + 1) * hidden, out, 1),
        pool: layer.int_or(1, 5)?,
        pools,
        add: shortcut && layer.input() == out,
    })
}

fn from_pickle(layer: &PickledLayer) -> Result<SppfSpec> {
    Ok(SppfSpec {
        cv1: layer.child("cv1")?.conv()?,
        cv2: layer.child("cv2")?.conv()?,
        pool: layer.child("m")?.pair("kernel_size")?[0],
        // Older files do not say.
        pools: if layer.attribute("n").is_some() { layer.whole("n")? } else { three() },
        add: layer.flag("add"),
    })
}

impl Module for SppfSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let mut stages = vec![lowering.conv("cv1", &self.cv1, inputs[0])?];
        if self.pools > MAX_POOLS {
            return Err(lowering.error("", &format!("has {} pools, more than {MAX_POOLS}", self.pools)));
        }
        for stage in 0..self.pools {
            stages.push(lowering.max_pool(self.pool, stages[stage])?);
        }
        let joined = lowering.concat(&stages);
        let output = lowering.conv("cv2", &self.cv2, joined)?;
        if self.add { lowering.add([output, inputs[0]]) } else { Ok(output) }
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
        let is_usual = self.pools == three() && !self.add;
        let module =
            if is_usual { module } else { module.attribute("n", self.pools).attribute("add", self.add) };
        let mut arguments = vec![self.cv2.out_channels.into(), self.pool.into()];
        if self.cv1.activation.is_identity() {
            arguments.extend([PlainValue::from(self.pools), self.add.into()]);
        }
        Some(module.yaml(1, arguments))
    }

    fn n_wrappers(&self) -> usize {
        // The block and its pool.
        2
    }
}
