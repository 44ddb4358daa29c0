//! `CrossConv`: a flat convolution, then a tall one.

use serde::{Deserialize, Serialize};

use super::bottleneck::lower_pair;
use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "CrossConv",
    key: "CrossConv",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| CrossConvSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<CrossConvSpec>(),
};

/// 1×k then k×1 convolution; the input is added to the result if `add` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossConvSpec {
    /// The flat convolution.
    pub cv1: ConvSpec,
    /// The tall convolution.
    pub cv2: ConvSpec,
    /// Whether the block has its shortcut; needs as many channels out as in.
    pub add: bool,
}

/// `[out, kernel, stride, groups, expansion, shortcut]`.
fn from_yaml(layer: &YamlLayer) -> Result<CrossConvSpec> {
    let out = layer.width(layer.int(0)?);
    let shape = [layer.int_or(1, 3)?, layer.int_or(2, 1)?];
    let (groups, shortcut) = (layer.int_or(3, 1)?, layer.bool_or(5, false)?);
    let hidden = layer.hidden(out, 4, 1.0)?;
    Ok(CrossConvSpec::new(layer, [layer.input(), hidden, out], shape, groups, shortcut))
}

impl CrossConvSpec {
    /// With the activation of `layer`'s yaml. `shortcut` takes effect where the widths allow it.
    pub(super) fn new(
        layer: &YamlLayer,
        [input, hidden, out]: [usize; 3],
        [kernel, stride]: [usize; 2],
        groups: usize,
        shortcut: bool,
    ) -> Self {
        let half = kernel / 2;
        let flat = ConvSpec {
            kernel: [1, kernel],
            stride: [1, stride],
            padding: [0, half],
            ..layer.conv(input, hidden, 1)
        };
        let tall = ConvSpec {
            kernel: [kernel, 1],
            stride: [stride, 1],
            padding: [half, 0],
            groups,
            ..layer.conv(hidden, out, 1)
        };
        Self { cv1: flat, cv2: tall, add: shortcut && input == out }
    }

    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        Ok(Self {
            cv1: layer.child("cv1")?.conv()?,
            cv2: layer.child("cv2")?.conv()?,
            add: layer.flag("add"),
        })
    }
}

impl Module for CrossConvSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lower_pair(lowering, [&self.cv1, &self.cv2], self.add, inputs[0])
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("cv1", &mut self.cv1);
        visit("cv2", &mut self.cv2);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let (kernel, stride) = (self.cv1.kernel[1], self.cv1.stride[1]);
        let expansion = TorchModule::expansion(self.cv1.out_channels, self.cv2.out_channels);
        let mut arguments: Vec<PlainValue> = vec![self.cv2.out_channels.into(), kernel.into(), stride.into()];
        arguments.extend([PlainValue::from(self.cv2.groups), expansion.into(), self.add.into()]);
        let module = TorchModule::new("models.common.CrossConv")
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv_block(&self.cv2))
            .attribute("add", self.add);
        Some(module.yaml(1, arguments))
    }

    fn n_wrappers(&self) -> usize {
        1
    }
}
