//! `BottleneckCSP`: the cross-stage-partial block of releases 1.0 to 3.1.

use serde::{Deserialize, Serialize};

use super::{Block, BottleneckSpec, CrossConvSpec, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{Activation, ConvForm, ConvSpec, NormSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "BottleneckCSP",
    key: "BottleneckCsp",
    takes_repeats: true,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| BottleneckCspSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<BottleneckCspSpec>(),
};

/// `cv4(act(bn(concat[cv3(m(cv1(x))), cv2(x)])))`: the bottleneck branch comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BottleneckCspSpec {
    /// Entry of the bottleneck branch.
    pub cv1: ConvSpec,
    /// The branch beside it: a convolution and nothing else.
    pub cv2: ConvSpec,
    /// End of the bottleneck branch: a convolution and nothing else.
    pub cv3: ConvSpec,
    /// Joins both branches.
    pub cv4: ConvSpec,
    /// What follows both branches.
    pub bn: NormSpec,
    /// The bottlenecks, in order.
    pub m: Vec<Inner>,
}

/// A block of the bottleneck branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Inner {
    /// Usually.
    Bottleneck(BottleneckSpec),
    /// In the block that releases 2.0 to 3.1 called C3.
    CrossConv(CrossConvSpec),
}

/// `[out, shortcut, groups, expansion]`, repeated.
fn from_yaml(layer: &YamlLayer) -> Result<BottleneckCspSpec> {
    let (input, out) = (layer.input(), layer.width(layer.int(0)?));
    let (shortcut, groups) = (layer.bool_or(1, true)?, layer.int_or(2, 1)?);
    let hidden = layer.hidden(out, 3, 0.5)?;
    let plain = |input: usize| ConvSpec {
        activation: Activation::Identity,
        form: ConvForm::Plain,
        ..ConvSpec::new(input, hidden, 1, 1)
    };
    let bottleneck = Inner::Bottleneck(BottleneckSpec::new(layer, [hidden; 3], shortcut, groups));
    Ok(BottleneckCspSpec {
        cv1: layer.conv(input, hidden, 1),
        cv2: plain(input),
        cv3: plain(hidden),
        cv4: layer.conv(2 * hidden, out, 1),
        bn: NormSpec { channels: 2 * hidden, activation: Activation::Silu },
        m: vec![bottleneck; layer.repeats()],
    })
}

impl BottleneckCspSpec {
    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        Ok(Self {
            cv1: layer.child("cv1")?.conv()?,
            cv2: layer.child("cv2")?.lone_conv()?,
            cv3: layer.child("cv3")?.lone_conv()?,
            cv4: layer.child("cv4")?.conv()?,
            bn: layer.norm()?,
            m: layer.child("m")?.children().iter().map(Inner::from_pickle).collect::<Result<_>>()?,
        })
    }
}

impl Inner {
    fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        match layer.class_name() {
            "CrossConv" => CrossConvSpec::from_pickle(layer).map(Self::CrossConv),
            _ => BottleneckSpec::from_pickle(layer).map(Self::Bottleneck),
        }
    }

    fn module(&self) -> &dyn Module {
        match self {
            Self::Bottleneck(bottleneck) => bottleneck,
            Self::CrossConv(cross) => cross,
        }
    }

    fn module_mut(&mut self) -> &mut dyn Module {
        match self {
            Self::Bottleneck(bottleneck) => bottleneck,
            Self::CrossConv(cross) => cross,
        }
    }
}

impl Module for BottleneckCspSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let mut deep = lowering.conv("cv1", &self.cv1, inputs[0])?;
        for (j, inner) in self.m.iter().enumerate() {
            deep = lowering.within(&format!("m.{j}"), |lowering| inner.module().lower(lowering, &[deep]))?;
        }
        let deep = lowering.conv("cv3", &self.cv3, deep)?;
        let beside = lowering.conv("cv2", &self.cv2, inputs[0])?;
        let joined = lowering.concat(&[deep, beside]);
        let joined = lowering.norm("bn", &self.bn, joined)?;
        lowering.conv("cv4", &self.cv4, joined)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        visit("cv1", Part::Conv(&mut self.cv1));
        visit("cv2", Part::Conv(&mut self.cv2));
        visit("cv3", Part::Conv(&mut self.cv3));
        visit("cv4", Part::Conv(&mut self.cv4));
        visit("bn", Part::Norm(&mut self.bn));
        for (j, inner) in self.m.iter_mut().enumerate() {
            inner.module_mut().visit_parts(&mut |path, part| visit(&format!("m.{j}.{path}"), part));
        }
    }

    fn to_torch(&self) -> Option<TorchModule> {
        // The block of that name with other blocks inside is in no release that can be loaded today.
        let bottlenecks = self.m.iter().map(|inner| match inner {
            Inner::Bottleneck(bottleneck) => Some((bottleneck.to_torch()?, bottleneck)),
            Inner::CrossConv(_) => None,
        });
        let (blocks, bottlenecks): (Vec<_>, Vec<_>) =
            bottlenecks.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let shortcut = !bottlenecks.is_empty() && bottlenecks.iter().all(|bottleneck| bottleneck.add);
        let groups = bottlenecks.first().map_or(1, |bottleneck| bottleneck.cv2.groups);
        let out = self.cv4.out_channels;
        let expansion = TorchModule::expansion(self.cv1.out_channels, out);
        let module = TorchModule::new("models.common.BottleneckCSP")
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv2d(&self.cv2, false))
            .child("cv3", TorchModule::conv2d(&self.cv3, false))
            .child("cv4", TorchModule::conv_block(&self.cv4))
            .child("bn", TorchModule::batch_norm(self.bn.channels))
            .child("act", self.bn.activation.to_torch())
            .child("m", TorchModule::sequential(blocks));
        Some(module.yaml(self.m.len(), vec![out.into(), shortcut.into(), groups.into(), expansion.into()]))
    }

    fn n_wrappers(&self) -> usize {
        // The block, its list of bottlenecks, and each of these.
        2 + self.m.iter().map(|inner| inner.module().n_wrappers()).sum::<usize>()
    }

    fn n_repeats(&self) -> usize {
        self.m.len()
    }
}
