//! `SPP`: spatial pyramid pooling, the older form of SPPF.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "SPP",
    key: "Spp",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| SppSpec::of_pickle(layer).map(Block::new),
    stored: Stored::fields::<SppSpec>(),
};

/// `cv2(concat[x, p₁(x), p₂(x), …])` of `x = cv1(input)`, where `pᵢ` are max-pools of stride 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SppSpec {
    /// Entry.
    pub cv1: ConvSpec,
    /// Joins the entry and its pools.
    pub cv2: ConvSpec,
    /// Sides of the pooling windows, odd.
    pub pools: Vec<usize>,
}

/// `[out, windows]`.
fn from_yaml(layer: &YamlLayer) -> Result<SppSpec> {
    let pools = layer.ints(1)?.unwrap_or_else(|| SppSpec::POOLS.to_vec());
    Ok(SppSpec::new(layer, [layer.input(), layer.width(layer.int(0)?)], pools))
}

impl SppSpec {
    /// The windows that the reference takes if it is told none.
    pub(super) const POOLS: [usize; 3] = [5, 9, 13];

    /// With the activation of `layer`'s yaml.
    pub(super) fn new(layer: &YamlLayer, [input, out]: [usize; 2], pools: Vec<usize>) -> Self {
        let hidden = input / 2;
        Self { cv1: layer.conv(input, hidden, 1), cv2: layer.conv((1 + pools.len()) * hidden, out, 1), pools }
    }

    pub(super) fn of_pickle(layer: &PickledLayer) -> Result<Self> {
        let pools = layer.child("m")?.children();
        Ok(Self {
            cv1: layer.child("cv1")?.conv()?,
            cv2: layer.child("cv2")?.conv()?,
            pools: pools.iter().map(|pool| Ok(pool.pair("kernel_size")?[0])).collect::<Result<_>>()?,
        })
    }

    pub(super) fn append(&self, lowering: &mut Lowering, input: ValueId) -> Result<ValueId> {
        let entry = lowering.conv("cv1", &self.cv1, input)?;
        let mut stages = vec![entry];
        for &pool in &self.pools {
            stages.push(lowering.max_pool(pool, entry)?);
        }
        let joined = lowering.concat(&stages);
        lowering.conv("cv2", &self.cv2, joined)
    }

    pub(super) fn visit(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("cv1", &mut self.cv1);
        visit("cv2", &mut self.cv2);
    }

    pub(super) fn wrappers(&self) -> usize {
        // The block, its list of pools, and each of these.
        2 + self.pools.len()
    }
}

impl Module for SppSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        self.append(lowering, inputs[0])
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        self.visit(visit);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let pools = self.pools.iter().map(|pool| TorchModule::max_pool(*pool, 1, pool / 2));
        let module = TorchModule::new("models.common.SPP")
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv_block(&self.cv2))
            .child("m", TorchModule::list(pools));
        Some(module.yaml(1, vec![self.cv2.out_channels.into(), self.pools.clone().into()]))
    }

    fn n_wrappers(&self) -> usize {
        self.wrappers()
    }
}
