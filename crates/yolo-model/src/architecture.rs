//! The network as data: a list of layers with explicit channel counts.
//!
//! A stock YOLOv5, a user's own yaml and a channel-pruned network are all an [`Architecture`]; they differ in
//! numbers only. Nothing here holds weights: see [`crate::weights`] for those.

mod channels;
mod module_tree;
mod operations;
mod shapes;
mod tensors;
mod validate;
mod variants;
mod yaml;

use serde::{Deserialize, Serialize};

pub use operations::{Operation, OperationKind, Operations};
pub use tensors::{ConvRef, TensorSpec};
pub use variants::{VARIANTS, variant_yaml};
pub use yaml::ModelConfig;

/// Batch normalisation's ε in every YOLOv5 network.
pub const BATCH_NORM_EPSILON: f64 = 1e-3;
/// Batch normalisation's momentum in every YOLOv5 network: `new = 0.97 · old + 0.03 · batch`.
pub const BATCH_NORM_MOMENTUM: f64 = 0.03;

/// A detector: its layers in order of execution, the last of them [`Block::Detect`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Channels of the input image, 3 for RGB.
    pub in_channels: usize,
    /// Whether batch normalisation has been folded into the convolutions, which then have a bias.
    #[serde(default)]
    pub fused: bool,
    /// The layers; a layer's index is the number in its tensors' names (`model.{index}.…`).
    pub layers: Vec<Layer>,
}

/// One entry of the network: a block and where its input comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Inputs: negative numbers count back from this layer (−1 is the one before), others are layer indices.
    pub from: Vec<i64>,
    /// What the layer computes.
    pub block: Block,
}

/// The blocks that YOLOv5 detectors are made of, with every width spelled out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Block {
    /// Convolution, batch normalisation, activation.
    Conv(ConvSpec),
    /// Two convolutions with an optional shortcut.
    Bottleneck(BottleneckSpec),
    /// Cross-stage-partial block with three convolutions.
    C3(C3Spec),
    /// Fast spatial pyramid pooling.
    Sppf(SppfSpec),
    /// Nearest-neighbour enlargement by a whole factor.
    Upsample {
        /// The factor in both directions.
        scale: usize,
    },
    /// Concatenation along the channels, in the order of [`Layer::from`].
    Concat,
    /// The detection head.
    Detect(DetectSpec),
}

/// The activation behind a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `x · σ(x)`, YOLOv5's default.
    #[default]
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `x` above zero, `slope · x` below.
    LeakyRelu {
        /// The slope below zero.
        slope: f32,
    },
    /// None.
    Identity,
}

impl Activation {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A convolution block: `Conv2d` without bias → batch normalisation → activation, or, fused, `Conv2d` with
/// bias → activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSpec {
    /// Channels of the input.
    #[serde(rename = "in")]
    pub in_channels: usize,
    /// Channels of the output.
    #[serde(rename = "out")]
    pub out_channels: usize,
    /// Kernel height and width.
    #[serde(rename = "k")]
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    #[serde(rename = "s", default = "ones", skip_serializing_if = "is_ones")]
    pub stride: [usize; 2],
    /// Zeros added above and below, left and right.
    #[serde(rename = "p", default, skip_serializing_if = "is_zeros")]
    pub padding: [usize; 2],
    /// Spacing of the kernel's elements.
    #[serde(rename = "d", default = "ones", skip_serializing_if = "is_ones")]
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    #[serde(rename = "g", default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// What follows the convolution.
    #[serde(rename = "act", default, skip_serializing_if = "Activation::is_default")]
    pub activation: Activation,
}

fn ones() -> [usize; 2] {
    [1, 1]
}
fn one() -> usize {
    1
}
fn is_ones(pair: &[usize; 2]) -> bool {
    *pair == [1, 1]
}
fn is_zeros(pair: &[usize; 2]) -> bool {
    *pair == [0, 0]
}
fn is_one(n: &usize) -> bool {
    *n == 1
}

impl ConvSpec {
    /// A square convolution with YOLOv5's automatic padding `k / 2`, no groups, no dilation.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
            activation: Activation::default(),
        }
    }

    /// Shape of the weight: `[out_channels, in_channels / groups, height, width]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }

    /// Height and width of the output for an input of `[height, width]`.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            (size[axis] + 2 * self.padding[axis]).saturating_sub(reach) / self.stride[axis] + 1
        })
    }
}

/// 1×1 then 3×3 convolution; the input is added to the result where `add` says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BottleneckSpec {
    /// First convolution.
    pub cv1: ConvSpec,
    /// Second convolution.
    pub cv2: ConvSpec,
    /// Whether the block has its shortcut; needs as many channels out as in.
    pub add: bool,
}

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

/// `cv2(concat[x, p(x), p(p(x)), p(p(p(x)))])` behind `cv1`, where `p` is a max-pool of stride 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SppfSpec {
    /// Entry.
    pub cv1: ConvSpec,
    /// Joins the four.
    pub cv2: ConvSpec,
    /// Side of the pooling window, odd.
    pub pool: usize,
}

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
        5 + self.num_classes
    }

    /// The convolution of one level.
    pub fn conv(&self, level: usize) -> ConvSpec {
        let out_channels = self.n_anchors() * self.n_outputs();
        ConvSpec {
            activation: Activation::Identity,
            ..ConvSpec::new(self.in_channels[level], out_channels, 1, 1)
        }
    }
}

impl Architecture {
    /// The head.
    ///
    /// # Panics
    /// On an architecture that [`Architecture::validate`] would reject for having none.
    pub fn detect(&self) -> &DetectSpec {
        match self.layers.last().map(|l| &l.block) {
            Some(Block::Detect(detect)) => detect,
            _ => panic!("an architecture ends with Detect; validate() checks it"),
        }
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.detect().num_classes
    }

    /// The coarsest stride: image sides must be multiples of it (at least 32, as YOLOv5 has it).
    pub fn max_stride(&self) -> usize {
        self.detect().strides.iter().copied().max().unwrap_or(32).max(32)
    }

    /// Indices of the layers whose output layer `index` reads; `None` is the image.
    pub fn sources(&self, index: usize) -> Vec<Option<usize>> {
        self.layers[index].from.iter().map(|&from| resolve(index, from)).collect()
    }
}

/// Layer index behind a `from` entry of layer `index`; `None` is the image.
fn resolve(index: usize, from: i64) -> Option<usize> {
    let absolute = if from < 0 { index as i64 + from } else { from };
    usize::try_from(absolute).ok()
}
