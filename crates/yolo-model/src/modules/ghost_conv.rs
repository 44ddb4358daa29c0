//! `GhostConv`: half of the channels by a convolution, the other half from those, cheaply.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{Activation, ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "GhostConv",
    key: "GhostConv",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| GhostConvSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<GhostConvSpec>(),
};

/// `concat[y, cv2(y)]` of `y = cv1(x)`, where `cv2` is depthwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GhostConvSpec {
    /// Makes the first half.
    pub cv1: ConvSpec,
    /// Makes the other half of it.
    pub cv2: ConvSpec,
}

/// `[out, kernel, stride, groups, activation]`.
fn from_yaml(layer: &YamlLayer) -> Result<GhostConvSpec> {
    let out = layer.width(layer.int(0)?);
    let shape = [layer.int_or(1, 1)?, layer.int_or(2, 1)?];
    let activation = layer.activation_at(4)?;
    let mut spec = GhostConvSpec::new(layer, [layer.input(), out], shape, activation);
    spec.cv1.groups = layer.int_or(3, 1)?;
    Ok(spec)
}

impl GhostConvSpec {
    /// `out` channels, less one if that is odd.
    pub(super) fn new(
        layer: &YamlLayer,
        [input, out]: [usize; 2],
        [kernel, stride]: [usize; 2],
        activation: Activation,
    ) -> Self {
        let half = out / 2;
        let block = |spec: ConvSpec| ConvSpec { activation, ..spec };
        Self {
            cv1: block(ConvSpec { stride: [stride; 2], ..layer.conv(input, half, kernel) }),
            cv2: block(ConvSpec { groups: half, ..layer.conv(half, half, 5) }),
        }
    }

    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        Ok(Self { cv1: layer.child("cv1")?.conv()?, cv2: layer.child("cv2")?.conv()? })
    }
}

impl Module for GhostConvSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let half = lowering.conv("cv1", &self.cv1, inputs[0])?;
        let ghost = lowering.conv("cv2", &self.cv2, half)?;
        Ok(lowering.concat(&[half, ghost]))
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("cv1", &mut self.cv1);
        visit("cv2", &mut self.cv2);
    }

    fn n_wrappers(&self) -> usize {
        1
    }
}
