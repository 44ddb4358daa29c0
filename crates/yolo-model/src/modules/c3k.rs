//! `C3k`: a C3 whose bottlenecks have two convolutions of the same kernel.

use serde::{Deserialize, Serialize};

use super::{Block, BottleneckSpec, C3Spec, CrossStageSpec, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3k",
    key: "C3k",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer: &PickledLayer| Ok(Block::new(C3kSpec(C3Spec::from_pickle(layer)?))),
    stored: Stored::fields::<C3kSpec>(),
};

/// The C3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct C3kSpec(pub C3Spec);

/// `[out, shortcut, groups, expansion, kernel]`, repeated.
fn from_yaml(layer: &YamlLayer) -> Result<C3kSpec> {
    let out = layer.width(layer.int(0)?);
    let (shortcut, kernel) = (layer.bool_or(1, true)?, layer.int_or(4, 3)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    Ok(C3kSpec::new(layer, [layer.input(), hidden, out], shortcut, kernel, layer.repeats()))
}

impl C3kSpec {
    /// With the activation of `layer`'s yaml; `shortcut` is that of the bottlenecks.
    pub(super) fn new(
        layer: &YamlLayer,
        [input, hidden, out]: [usize; 3],
        shortcut: bool,
        kernel: usize,
        repeats: usize,
    ) -> Self {
        let conv = layer.conv(hidden, hidden, kernel);
        let bottleneck = BottleneckSpec { cv1: conv.clone(), cv2: conv, add: shortcut };
        Self(CrossStageSpec {
            cv1: layer.conv(input, hidden, 1),
            cv2: layer.conv(input, hidden, 1),
            cv3: layer.conv(2 * hidden, out, 1),
            m: vec![bottleneck; repeats],
        })
    }
}

impl Module for C3kSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        self.0.lower(lowering, inputs)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        self.0.visit_convs(visit);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        Some(TorchModule { class: "ultralytics.nn.modules.block.C3k".to_owned(), ..self.0.to_torch()? })
    }

    fn n_wrappers(&self) -> usize {
        self.0.n_wrappers()
    }

    fn n_repeats(&self) -> usize {
        self.0.n_repeats()
    }

    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        self.0.fit_repeats(has);
    }
}
