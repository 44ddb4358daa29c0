//! `Conv`: convolution, batch normalisation, activation.

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Conv",
    key: "Conv",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer: &PickledLayer| layer.conv().map(Block::new),
    stored: Stored::fields::<ConvSpec>(),
};

/// `[out, kernel, stride, padding, groups, dilation, activation]`; all but the first may be absent.
fn from_yaml(layer: &YamlLayer) -> Result<ConvSpec> {
    let kernel = layer.int_or(1, 1)?;
    let out = layer.width(layer.int(0)?);
    let mut spec = ConvSpec::new(layer.input(), out, kernel, layer.int_or(2, 1)?);
    spec.activation = layer.activation_at(6)?;
    spec.groups = layer.int_or(4, 1)?;
    spec.dilation = [layer.int_or(5, 1)?; 2];
    let reach = spec.dilation[0] * kernel.saturating_sub(1) + 1;
    spec.padding = [layer.int_or(3, reach / 2)?; 2];
    Ok(spec)
}

impl Module for ConvSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.conv("", self, inputs[0])
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("", self);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let side = |pair: [usize; 2]| -> PlainValue {
            if pair[0] == pair[1] { pair[0].into() } else { pair.to_vec().into() }
        };
        let mut arguments = vec![self.out_channels.into(), side(self.kernel), side(self.stride)];
        // Older releases do not know the last ones, which most convolutions leave at these values.
        let usual = [side(self.kernel.map(|k| k / 2)), 1_usize.into(), 1_usize.into(), true.into()];
        let has_activation = !self.activation.is_identity();
        let rest = [side(self.padding), self.groups.into(), side(self.dilation), has_activation.into()];
        let needed =
            rest.iter().zip(&usual).rposition(|(value, usual)| value != usual).map_or(0, |last| last + 1);
        arguments.extend(rest.into_iter().take(needed));
        Some(TorchModule::conv_block(self).yaml(1, arguments))
    }

    fn n_wrappers(&self) -> usize {
        0
    }
}
