//! Writes a detector as an ONNX file, which other runtimes read.
//!
//! The graph is the fused network as YOLOv5 exports it: input `images` `[N, 3, H, W]`, RGB in `[0, 1]`, and either
//! decoded boxes in one output or the logits in one output per level. Weights have PyTorch's names. Every
//! operator has the same meaning in opsets 12 to 20 (<https://onnx.ai/onnx/operators/>), so the opset is little more than
//! the version that the file asks its reader for. OpenCV's importer is the reader that takes least: constants that are added
//! have no leading dimensions of 1, sums of several maps have one shape, and nothing asks for a shape.
//!
//! ```no_run
//! use std::path::Path;
//! use yolo_model::Checkpoint;
//! use yolo_model::onnx::{Axes, Outputs, OnnxOptions};
//! use yolo_model::weights::FloatFormat;
//!
//! let checkpoint = Checkpoint::load(Path::new("yolov5n.pt"))?;
//! let options = OnnxOptions {
//!     axes: Axes::Fixed { batch: 1, size: [640, 640] },
//!     outputs: Outputs::Decoded,
//!     opset: 13,
//!     precision: FloatFormat::F32,
//! };
//! let summary = checkpoint.export_onnx(Path::new("yolov5n.onnx"), &options)?;
//! assert_eq!(summary.outputs[0].to_string(), "output0 [1, 25200, 85]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod attention;
mod error;
mod file;
pub(crate) mod graph;
pub(crate) mod head;
mod maps;
mod metadata;
mod network;
mod splits;
mod wire;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;

use crate::architecture::Architecture;
use crate::checkpoint::Checkpoint;
use crate::weights::FloatFormat;
use graph::Graph;

pub use error::OnnxError;

/// The opsets in which every operator used here means the same.
pub const OPSETS: RangeInclusive<u32> = 12..=20;
/// Name of the graph's input.
pub const INPUT: &str = "images";
/// Longest side of an image of fixed size, in pixels.
const MAX_SIDE: usize = 1 << 16;
/// Largest fixed batch.
const MAX_BATCH: usize = 1 << 16;

/// What an ONNX file should look like.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxOptions {
    /// Which images the graph takes.
    pub axes: Axes,
    /// What the graph returns.
    pub outputs: Outputs,
    /// Version of the operators, one of [`OPSETS`].
    pub opset: u32,
    /// How images, weights, maps and outputs are stored. In half precision boxes and scores are computed from the logits
    /// in single precision and rounded once.
    pub precision: FloatFormat,
}

/// Which images a graph takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axes {
    /// Exactly `[batch, channels, height, width]`.
    Fixed {
        /// Images per batch, at least 1.
        batch: usize,
        /// Height and width in pixels, multiples of the largest stride.
        size: [usize; 2],
    },
    /// Any number of images of any size; height and width must be multiples of the largest stride.
    Dynamic,
}

/// What a graph returns. A row is: centre x, centre y, width, height, objectness, one score per class. Without anchors there
/// is no objectness, and rows and their numbers change places: `output0` `[N, 4 + num_classes, cells]`, or with one-to-one
/// branches `[N, detections, 6]` of left, top, right, bottom, score, class; logits are
/// `[N, 4 · bins + num_classes, H / stride, W / stride]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// `output0` `[N, rows, 5 + num_classes]`: boxes in pixels of the input and scores in `[0, 1]`, in the order
    /// and by the formulas of [`crate::Head::decode`].
    Decoded,
    /// `output0`, `output1`, … `[N, anchors, H / stride, W / stride, 5 + num_classes]`: the logits of each level,
    /// finest first, as YOLOv5's head returns them in training.
    Logits,
}

/// A dimension of an input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Dim {
    /// Always this much.
    Fixed(usize),
    /// Whatever the image brings, under a name.
    Named(String),
}

/// An input or output of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnnxValue {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// The type of its elements, `float32` or `float16`.
    #[serde(rename = "type", serialize_with = "serialize_precision")]
    pub precision: FloatFormat,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnnxSummary {
    /// Operators in the graph.
    pub nodes: usize,
    /// Stored tensors: weights, and the constants of the head.
    pub initializers: usize,
    /// Parameters of the fused network.
    pub parameters: usize,
    /// Size of the file.
    pub bytes: u64,
    /// The inputs: one.
    pub inputs: Vec<OnnxValue>,
    /// The outputs.
    pub outputs: Vec<OnnxValue>,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(extent) => write!(f, "{extent}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for OnnxValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape: Vec<String> = self.shape.iter().map(Dim::to_string).collect();
        write!(f, "{} [{}]", self.name, shape.join(", "))?;
        match self.precision {
            FloatFormat::F32 => Ok(()),
            FloatFormat::F16 => write!(f, " {}", type_name(self.precision)),
        }
    }
}

/// The name of a precision in numpy and onnxruntime.
fn type_name(precision: FloatFormat) -> &'static str {
    match precision {
        FloatFormat::F16 => "float16",
        FloatFormat::F32 => "float32",
    }
}

fn serialize_precision<S: serde::Serializer>(
    precision: &FloatFormat,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(type_name(*precision))
}

impl Checkpoint {
    /// Writes the fused network to an ONNX file, with `stride` and `names` in its metadata as YOLOv5's loaders read
    /// them. The file appears whole or not at all.
    ///
    /// # Errors
    /// Options out of range, weights that do not fit the architecture, more than 2 GiB of weights, or a place that
    /// cannot be written.
    pub fn export_onnx(&self, path: &Path, options: &OnnxOptions) -> Result<OnnxSummary, OnnxError> {
        self.architecture.validate()?;
        options.check(&self.architecture)?;
        file::check_size(weight_bytes(&self.architecture, options.precision))?;
        self.check_tensors()?;
        self.check_values()?;
        let fused = self.fuse()?;

        let program = fused.architecture.program();
        let mut graph = Graph::new(options.input(fused.architecture.in_channels), options.opset);
        let values = network::lower(&mut graph, &program, &fused.weights, options.axes)?;
        head::lower(&mut graph, &fused.architecture, &program, &values, options);
        let metadata = metadata::entries(&fused, options);
        let bytes = file::write(path, &graph, &metadata, options.opset)?;
        Ok(OnnxSummary {
            nodes: graph.nodes.len(),
            initializers: graph.tensors.len(),
            parameters: fused.architecture.summary().parameters,
            bytes,
            inputs: vec![graph.input],
            outputs: graph.outputs,
        })
    }
}

impl OnnxOptions {
    fn check(&self, architecture: &Architecture) -> Result<(), OnnxError> {
        let wrong = |reason: String| Err(OnnxError::Options { reason });
        if !OPSETS.contains(&self.opset) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            return wrong(format!("opset {} is not written; choose {first} to {last}", self.opset));
        }
        let Axes::Fixed { batch, size: [height, width] } = self.axes else { return Ok(()) };
        if !(1..=MAX_BATCH).contains(&batch) {
            return wrong(format!("a batch of {batch} images is not between 1 and {MAX_BATCH}"));
        }
        let stride = architecture.max_stride();
        let fits = |side: usize| (1..=MAX_SIDE).contains(&side) && side.is_multiple_of(stride);
        if !fits(height) || !fits(width) {
            return wrong(format!(
                "an image of {height}×{width} does not fit: both sides must be multiples of the stride {stride}, up to {MAX_SIDE}"
            ));
        }
        Ok(())
    }

    fn input(&self, channels: usize) -> OnnxValue {
        let named = |name: &str| Dim::Named(name.to_owned());
        let [batch, height, width] = match self.axes {
            Axes::Fixed { batch, size: [height, width] } => [batch, height, width].map(Dim::Fixed),
            Axes::Dynamic => ["batch", "height", "width"].map(named),
        };
        let shape = vec![batch, Dim::Fixed(channels), height, width];
        OnnxValue { name: INPUT.to_owned(), shape, precision: self.precision }
    }
}

/// Bytes of the fused network's weights.
fn weight_bytes(architecture: &Architecture, precision: FloatFormat) -> u64 {
    let width = match precision {
        FloatFormat::F16 => 2,
        FloatFormat::F32 => 4,
    };
    let conv = |conv: &crate::architecture::ConvRef| {
        let weights = conv.spec.weight_shape().iter().map(|&extent| extent as u64).product::<u64>();
        width * (weights + conv.spec.out_channels as u64)
    };
    architecture.convs().iter().map(conv).fold(0, u64::saturating_add)
}
