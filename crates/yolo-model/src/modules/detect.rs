//! `Detect`: the head, one 1×1 convolution per level.

use serde::{Deserialize, Serialize};

use super::{AnchorFreeSpec, Block, Module, ModuleKind, Stored};
use crate::architecture::{Activation, ConvForm, ConvSpec, MAX_CHANNELS};
use crate::error::Result;
use crate::heads::{Head, HeadMut};
use crate::program::{Lowering, ValueId};
use crate::weights::{HostTensor, TorchAttribute, TorchModule};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Detect",
    key: "Detect",
    takes_repeats: false,
    // `[classes, anchors]`, which stand at the top of the yaml as well; without the anchors it is the other head.
    from_yaml: |layer| {
        if !layer.names_anchors(1) {
            return AnchorFreeSpec::from_yaml(layer).map(Block::new);
        }
        Ok(Block::new(DetectSpec {
            num_classes: layer.num_classes(),
            in_channels: layer.inputs().to_vec(),
            anchors: layer.anchors(),
            strides: vec![1; layer.inputs().len()],
        }))
    },
    // Anchors and strides are tensors of the network.
    from_pickle: |layer| {
        if layer.child("m").is_err() {
            return AnchorFreeSpec::from_pickle(layer).map(Block::new);
        }
        Ok(Block::new(DetectSpec {
            num_classes: layer.whole("nc")?,
            in_channels: layer.inputs().to_vec(),
            anchors: vec![vec![[0.0; 2]]; layer.inputs().len()],
            strides: vec![1; layer.inputs().len()],
        }))
    },
    stored: Stored::fields::<DetectSpec>(),
};

/// The head: per level a 1×1 convolution with bias to `anchors · (5 + num_classes)` channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectSpec {
    /// Number of classes.
    pub num_classes: usize,
    /// Channels of each level's input, finest level first.
    pub in_channels: Vec<usize>,
    /// Width and height of the anchors of each level, in input pixels.
    pub anchors: Vec<Vec<[f32; 2]>>,
    /// Input pixels per cell of each level.
    pub strides: Vec<usize>,
}

impl DetectSpec {
    /// Anchors per level.
    pub fn n_anchors(&self) -> usize {
        self.anchors.first().map_or(0, Vec::len)
    }

    /// Values per anchor: box (4), objectness, one per class.
    pub fn n_outputs(&self) -> usize {
        Self::OBJECTNESS + 1 + self.num_classes
    }

    /// The convolution of one level.
    pub fn conv(&self, level: usize) -> ConvSpec {
        let out_channels = self.n_anchors() * self.n_outputs();
        ConvSpec {
            activation: Activation::Identity,
            form: ConvForm::Bare,
            ..ConvSpec::new(self.in_channels[level], out_channels, 1, 1)
        }
    }

    /// Takes the number of classes from the rows of a level's weight; the error says what is wrong.
    pub(crate) fn fit_classes(&mut self, rows: usize, n_anchors: usize) -> std::result::Result<(), String> {
        let before_classes = Self::OBJECTNESS + 1;
        if n_anchors == 0 || !rows.is_multiple_of(n_anchors) || rows / n_anchors <= before_classes {
            return Err(format!("has {rows} rows, which is not {n_anchors} anchors × (5 + classes)"));
        }
        self.num_classes = rows / n_anchors - before_classes;
        Ok(())
    }

    fn check(&self, inputs: &[usize]) -> std::result::Result<(), String> {
        let levels = inputs.len();
        if self.in_channels != inputs {
            return Err(format!("expects {:?} input channels, not {inputs:?}", self.in_channels));
        }
        if self.anchors.len() != levels || self.strides.len() != levels {
            return Err(format!(
                "has {levels} inputs, {} anchor lists and {} strides; the three must agree",
                self.anchors.len(),
                self.strides.len()
            ));
        }
        let n_anchors = self.n_anchors();
        if n_anchors == 0 || n_anchors > 64 || self.anchors.iter().any(|level| level.len() != n_anchors) {
            return Err("every level needs the same number of anchors, 1 to 64".to_owned());
        }
        if self.anchors.iter().flatten().flatten().any(|side| !side.is_finite() || *side < 0.0) {
            return Err("an anchor is not a finite size".to_owned());
        }
        if self.strides.contains(&0) || self.num_classes == 0 || self.num_classes > MAX_CHANNELS {
            return Err("strides and the number of classes must be at least 1".to_owned());
        }
        Ok(())
    }
}

impl Module for DetectSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let widths: Vec<usize> = inputs.iter().map(|&input| lowering.channels(input)).collect();
        self.check(&widths).map_err(|reason| lowering.error("", &reason))?;
        let mut last = inputs[0];
        for (level, &input) in inputs.iter().enumerate() {
            last = lowering.output_conv(&format!("m.{level}"), &self.conv(level), input)?;
        }
        Ok(last)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        for level in 0..self.in_channels.len() {
            let mut spec = self.conv(level);
            visit(&format!("m.{level}"), &mut spec);
            self.in_channels[level] = spec.in_channels;
        }
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let levels = self.in_channels.len();
        let strides = self.strides.iter().map(|stride| *stride as f32).collect();
        // Filled in at the first image.
        let cached = || TorchAttribute::Tensors(vec![HostTensor::from_f32s([0], Vec::new()); levels]);
        let convs = (0..levels).map(|level| TorchModule::conv2d(&self.conv(level), true));
        let module = TorchModule::new("models.yolo.Detect")
            .buffer("anchors")
            .child("m", TorchModule::list(convs))
            .attribute("nc", self.num_classes)
            .attribute("no", self.n_outputs())
            .attribute("nl", levels)
            .attribute("na", self.n_anchors())
            .attribute("grid", cached())
            .attribute("anchor_grid", cached())
            .attribute("inplace", true)
            .attribute("stride", TorchAttribute::Tensor(HostTensor::from_f32s([levels], strides)));
        Some(module.yaml(1, vec!["nc".into(), "anchors".into()]))
    }

    fn n_wrappers(&self) -> usize {
        // The head and its list of convolutions.
        2
    }

    fn takes_several(&self) -> bool {
        true
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<usize>)> {
        vec![("anchors", vec![self.anchors.len(), self.n_anchors(), 2])]
    }

    fn head(&self) -> Option<Head<'_>> {
        Some(Head::AnchorBased(self))
    }

    fn head_mut(&mut self) -> Option<HeadMut<'_>> {
        Some(HeadMut::AnchorBased(self))
    }
}
