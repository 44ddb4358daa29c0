//! The head's part of the graph: where each level's logits are, for the head's codec to lower.
//!
//! If the size of images is open, nothing is computed from the shape of a map: OpenCV's importer has no shapes then.

use super::graph::{Attribute, Graph, Value};
use super::{Axes, Dim, OnnxOptions};
use crate::architecture::Architecture;
use crate::program::Program;
use crate::weights::FloatFormat;

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

    /// Images, rows and columns, for images of open size in terms of the level's stride.
    pub(crate) fn dims(&self, stride: usize) -> [Dim; 3] {
        match self.extents {
            Extents::Fixed { batch, rows, columns } => [batch, rows, columns].map(Dim::Fixed),
            Extents::Open => {
                ["batch".to_owned(), format!("height/{stride}"), format!("width/{stride}")].map(Dim::Named)
            }
        }
    }
}

/// Images, and the rows of predictions that all levels have together.
pub(crate) fn decoded_dims(levels: &[Level<'_>], rows_per_cell: usize) -> [Dim; 2] {
    let mut cells = Some(0);
    let mut batches = Dim::Named("batch".to_owned());
    for level in levels {
        match level.extents {
            Extents::Fixed { batch, rows, columns } => {
                batches = Dim::Fixed(batch);
                cells = cells.map(|cells| cells + rows * columns);
            }
            Extents::Open => cells = None,
        }
    }
    let rows = cells.map(|cells| cells * rows_per_cell);
    [batches, rows.map_or_else(|| Dim::Named("anchors".to_owned()), Dim::Fixed)]
}

/// An axis of a map, with the place of its centre among the outputs of an anchor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// From left to right.
    Columns = 0,
    /// From top to bottom.
    Rows = 1,
}

impl Axis {
    /// What its centre is called.
    pub(crate) fn centre(self) -> &'static str {
        match self {
            Self::Columns => "x",
            Self::Rows => "y",
        }
    }

    /// What its extent is called.
    pub(crate) fn side(self) -> &'static str {
        match self {
            Self::Columns => "width",
            Self::Rows => "height",
        }
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

/// The cells' numbers along an axis less one half: a constant `[rows, columns]`, or computed in the shape of `like`, whose
/// values are probabilities.
pub(crate) fn grid(graph: &mut Graph<'_>, level: &Level<'_>, name: &str, like: &str, axis: Axis) -> Value {
    if let Extents::Fixed { rows, columns, .. } = level.extents {
        let number = |cell: usize| if axis == Axis::Rows { cell / columns } else { cell % columns };
        let values = (0..rows * columns).map(|cell| number(cell) as f32 - 0.5).collect();
        return graph.floats(name, &[rows, columns], values);
    }
    // Counted along the last axis, as OpenCV up to 4.7 counts wrongly along others.
    match axis {
        Axis::Columns => counted(graph, name, like),
        Axis::Rows => {
            let turned = transpose(graph, &format!("{name}.turned"), like, [0, 1, 3, 2]);
            let counted = counted(graph, &format!("{name}.along"), &turned);
            transpose(graph, name, &counted, [0, 1, 3, 2])
        }
    }
}

/// −½, ½, 1½, … along the last of four axes, in the shape of `like`, whose values are probabilities.
fn counted(graph: &mut Graph<'_>, name: &str, like: &str) -> Value {
    let ones = graph.ones(&format!("{name}.ones"), like, FloatFormat::F32);
    let last = graph.integer(&format!("{name}.axis"), 3);
    let counts = graph.node(&format!("{name}.counts"), "CumSum", &[&ones, &last], &[]);
    let offset = graph.floats(&format!("{name}.offset"), &[], vec![1.5]);
    graph.node(name, "Sub", &[&counts, &offset], &[])
}

/// `input` with its axes in another order.
pub(crate) fn transpose<const RANK: usize>(
    graph: &mut Graph<'_>,
    name: &str,
    input: &str,
    order: [i64; RANK],
) -> Value {
    graph.node(name, "Transpose", &[input], &[("perm", Attribute::Ints(order.to_vec()))])
}

/// `input` in another shape, in which 0 keeps an extent and −1 takes what is left.
pub(crate) fn reshape(graph: &mut Graph<'_>, name: &str, input: &str, shape: &[i64]) -> Value {
    let shape = graph.integers(&format!("{name}.shape"), shape);
    graph.node(name, "Reshape", &[input, &shape], &[])
}
