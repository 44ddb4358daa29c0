//! Heads: what the logits of a network mean. All that depends on the kind of head is decided here.
//!
//! A head's codec is [`Head::decode`] (logits to boxes and scores), [`Head::level`] (the meaning of every channel, for
//! kernels and losses that work on logits), the priors of its biases, the names of its loss terms, and its part of an
//! ONNX graph.

mod anchor_based;
mod anchor_free;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::modules::{AnchorFreeSpec, Branches, DetectSpec};
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
    /// That of YOLOv8, YOLO11, YOLO26 and YOLOv5u: distances from the centres of cells, and scores of classes.
    AnchorFree(&'a AnchorFreeSpec),
}

/// [`Head`], to be changed.
#[derive(Debug)]
pub enum HeadMut<'a> {
    /// See [`Head::AnchorBased`].
    AnchorBased(&'a mut DetectSpec),
    /// See [`Head::AnchorFree`].
    AnchorFree(&'a mut AnchorFreeSpec),
}

/// A line of detectors that share a head, conventions of validation, and a file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// YOLOv5 and YOLOv3 of its repository.
    Yolov5,
    /// YOLOv8, YOLO11, YOLO26 and YOLOv5u, of the package `ultralytics`.
    Ultralytics,
}

impl Family {
    /// The package whose files it has, for messages.
    pub fn package(self) -> &'static str {
        match self {
            Self::Yolov5 => "YOLOv5",
            Self::Ultralytics => "the package ultralytics",
        }
    }
}

/// How the predictions of a head become detections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Boxes that overlap better ones go.
    Suppression,
    /// The best ones stay: every object has one box.
    Best,
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
    /// Logit of one bin of the distance from the centre of the cell to a side of the box: the distance in cells is the
    /// expectation of `bin` over the softmax of the side's bins, which come in order.
    Bin {
        /// Which side.
        side: Side,
        /// The distance that the bin stands for, in cells.
        bin: usize,
    },
    /// Distance in cells from the centre of the cell to a side of the box, as it is.
    Distance(Side),
}

/// A side of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Smallest x.
    Left,
    /// Smallest y.
    Top,
    /// Largest x.
    Right,
    /// Largest y.
    Bottom,
}

impl Side {
    /// In the order of channels.
    pub const ALL: [Self; 4] = [Self::Left, Self::Top, Self::Right, Self::Bottom];
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
            Self::AnchorFree(_) => Family::Ultralytics,
        }
    }

    /// How its predictions become detections.
    pub fn selection(self) -> Selection {
        match self {
            Self::AnchorFree(detect) if detect.answering() == Branches::OneToOne => Selection::Best,
            _ => Selection::Suppression,
        }
    }

    /// The anchors of each level, width and height in pixels; none for a head without.
    pub fn anchors(self) -> Option<&'a [Vec<[f32; 2]>]> {
        match self {
            Self::AnchorBased(detect) => Some(&detect.anchors),
            Self::AnchorFree(_) => None,
        }
    }

    /// Number of classes.
    pub fn num_classes(self) -> usize {
        match self {
            Self::AnchorBased(detect) => detect.num_classes,
            Self::AnchorFree(detect) => detect.num_classes,
        }
    }

    /// Input pixels per cell of each level, finest level first.
    pub fn strides(self) -> &'a [usize] {
        match self {
            Self::AnchorBased(detect) => &detect.strides,
            Self::AnchorFree(detect) => &detect.strides,
        }
    }

    /// Channels of the logits, the same for all levels.
    pub fn n_channels(self) -> usize {
        match self {
            Self::AnchorBased(detect) => detect.n_anchors() * detect.n_outputs(),
            Self::AnchorFree(detect) => detect.n_channels(),
        }
    }

    /// Rows of predictions per cell, the same for all levels.
    pub fn rows_per_cell(self) -> usize {
        match self {
            Self::AnchorBased(detect) => detect.n_anchors(),
            Self::AnchorFree(_) => 1,
        }
    }

    /// The meaning of the channels of level `level`.
    pub fn level(self, level: usize) -> LevelChannels {
        match self {
            Self::AnchorBased(detect) => detect.level_channels(level),
            Self::AnchorFree(detect) => detect.level_channels(level),
        }
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
        match self {
            Self::AnchorBased(detect) => detect.decode(maps, score_threshold, rows),
            Self::AnchorFree(detect) => detect.decode(maps, score_threshold, rows),
        }
    }

    /// The terms of the loss that trains the head, in the order in which they are reported.
    pub fn loss_terms(self) -> &'static [LossTerm] {
        match self {
            Self::AnchorBased(_) => &[LossTerm::Box, LossTerm::Objectness, LossTerm::Class],
            Self::AnchorFree(_) => &[LossTerm::Box, LossTerm::Class, LossTerm::Distribution],
        }
    }

    /// Starts the biases of the convolution that makes part `part` of output `output` at their priors.
    pub(crate) fn add_priors(self, [output, part]: [usize; 2], bias: &mut [f32]) {
        match self {
            Self::AnchorBased(detect) => detect.add_priors(output, bias),
            // Boxes and classes are made by convolutions of their own.
            Self::AnchorFree(detect) => bias.fill(detect.priors(output)[part.min(1)]),
        }
    }

    /// Tensors that follow from the head and are not learned, by their name in its module.
    pub(crate) fn buffers(self) -> Vec<(&'static str, HostTensor)> {
        match self {
            Self::AnchorBased(detect) => detect.buffer_tensors(),
            Self::AnchorFree(detect) => detect.buffer_tensors(),
        }
    }

    /// Appends the head to an ONNX graph and returns the graph's outputs.
    pub(crate) fn export(
        self,
        graph: &mut Graph<'_>,
        levels: &[Level<'_>],
        outputs: Outputs,
    ) -> Vec<OnnxValue> {
        match self {
            Self::AnchorBased(detect) => anchor_based::onnx::lower(detect, graph, levels, outputs),
            Self::AnchorFree(detect) => anchor_free::onnx::lower(detect, graph, levels, outputs),
        }
    }
}

impl HeadMut<'_> {
    /// Sets the number of classes.
    pub(crate) fn set_num_classes(&mut self, num_classes: usize) {
        match self {
            Self::AnchorBased(detect) => detect.num_classes = num_classes,
            Self::AnchorFree(detect) => detect.set_num_classes(num_classes),
        }
    }

    /// Sets the strides, finest level first.
    pub(crate) fn set_strides(&mut self, strides: Vec<usize>) {
        match self {
            Self::AnchorBased(detect) => detect.strides = strides,
            Self::AnchorFree(detect) => detect.strides = strides,
        }
    }
}

impl LevelChannels {
    /// Channels of the logits.
    pub fn n_channels(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Numbers of a decoded row: centre x, centre y, width, height, and a score per class.
    pub fn row_width(&self) -> usize {
        let is_class = |channel: &&Channel| **channel == Channel::Class;
        self.groups.first().map_or(0, |group| 4 + group.iter().filter(is_class).count())
    }
}

/// The logistic function `σ(x) = 1 / (1 + e⁻ˣ)`.
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
