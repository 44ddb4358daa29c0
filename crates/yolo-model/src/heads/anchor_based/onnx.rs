//! YOLOv5's head in an ONNX graph: its logits as maps, and those decoded to boxes.

use crate::modules::DetectSpec;
use crate::onnx::graph::{Attribute, Graph, Value};
use crate::onnx::head::{Extents, Level};
use crate::onnx::{Dim, OnnxValue, Outputs};

/// One level of the head.
struct AnchorLevel<'a> {
    detect: &'a DetectSpec,
    level: &'a Level<'a>,
}

/// Appends the head and returns the graph's outputs.
pub(in crate::heads) fn lower(
    detect: &DetectSpec,
    graph: &mut Graph<'_>,
    levels: &[Level<'_>],
    outputs: Outputs,
) -> Vec<OnnxValue> {
    let levels: Vec<AnchorLevel> = levels.iter().map(|level| AnchorLevel { detect, level }).collect();
    match outputs {
        Outputs::Logits => levels
            .iter()
            .map(|level| {
                let name = level.map(graph, &format!("output{}", level.level.index));
                OnnxValue { name, shape: level.map_shape() }
            })
            .collect(),
        Outputs::Decoded => {
            let boxes: Vec<Value> = levels.iter().map(|level| level.decode(graph)).collect();
            let boxes: Vec<&str> = boxes.iter().map(String::as_str).collect();
            let name = graph.node("output0", "Concat", &boxes, &[("axis", Attribute::Int(1))]);
            vec![OnnxValue { name, shape: decoded_shape(&levels) }]
        }
    }
}

impl AnchorLevel<'_> {
    /// The logits as `[N, anchors, rows, columns, 5 + num_classes]`, under this name.
    fn map(&self, graph: &mut Graph<'_>, name: &str) -> Value {
        let (anchors, outputs) = (self.detect.n_anchors() as i64, self.detect.n_outputs() as i64);
        let shape = match &self.level.extents {
            Extents::Fixed { batch, rows, columns } => {
                let [batch, rows, columns] = [batch, rows, columns].map(|&extent| extent as i64);
                graph.integers(&self.name("split_shape"), &[batch, anchors, outputs, rows, columns])
            }
            Extents::Open { shape } => {
                let (first, last) = (self.name("batch"), self.name("cells"));
                let first = gather(graph, &first, shape, &[0]);
                let last = gather(graph, &last, shape, &[2, 3]);
                let middle = graph.integers(&self.name("anchors_outputs"), &[anchors, outputs]);
                let parts = [first.as_str(), &middle, &last];
                graph.node(&self.name("split_shape"), "Concat", &parts, &[("axis", Attribute::Int(0))])
            }
        };
        let split = graph.node(&self.name("split"), "Reshape", &[self.level.logits, &shape], &[]);
        graph.node(name, "Transpose", &[&split], &[("perm", Attribute::Ints(vec![0, 1, 3, 4, 2]))])
    }

    /// Boxes, objectness and scores `[N, anchors · rows · columns, 5 + num_classes]`, in the decoder's order of
    /// operations.
    fn decode(&self, graph: &mut Graph<'_>) -> Value {
        let detect = self.detect;
        let map = self.map(graph, &self.name("map"));
        let scores = graph.node(&self.name("sigmoid"), "Sigmoid", &[&map], &[]);
        let sizes = [1, 1, 2, detect.n_outputs() - DetectSpec::BOX.end];
        let [x, y, sides, scores] = graph.split(&self.name("parts"), &scores, 4, sizes);
        let x = self.centre(graph, "x", &x, Axis::Columns);
        let y = self.centre(graph, "y", &y, Axis::Rows);
        let sides = self.sides(graph, &sides);
        let parts = [x.as_str(), &y, &sides, &scores];
        let joined = graph.node(&self.name("joined"), "Concat", &parts, &[("axis", Attribute::Int(4))]);
        let shape = match self.level.extents {
            Extents::Fixed { batch, rows, columns } => {
                [batch, detect.n_anchors() * rows * columns, detect.n_outputs()].map(|extent| extent as i64)
            }
            // 0 keeps the batch, −1 takes what is left.
            Extents::Open { .. } => [0, -1, detect.n_outputs() as i64],
        };
        let shape = graph.integers(&self.name("rows_shape"), &shape);
        graph.node(&self.name("rows"), "Reshape", &[&joined, &shape], &[])
    }

    /// `(2σ + g − ½) · stride` along one axis, `g` being the cell.
    fn centre(&self, graph: &mut Graph<'_>, name: &str, sigmoid: &str, axis: Axis) -> Value {
        let name = self.name(name);
        let grid = self.grid(graph, &format!("{name}.grid"), axis);
        let stride = vec![self.detect.strides[self.level.index] as f32];
        let stride = graph.floats(&format!("{name}.stride"), &[], stride);
        let doubled = doubled(graph, &name, sigmoid);
        let cells = graph.node(&format!("{name}.cells"), "Add", &[&doubled, &grid], &[]);
        graph.node(&name, "Mul", &[&cells, &stride], &[])
    }

    /// `(2σ)² · anchor`.
    fn sides(&self, graph: &mut Graph<'_>, sigmoid: &str) -> Value {
        let name = self.name("sides");
        let anchors = &self.detect.anchors[self.level.index];
        let shape = [1, anchors.len(), 1, 1, 2];
        let values = anchors.iter().flatten().copied().collect();
        let anchors = graph.floats(&format!("{name}.anchors"), &shape, values);
        let doubled = doubled(graph, &name, sigmoid);
        let squared = graph.node(&format!("{name}.squared"), "Mul", &[&doubled, &doubled], &[]);
        graph.node(&name, "Mul", &[&squared, &anchors], &[])
    }

    /// The cells' numbers along an axis less one half, in five dimensions of which only that axis is not 1.
    fn grid(&self, graph: &mut Graph<'_>, name: &str, axis: Axis) -> Value {
        match &self.level.extents {
            Extents::Fixed { rows, columns, .. } => {
                let cells = if axis == Axis::Rows { *rows } else { *columns };
                let shape = axis.shape(cells);
                graph.floats(name, &shape, (0..cells).map(|cell| cell as f32 - 0.5).collect())
            }
            Extents::Open { shape } => {
                let index = graph.integer(&format!("{name}.axis"), if axis == Axis::Rows { 2 } else { 3 });
                let cells = graph.node(&format!("{name}.cells"), "Gather", &[shape, &index], &[]);
                let zero = graph.integer(&format!("{name}.zero"), 0);
                let one = graph.integer(&format!("{name}.one"), 1);
                let range = graph.node(&format!("{name}.range"), "Range", &[&zero, &cells, &one], &[]);
                // 1 is ONNX's number for single precision.
                let to_float = [("to", Attribute::Int(1))];
                let numbers = graph.node(&format!("{name}.numbers"), "Cast", &[&range], &to_float);
                let half = graph.floats(&format!("{name}.half"), &[], vec![0.5]);
                let shifted = graph.node(&format!("{name}.shifted"), "Sub", &[&numbers, &half], &[]);
                let shape = graph.integers(&format!("{name}.shape"), &axis.shape(-1));
                graph.node(name, "Reshape", &[&shifted, &shape], &[])
            }
        }
    }

    fn name(&self, what: &str) -> String {
        self.level.name(what)
    }

    fn map_shape(&self) -> Vec<Dim> {
        let [batch, rows, columns] = match self.level.extents {
            Extents::Fixed { batch, rows, columns } => [batch, rows, columns].map(Dim::Fixed),
            Extents::Open { .. } => {
                let stride = self.detect.strides[self.level.index];
                ["batch".to_owned(), format!("height/{stride}"), format!("width/{stride}")].map(Dim::Named)
            }
        };
        let [anchors, outputs] = [self.detect.n_anchors(), self.detect.n_outputs()].map(Dim::Fixed);
        vec![batch, anchors, rows, columns, outputs]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    Rows,
    Columns,
}

impl Axis {
    /// The shape of a map's axis of `cells`.
    fn shape<T: From<u8>>(self, cells: T) -> [T; 5] {
        let one = || T::from(1);
        match self {
            Self::Rows => [one(), one(), cells, one(), one()],
            Self::Columns => [one(), one(), one(), cells, one()],
        }
    }
}

fn doubled(graph: &mut Graph<'_>, name: &str, input: &str) -> Value {
    let two = graph.floats(&format!("{name}.two"), &[], vec![2.0]);
    graph.node(&format!("{name}.doubled"), "Mul", &[input, &two], &[])
}

fn gather(graph: &mut Graph<'_>, name: &str, input: &str, indices: &[i64]) -> Value {
    let indices = graph.integers(&format!("{name}.indices"), indices);
    graph.node(name, "Gather", &[input, &indices], &[])
}

fn decoded_shape(levels: &[AnchorLevel<'_>]) -> Vec<Dim> {
    let mut rows = Some(0);
    let mut batches = Dim::Named("batch".to_owned());
    for level in levels {
        match level.level.extents {
            Extents::Fixed { batch, rows: down, columns } => {
                batches = Dim::Fixed(batch);
                rows = rows.map(|rows| rows + level.detect.n_anchors() * down * columns);
            }
            Extents::Open { .. } => rows = None,
        }
    }
    let rows = rows.map_or_else(|| Dim::Named("anchors".to_owned()), Dim::Fixed);
    let outputs = levels.first().map_or(0, |level| level.detect.n_outputs());
    vec![batches, rows, Dim::Fixed(outputs)]
}
