//! `GhostBottleneck`: two ghost convolutions with a shortcut.

use serde::{Deserialize, Serialize};

use super::{Block, GhostConvSpec, Module, ModuleKind, Stored};
use crate::architecture::{Activation, ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "GhostBottleneck",
    key: "GhostBottleneck",
    takes_repeats: false,
    from_yaml: |layer| {
        let (out, shape) = (layer.width(layer.int(0)?), [layer.int_or(1, 3)?, layer.int_or(2, 1)?]);
        Ok(Block::new(GhostBottleneckSpec::new(layer, layer.input(), out, shape)))
    },
    from_pickle: |layer| GhostBottleneckSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<GhostBottleneckSpec>(),
};

/// `narrow(middle(wide(x))) + shortcut(x)`; the shortcut is always there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GhostBottleneckSpec {
    /// The first ghost convolution.
    pub first: GhostConvSpec,
    /// A depthwise convolution between the two, where the block halves its map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<ConvSpec>,
    /// The second ghost convolution.
    pub second: GhostConvSpec,
    /// The shortcut's depthwise and pointwise convolutions; none if the input is added as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<[ConvSpec; 2]>,
}

/// The shortcut's paths.
const SHORTCUT: [&str; 2] = ["shortcut.0", "shortcut.1"];

impl GhostBottleneckSpec {
    /// With the activation of `layer`'s yaml.
    pub(super) fn new(layer: &YamlLayer, input: usize, out: usize, [kernel, stride]: [usize; 2]) -> Self {
        let half = out / 2;
        let silent = |spec: ConvSpec| ConvSpec { activation: Activation::Identity, ..spec };
        let depthwise = |channels: usize| {
            let spec = layer.conv(channels, channels, kernel);
            silent(ConvSpec { stride: [stride; 2], groups: channels, ..spec })
        };
        let strided = stride == 2;
        Self {
            first: GhostConvSpec::new(layer, [input, half], [1, 1], layer.activation()),
            // The first one makes an even number of channels.
            between: strided.then(|| depthwise(half / 2 * 2)),
            second: GhostConvSpec::new(layer, [half / 2 * 2, out], [1, 1], Activation::Identity),
            shortcut: strided.then(|| [depthwise(input), silent(layer.conv(input, out, 1))]),
        }
    }

    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        let (conv, shortcut) = (layer.child("conv")?, layer.child("shortcut")?);
        let between = conv.child("1")?;
        let parts = shortcut.children();
        Ok(Self {
            first: GhostConvSpec::from_pickle(&conv.child("0")?)?,
            between: if between.children().is_empty() { None } else { Some(between.conv()?) },
            second: GhostConvSpec::from_pickle(&conv.child("2")?)?,
            shortcut: match parts.as_slice() {
                [] => None,
                [depthwise, pointwise] => Some([depthwise.conv()?, pointwise.conv()?]),
                _ => return Err(shortcut.error(&format!("has {} parts, not two", parts.len()))),
            },
        })
    }
}

impl Module for GhostBottleneckSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let mut deep = lowering.within("conv.0", |lowering| self.first.lower(lowering, inputs))?;
        if let Some(between) = &self.between {
            deep = lowering.conv("conv.1", between, deep)?;
        }
        deep = lowering.within("conv.2", |lowering| self.second.lower(lowering, &[deep]))?;
        let mut beside = inputs[0];
        for (path, conv) in SHORTCUT.iter().zip(self.shortcut.iter().flatten()) {
            beside = lowering.conv(path, conv, beside)?;
        }
        lowering.add([deep, beside])
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        self.first.visit_convs(&mut |path, spec| visit(&format!("conv.0.{path}"), spec));
        if let Some(between) = &mut self.between {
            visit("conv.1", between);
        }
        self.second.visit_convs(&mut |path, spec| visit(&format!("conv.2.{path}"), spec));
        for (path, conv) in SHORTCUT.iter().zip(self.shortcut.iter_mut().flatten()) {
            visit(path, conv);
        }
    }

    fn n_wrappers(&self) -> usize {
        // The block, its list, both ghost convolutions, the shortcut, and what stands for a convolution between.
        5 + usize::from(self.between.is_none())
    }
}
