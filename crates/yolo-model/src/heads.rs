//! Heads: what the logits of a network mean. All that depends on the kind of head is decided here.
//!
//! A head's codec is [`Head::decode`] (logits to boxes and scores), [`Head::level`] (the meaning of every channel, for
//! kernels and losses that work on logits), the priors of its biases, the names of its loss terms, and its part of an
//! ONNX graph.

mod anchor_based;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::modules::DetectSpec;
use crate::onnx::graph::Graph;
use crate::onnx::head::Level;
use crate::onnx::{OnnxValue, Outputs};
use crate::predictions::Predictions;
use crate::weights::HostTensor;

/// The head of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head<'a> {
    /// YOLOv5's: boxes relative to anchors, and an objectness that scales the scores of the classes.
    AnchorBased(&'a DetectSpec),
}

/// A line of detectors that share a head, conventions of validation, and a file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// YOLOv5 and YOLOv3 of its repository.
    Yolov5,
    /// YOLOv8, YOLO11, YOLO26 and YOLOv5u, of the package `ultralytics`.
    Ultralytics,
}

/// The logits of one level for one image: `[channels, height, width]`, contiguous.
#[derive(Clone, Copy, Debug)]
pub struct RawMap<'a> {
    /// The logits.
    pub logits: &'a [f32],
    /// Cells down.
    pub height: usize,
    /// Cells across.
    pub width: usize,
}

/// The meaning of the channels of one level: every cell has one row of predictions per group of channels.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelChannels {
    /// Input pixels per cell.
    pub stride: f32,
    /// The groups in the order of their channels. All have the same number of channels.
    pub groups: Vec<Vec<Channel>>,
}

/// The meaning of one channel, with σ the logistic function of its logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Channel {
    /// Centre of the box in pixels: `(2σ − ½ + column) · stride`.
    CentreX,
    /// Centre of the box in pixels: `(2σ − ½ + row) · stride`.
    CentreY,
    /// Width of the box in pixels: `(2σ)²` times this.
    Width(f32),
    /// Height of the box in pixels: `(2σ)²` times this.
    Height(f32),
    /// σ, by which all scores of the row are multiplied.
    Objectness,
    /// σ, the score of the next class before the objectness.
    Class,
}

/// A term of a loss, by the name under which it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossTerm {
    /// How far boxes are from their objects.
    Box,
    /// Whether there is an object.
    Objectness,
    /// Which class an object has.
    Class,
    /// How the probability of distances is spread, or how far distances are off.
    Distribution,
}

impl LossTerm {
    /// The reference's short name: `box`, `obj`, `cls`, `dfl`.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Objectness => "obj",
            Self::Class => "cls",
            Self::Distribution => "dfl",
        }
    }
}

impl<'a> Head<'a> {
    /// The family whose head it is.
    pub fn family(self) -> Family {
        match self {
            Self::AnchorBased(_) => Family::Yolov5,
        }
    }

    /// Number of classes.
    pub fn num_classes(self) -> usize {
        let Self::AnchorBased(detect) = self;
        detect.num_classes
    }

    /// Input pixels per cell of each level, finest level first.
    pub fn strides(self) -> &'a [usize] {
        let Self::AnchorBased(detect) = self;
        &detect.strides
    }

    /// Channels of the logits, the same for all levels.
    pub fn n_channels(self) -> usize {
        let Self::AnchorBased(detect) = self;
        detect.n_anchors() * detect.n_outputs()
    }

    /// Rows of predictions per cell, the same for all levels.
    pub fn rows_per_cell(self) -> usize {
        let Self::AnchorBased(detect) = self;
        detect.n_anchors()
    }

    /// The meaning of the channels of level `level`.
    pub fn level(self, level: usize) -> LevelChannels {
        let Self::AnchorBased(detect) = self;
        detect.level_channels(level)
    }

    /// Decodes one image. Rows come level by level, and inside a level group by group, then down, then across. Rows
    /// without a score above `score_threshold` may be left out; with a negative threshold all are kept.
    ///
    /// # Panics
    /// If a map does not have the channels of the head.
    pub fn decode(self, maps: &[RawMap<'_>], score_threshold: f32) -> Predictions {
        self.decode_rows(maps, score_threshold, 0..usize::MAX)
    }

    /// [`Head::decode`] without the rows that lie outside `rows`, counted over all rows of the image, also those without
    /// a score above the threshold.
    ///
    /// # Panics
    /// As [`Head::decode`].
    pub fn decode_rows(self, maps: &[RawMap<'_>], score_threshold: f32, rows: Range<usize>) -> Predictions {
        let Self::AnchorBased(detect) = self;
        detect.decode(maps, score_threshold, rows)
    }

    /// The terms of the loss that trains the head, in the order in which they are reported.
    pub fn loss_terms(self) -> &'static [LossTerm] {
        let Self::AnchorBased(_) = self;
        &[LossTerm::Box, LossTerm::Objectness, LossTerm::Class]
    }

    /// Adds the priors of level `level` to the biases of its convolution.
    pub(crate) fn add_priors(self, level: usize, bias: &mut [f32]) {
        let Self::AnchorBased(detect) = self;
        detect.add_priors(level, bias);
    }

    /// Tensors that follow from the head and are not learned, by their name in its module.
    pub(crate) fn buffers(self) -> Vec<(&'static str, HostTensor)> {
        let Self::AnchorBased(detect) = self;
        detect.buffer_tensors()
    }

    /// Appends the head to an ONNX graph and returns the graph's outputs.
    pub(crate) fn export(
        self,
        graph: &mut Graph<'_>,
        levels: &[Level<'_>],
        outputs: Outputs,
    ) -> Vec<OnnxValue> {
        let Self::AnchorBased(detect) = self;
        anchor_based::onnx::lower(detect, graph, levels, outputs)
    }
}

impl LevelChannels {
    /// Channels of the logits.
    pub fn n_channels(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Numbers of a decoded row: centre x, centre y, width, height, and a score per class.
    pub fn row_width(&self) -> usize {
        let is_decoded = |channel: &&Channel| **channel != Channel::Objectness;
        self.groups.first().map_or(0, |group| group.iter().filter(is_decoded).count())
    }
}
