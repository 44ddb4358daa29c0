//! `nn.ConvTranspose2d` and `DWConvTranspose2d`: enlargement with learned weights.

use serde::{Deserialize, Serialize};

use super::dw_conv::greatest_common_divisor;
use super::{Block, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{ConvSpec, PickledLayer, TransposedSpec, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "ConvTranspose2d",
    key: "ConvTranspose",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer, false).map(Block::new),
    stored: Stored::fields::<ConvTransposeSpec>(),
};

pub(super) static DEPTHWISE: ModuleKind = ModuleKind {
    name: "DWConvTranspose2d",
    key: "DwConvTranspose",
    takes_repeats: false,
    from_yaml: |layer| depthwise_from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer, true).map(Block::new),
    stored: Stored::fields::<ConvTransposeSpec>(),
};

/// The transposed convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvTransposeSpec {
    /// Its numbers.
    pub conv: TransposedSpec,
    /// Whether its class is the one that sets the groups by itself.
    pub depthwise: bool,
}

/// `[out, kernel, stride, padding, output padding, groups]`.
fn from_yaml(layer: &YamlLayer) -> Result<ConvTransposeSpec> {
    let spec = numbers(layer, [layer.int_or(3, 0)?, layer.int_or(4, 0)?], layer.int_or(5, 1)?)?;
    Ok(ConvTransposeSpec { conv: spec, depthwise: false })
}

/// `[out, kernel, stride, padding, output padding]`.
fn depthwise_from_yaml(layer: &YamlLayer) -> Result<ConvTransposeSpec> {
    let groups = greatest_common_divisor(layer.input(), layer.width(layer.int(0)?));
    let spec = numbers(layer, [layer.int_or(3, 0)?, layer.int_or(4, 0)?], groups)?;
    Ok(ConvTransposeSpec { conv: spec, depthwise: true })
}

fn numbers(
    layer: &YamlLayer,
    [padding, output_padding]: [usize; 2],
    groups: usize,
) -> Result<TransposedSpec> {
    Ok(TransposedSpec {
        in_channels: layer.input(),
        out_channels: layer.width(layer.int(0)?),
        kernel: [layer.int_or(1, 1)?; 2],
        stride: [layer.int_or(2, 1)?; 2],
        padding: [padding; 2],
        output_padding: [output_padding; 2],
        dilation: [1, 1],
        groups,
    })
}

fn from_pickle(layer: &PickledLayer, depthwise: bool) -> Result<ConvTransposeSpec> {
    if !layer.has_parameter("bias") {
        return Err(layer.error("has no bias, which is not known here"));
    }
    let read = layer.lone_conv()?;
    let conv = TransposedSpec {
        in_channels: read.in_channels,
        out_channels: read.out_channels,
        kernel: read.kernel,
        stride: read.stride,
        padding: read.padding,
        output_padding: layer.pair("output_padding")?,
        dilation: read.dilation,
        groups: read.groups,
    };
    Ok(ConvTransposeSpec { conv, depthwise })
}

impl Module for ConvTransposeSpec {
    fn kind(&self) -> &'static ModuleKind {
        if self.depthwise { &DEPTHWISE } else { &KIND }
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.transposed("", &self.conv, inputs[0])
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        visit("", Part::Transposed(&mut self.conv));
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let spec = &self.conv;
        let class = if self.depthwise {
            "models.common.DWConvTranspose2d"
        } else {
            "torch.nn.modules.conv.ConvTranspose2d"
        };
        let mut arguments: Vec<PlainValue> =
            vec![spec.out_channels.into(), spec.kernel[0].into(), spec.stride[0].into()];
        arguments.extend([PlainValue::from(spec.padding[0]), spec.output_padding[0].into()]);
        arguments.extend((!self.depthwise).then_some(PlainValue::from(spec.groups)));
        Some(TorchModule::transposed(class, spec).yaml(1, arguments))
    }

    fn n_wrappers(&self) -> usize {
        0
    }
}
