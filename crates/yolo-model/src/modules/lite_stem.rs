//! `conv_bn_relu_maxpool`: the first layer of YOLOv5-Lite.

use serde::{Deserialize, Serialize};

use super::shuffle_block::Stage;
use super::{Block, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{Activation, ConvForm, ConvSpec, NormSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, PoolSpec, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "conv_bn_relu_maxpool",
    key: "LiteStem",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<LiteStemSpec>(),
};

/// A convolution with its batch normalisation and activation, then a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiteStemSpec {
    /// The convolution.
    pub conv: Stage,
    /// The pool.
    pub maxpool: PoolSpec,
}

/// `[out]`.
fn from_yaml(layer: &YamlLayer) -> Result<LiteStemSpec> {
    let out = layer.width(layer.int(0)?);
    let conv = ConvSpec {
        activation: Activation::Identity,
        form: ConvForm::Plain,
        ..ConvSpec::new(layer.input(), out, 3, 2)
    };
    let bn = NormSpec { channels: out, activation: Activation::Relu };
    let maxpool = PoolSpec { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ceil: false };
    Ok(LiteStemSpec { conv: Stage { at: 0, conv, bn }, maxpool })
}

fn from_pickle(layer: &PickledLayer) -> Result<LiteStemSpec> {
    let pool = layer.child("maxpool")?;
    Ok(LiteStemSpec {
        conv: Stage::from_pickle(&layer.child("conv")?, 0)?,
        maxpool: super::max_pool::of_pickle(&pool)?,
    })
}

impl Module for LiteStemSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let convolved = lowering.within("conv", |lowering| self.conv.lower(lowering, inputs[0]))?;
        lowering.pool(self.maxpool, convolved)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        self.conv.visit(&mut |path, part| visit(&format!("conv.{path}"), part));
    }

    fn n_wrappers(&self) -> usize {
        // The block, its list, and the pool.
        3
    }
}
