//! The head's part of the graph: where each level's logits are, for the head's codec to lower.
//!
//! If the size of images is open, nothing is computed from the shape of a map: OpenCV's importer has no shapes then.

use super::graph::{Graph, Value};
use super::{Axes, OnnxOptions};
use crate::architecture::Architecture;
use crate::program::Program;

/// One level of the head.
pub(crate) struct Level<'a> {
    pub(crate) index: usize,
    /// The start of the names of its nodes.
    pub(crate) prefix: String,
    /// The output of its convolution, `[N, channels, rows, columns]`.
    pub(crate) logits: &'a str,
    pub(crate) extents: Extents,
}

/// Extents of a level's logits.
pub(crate) enum Extents {
    Fixed {
        batch: usize,
        rows: usize,
        columns: usize,
    },
    /// Whatever the image brings.
    Open,
}

impl Level<'_> {
    /// Name of one of its nodes.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.prefix)
    }
}

/// Appends the head and names the graph's outputs. `values` are the names of the operations' values.
pub(super) fn lower(
    graph: &mut Graph<'_>,
    architecture: &Architecture,
    program: &Program,
    values: &[Value],
    options: &OnnxOptions,
) {
    let layer = architecture.layers.len() - 1;
    let sizes = match options.axes {
        Axes::Fixed { size, .. } => program.sizes(size),
        Axes::Dynamic => Vec::new(),
    };
    let mut levels = Vec::new();
    for (index, &output) in program.outputs.iter().enumerate() {
        let prefix = format!("model.{layer}.{index}");
        let logits = values[output].as_str();
        let extents = match options.axes {
            Axes::Fixed { batch, .. } => {
                let [rows, columns] = sizes[output];
                Extents::Fixed { batch, rows, columns }
            }
            Axes::Dynamic => Extents::Open,
        };
        levels.push(Level { index, prefix, logits, extents });
    }
    let outputs = architecture.head().export(graph, &levels, options.outputs);
    graph.outputs.extend(outputs);
}
