//! `Shuffle_Block` of YOLOv5-Lite: half of the channels go through a depthwise convolution, then both halves are mixed.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{Activation, ConvForm, ConvSpec, NormSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Shuffle_Block",
    key: "ShuffleBlock",
    takes_repeats: false,
    from_yaml: |layer| from_yaml(layer).map(Block::new),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<ShuffleBlockSpec>(),
};

/// `shuffle(concat[first half, branch2(second half)])`, or with a stride `shuffle(concat[branch1(x), branch2(x)])`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShuffleBlockSpec {
    /// Beside the other branch, where the block has a stride: depthwise, pointwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branch1: Vec<Stage>,
    /// Pointwise, depthwise, pointwise.
    pub branch2: Vec<Stage>,
}

/// A convolution with its batch normalisation, as two entries of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Place of the convolution in the list; the batch normalisation has the next.
    pub at: usize,
    /// The convolution.
    pub conv: ConvSpec,
    /// The batch normalisation, and what follows.
    pub bn: NormSpec,
}

impl Stage {
    fn new(at: usize, conv: ConvSpec, activation: Activation) -> Self {
        let bn = NormSpec { channels: conv.out_channels, activation };
        let conv = ConvSpec { activation: Activation::Identity, form: ConvForm::Plain, ..conv };
        Self { at, conv, bn }
    }

    pub(super) fn from_pickle(list: &PickledLayer, at: usize) -> Result<Self> {
        let conv = list.child(&at.to_string())?.lone_conv()?;
        let channels = list.child(&(at + 1).to_string())?.norm_channels()?;
        // The next entry is an activation or another convolution.
        let next = list.child(&(at + 2).to_string()).and_then(|next| next.own_activation());
        let activation = next.unwrap_or(Activation::Identity);
        Ok(Self { at, conv, bn: NormSpec { channels, activation } })
    }

    pub(super) fn lower(&self, lowering: &mut Lowering, input: ValueId) -> Result<ValueId> {
        let convolved = lowering.conv(&self.at.to_string(), &self.conv, input)?;
        lowering.norm(&(self.at + 1).to_string(), &self.bn, convolved)
    }

    pub(super) fn visit(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        visit(&self.at.to_string(), Part::Conv(&mut self.conv));
        visit(&(self.at + 1).to_string(), Part::Norm(&mut self.bn));
    }
}

/// `[out, stride]`.
fn from_yaml(layer: &YamlLayer) -> Result<ShuffleBlockSpec> {
    let (input, out, stride) = (layer.input(), layer.width(layer.int(0)?), layer.int_or(1, 1)?);
    let half = out / 2;
    let entry = if stride > 1 { input } else { half };
    let depthwise =
        |channels: usize| ConvSpec { groups: channels, ..ConvSpec::new(channels, channels, 3, stride) };
    let pointwise = |channels: usize| ConvSpec::new(channels, half, 1, 1);
    let (silent, relu) = (Activation::Identity, Activation::Relu);
    let branch1 = vec![Stage::new(0, depthwise(input), silent), Stage::new(2, pointwise(input), relu)];
    Ok(ShuffleBlockSpec {
        branch1: if stride > 1 { branch1 } else { Vec::new() },
        branch2: vec![
            Stage::new(0, pointwise(entry), relu),
            Stage::new(3, depthwise(half), silent),
            Stage::new(5, pointwise(half), relu),
        ],
    })
}

fn from_pickle(layer: &PickledLayer) -> Result<ShuffleBlockSpec> {
    let branch = |name: &str, places: &[usize]| -> Result<Vec<Stage>> {
        let list = layer.child(name)?;
        places.iter().map(|&at| Stage::from_pickle(&list, at)).collect()
    };
    let is_strided = layer.child("branch1").is_ok_and(|branch| !branch.children().is_empty());
    Ok(ShuffleBlockSpec {
        branch1: if is_strided { branch("branch1", &[0, 2])? } else { Vec::new() },
        branch2: branch("branch2", &[0, 3, 5])?,
    })
}

impl ShuffleBlockSpec {
    fn branch(lowering: &mut Lowering, name: &str, stages: &[Stage], input: ValueId) -> Result<ValueId> {
        lowering.within(name, |lowering| {
            stages.iter().try_fold(input, |value, stage| stage.lower(lowering, value))
        })
    }
}

impl Module for ShuffleBlockSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let channels = lowering.channels(inputs[0]);
        let (beside, entry) = match self.branch1.is_empty() {
            true => {
                let beside = lowering.pick((0..channels / 2).collect(), inputs[0])?;
                (beside, lowering.pick((channels / 2..channels).collect(), inputs[0])?)
            }
            false => (Self::branch(lowering, "branch1", &self.branch1, inputs[0])?, inputs[0]),
        };
        let deep = Self::branch(lowering, "branch2", &self.branch2, entry)?;
        let joined = lowering.concat(&[beside, deep]);
        // The halves in turn.
        let half = lowering.channels(joined) / 2;
        lowering.pick((0..2 * half).map(|place| place % 2 * half + place / 2).collect(), joined)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        for (name, stages) in [("branch1", &mut self.branch1), ("branch2", &mut self.branch2)] {
            for stage in stages {
                stage.visit(&mut |path, part| visit(&format!("{name}.{path}"), part));
            }
        }
    }

    fn n_wrappers(&self) -> usize {
        // The block and its lists.
        2 + usize::from(!self.branch1.is_empty())
    }
}
