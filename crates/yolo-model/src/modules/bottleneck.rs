//! `Bottleneck`: two convolutions with an optional shortcut.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Bottleneck",
    key: "Bottleneck",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| BottleneckSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<BottleneckSpec>(),
};

/// 1×1 then 3×3 convolution; the input is added to the result if `add` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BottleneckSpec {
    /// First convolution.
    pub cv1: ConvSpec,
    /// Second convolution.
    pub cv2: ConvSpec,
    /// Whether the block has its shortcut; needs as many channels out as in.
    pub add: bool,
}

/// `[out, shortcut, groups, expansion]`.
fn from_yaml(layer: &YamlLayer) -> Result<BottleneckSpec> {
    let out = layer.width(layer.int(0)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    let (shortcut, groups) = (layer.bool_or(1, true)?, layer.int_or(2, 1)?);
    Ok(BottleneckSpec::new(layer, [layer.input(), hidden, out], shortcut, groups))
}

impl BottleneckSpec {
    /// With the activation of `layer`'s yaml; `groups` are those of the second convolution. `shortcut` takes effect where
    /// the widths allow it.
    pub(super) fn new(
        layer: &YamlLayer,
        [input, hidden, out]: [usize; 3],
        shortcut: bool,
        groups: usize,
    ) -> Self {
        Self {
            cv1: layer.conv(input, hidden, 1),
            cv2: ConvSpec { groups, ..layer.conv(hidden, out, 3) },
            add: shortcut && input == out,
        }
    }

    /// [`BottleneckSpec::new`] with two convolutions of 3×3, as the Ultralytics family has them.
    pub(super) fn wide(layer: &YamlLayer, widths: [usize; 3], shortcut: bool, groups: usize) -> Self {
        let [input, hidden, _] = widths;
        Self { cv1: layer.conv(input, hidden, 3), ..Self::new(layer, widths, shortcut, groups) }
    }

    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        Ok(Self {
            cv1: layer.child("cv1")?.conv()?,
            cv2: layer.child("cv2")?.conv()?,
            add: layer.flag("add"),
        })
    }
}

/// `cv2(cv1(x))`, with `x` added if `add`.
pub(super) fn lower_pair(
    lowering: &mut Lowering,
    [cv1, cv2]: [&ConvSpec; 2],
    add: bool,
    input: ValueId,
) -> Result<ValueId> {
    let hidden = lowering.conv("cv1", cv1, input)?;
    let output = lowering.conv("cv2", cv2, hidden)?;
    if add { lowering.add([output, input]) } else { Ok(output) }
}

impl Module for BottleneckSpec {
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
        let expansion = TorchModule::expansion(self.cv1.out_channels, self.cv2.out_channels);
        let arguments =
            vec![self.cv2.out_channels.into(), self.add.into(), self.cv2.groups.into(), expansion.into()];
        let module = TorchModule::new("models.common.Bottleneck")
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv_block(&self.cv2))
            .attribute("add", self.add);
        Some(module.yaml(1, arguments))
    }

    fn n_wrappers(&self) -> usize {
        1
    }
}
