//! `C3`: cross-stage-partial block with three convolutions.

use serde::{Deserialize, Serialize};

use super::{Block, BottleneckSpec, Module, ModuleKind, Stored};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "C3",
    key: "C3",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<C3Spec>(),
};

/// `cv3(concat[m(cv1(x)), cv2(x)])`: the bottleneck branch comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C3Spec {
    /// Entry of the bottleneck branch.
    pub cv1: ConvSpec,
    /// The branch beside it.
    pub cv2: ConvSpec,
    /// Joins both branches.
    pub cv3: ConvSpec,
    /// The bottlenecks, in order.
    pub m: Vec<BottleneckSpec>,
}

/// `[out, shortcut, groups, expansion]`, repeated.
fn from_yaml(layer: &YamlLayer) -> Result<C3Spec> {
    let (input, out) = (layer.input(), layer.width(layer.int(0)?));
    let shortcut = layer.bool_or(1, true)?;
    let hidden = (out as f64 * layer.float_or(3, 0.5)?) as usize;
    Ok(C3Spec {
        cv1: layer.conv(input, hidden, 1),
        cv2: layer.conv(input, hidden, 1),
        cv3: layer.conv(2 * hidden, out, 1),
        m: vec![BottleneckSpec::new(layer, hidden, hidden, hidden, shortcut); layer.repeats()],
    })
}

fn from_pickle(layer: &PickledLayer) -> Result<C3Spec> {
    Ok(C3Spec {
        cv1: layer.child("cv1")?.conv()?,
        cv2: layer.child("cv2")?.conv()?,
        cv3: layer.child("cv3")?.conv()?,
        m: layer.child("m")?.children().iter().map(BottleneckSpec::from_pickle).collect::<Result<_>>()?,
    })
}

impl Module for C3Spec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let mut deep = lowering.conv("cv1", &self.cv1, inputs[0])?;
        for (j, bottleneck) in self.m.iter().enumerate() {
            deep = lowering.within(&format!("m.{j}"), |lowering| bottleneck.lower(lowering, &[deep]))?;
        }
        let beside = lowering.conv("cv2", &self.cv2, inputs[0])?;
        let joined = lowering.concat(&[deep, beside]);
        lowering.conv("cv3", &self.cv3, joined)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("cv1", &mut self.cv1);
        visit("cv2", &mut self.cv2);
        visit("cv3", &mut self.cv3);
        for (j, bottleneck) in self.m.iter_mut().enumerate() {
            bottleneck.visit_convs(&mut |path, spec| visit(&format!("m.{j}.{path}"), spec));
        }
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let (hidden, out) = (self.cv1.out_channels, self.cv3.out_channels);
        let shortcut = !self.m.is_empty() && self.m.iter().all(|bottleneck| bottleneck.add);
        let groups = self.m.first().map_or(1, |bottleneck| bottleneck.cv2.groups);
        let expansion = TorchModule::expansion(hidden, out);
        let bottlenecks = self.m.iter().map(Module::to_torch).collect::<Option<Vec<_>>>()?;
        let module = TorchModule::new("models.common.C3")
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv_block(&self.cv2))
            .child("cv3", TorchModule::conv_block(&self.cv3))
            .child("m", TorchModule::sequential(bottlenecks));
        Some(module.yaml(self.m.len(), vec![out.into(), shortcut.into(), groups.into(), expansion.into()]))
    }

    fn n_wrappers(&self) -> usize {
        // The block, its list of bottlenecks, and each of these.
        2 + self.m.iter().map(Module::n_wrappers).sum::<usize>()
    }

    fn n_repeats(&self) -> usize {
        self.m.len()
    }

    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        let Some(pattern) = self.m.first().cloned() else { return };
        let n_repeats = (0..).take_while(|j| has(&format!("m.{j}.cv1.conv.weight"))).count();
        self.m = vec![pattern; n_repeats];
    }
}
