//! `nn.MaxPool2d`.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, PoolSpec, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "MaxPool2d",
    key: "MaxPool",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| Ok(Block::new(MaxPoolSpec(of_pickle(layer)?))),
    stored: Stored::fields::<MaxPoolSpec>(),
};

/// The pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MaxPoolSpec(pub PoolSpec);

/// `[window, stride, padding]`; the stride is the window if it is absent.
fn from_yaml(layer: &YamlLayer) -> Result<MaxPoolSpec> {
    let window = layer.int(0)?;
    let (stride, padding) = (layer.int_or(1, window)?, layer.int_or(2, 0)?);
    Ok(MaxPoolSpec(PoolSpec { kernel: [window; 2], stride: [stride; 2], padding: [padding; 2], ceil: false }))
}

/// The numbers of a pickled pool.
pub(super) fn of_pickle(layer: &PickledLayer) -> Result<PoolSpec> {
    if layer.attribute("dilation").is_some() && layer.pair("dilation")? != [1, 1] {
        return Err(layer.error("is a pool with dilation, which is not known here"));
    }
    Ok(PoolSpec {
        kernel: layer.pair("kernel_size")?,
        stride: layer.pair("stride")?,
        padding: layer.pair("padding")?,
        ceil: layer.flag("ceil_mode"),
    })
}

impl Module for MaxPoolSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        lowering.pool(self.0, inputs[0])
    }

    fn visit_convs(&mut self, _visit: &mut dyn FnMut(&str, &mut ConvSpec)) {}

    fn n_wrappers(&self) -> usize {
        1
    }
}
