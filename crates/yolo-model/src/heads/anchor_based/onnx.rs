//! YOLOv5's head in an ONNX graph: its logits as maps, and those decoded to boxes.

use crate::modules::DetectSpec;
use crate::onnx::graph::{Attribute, Graph, Value};
use crate::onnx::head::{Axis, Extents, Level, decoded_dims, grid, reshape, transpose};
use crate::onnx::{Dim, OnnxValue, Outputs};
use crate::weights::FloatFormat;

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
    let precision = graph.precision;
    let anchor_levels = levels.iter().map(|level| AnchorLevel { detect, level });
    match outputs {
        Outputs::Logits => anchor_levels
            .map(|level| {
                let name = level.map(graph, &format!("output{}", level.level.index));
                OnnxValue { name, shape: level.map_shape(), precision }
            })
            .collect(),
        Outputs::Decoded => {
            let boxes: Vec<Value> = anchor_levels.map(|level| level.decode(graph)).collect();
            let boxes: Vec<&str> = boxes.iter().map(String::as_str).collect();
            let axis = [("axis", Attribute::Int(1))];
            let name = match precision {
                FloatFormat::F32 => graph.node("output0", "Concat", &boxes, &axis),
                FloatFormat::F16 => {
                    let rows = graph.node("rows", "Concat", &boxes, &axis);
                    graph.cast("output0", &rows, precision)
                }
            };
            let [batch, rows] = decoded_dims(levels, detect.n_anchors());
            let shape = vec![batch, rows, Dim::Fixed(detect.n_outputs())];
            vec![OnnxValue { name, shape, precision }]
        }
    }
}

impl AnchorLevel<'_> {
    /// The logits as `[N, anchors, rows, columns, 5 + num_classes]`, under this name.
    fn map(&self, graph: &mut Graph<'_>, name: &str) -> Value {
        let (anchors, outputs) = (self.detect.n_anchors(), self.detect.n_outputs());
        match self.level.extents {
            Extents::Fixed { batch, rows, columns } => {
                let shape = [batch, anchors, outputs, rows, columns].map(|extent| extent as i64);
                let split = reshape(graph, &self.name("split"), self.level.logits, &shape);
                transpose(graph, name, &split, [0, 1, 3, 4, 2])
            }
            // 0 keeps an extent, so the open ones have to be in their places before the anchors are split off.
            Extents::Open => {
                let last = transpose(graph, &self.name("last"), self.level.logits, [0, 2, 3, 1]);
                let shape = [0, 0, 0, anchors, outputs].map(|extent| extent as i64);
                let split = reshape(graph, &self.name("split"), &last, &shape);
                transpose(graph, name, &split, [0, 3, 1, 2, 4])
            }
        }
    }

    /// Boxes, objectness and scores `[N, anchors · rows · columns, 5 + num_classes]`, in the decoder's order of
    /// operations. Boxes are computed as maps `[N, anchors, rows, columns]` of one coordinate each.
    fn decode(&self, graph: &mut Graph<'_>) -> Value {
        let logits = match graph.precision {
            FloatFormat::F32 => self.level.logits.to_owned(),
            FloatFormat::F16 => graph.cast(&self.name("logits"), self.level.logits, FloatFormat::F32),
        };
        let scores = graph.node(&self.name("sigmoid"), "Sigmoid", &[&logits], &[]);
        let x = self.centre(graph, &scores, Axis::Columns);
        let y = self.centre(graph, &scores, Axis::Rows);
        let width = self.side(graph, &scores, Axis::Columns);
        let height = self.side(graph, &scores, Axis::Rows);
        let mut parts = Vec::new();
        for (name, map) in [("x", x), ("y", y), ("width", width), ("height", height)] {
            let shape = self.rows_shape(1);
            parts.push(reshape(graph, &self.name(&format!("{name}.rows")), &map, &shape));
        }
        parts.push(self.scores(graph, &scores));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        graph.node(&self.name("rows"), "Concat", &parts, &[("axis", Attribute::Int(2))])
    }

    /// Objectness and scores, `[N, anchors · rows · columns, 1 + num_classes]`.
    fn scores(&self, graph: &mut Graph<'_>, sigmoid: &str) -> Value {
        let (anchors, outputs) = (self.detect.n_anchors() as i64, self.detect.n_outputs());
        let (batch, cells) = match self.level.extents {
            Extents::Fixed { batch, rows, columns } => (batch as i64, (rows * columns) as i64),
            Extents::Open => (0, -1),
        };
        let shape = [batch, anchors, outputs as i64, cells];
        let split = reshape(graph, &self.name("split"), sigmoid, &shape);
        let turned = transpose(graph, &self.name("turned"), &split, [0, 1, 3, 2]);
        let all = reshape(graph, &self.name("all"), &turned, &self.rows_shape(outputs));
        graph.slice(&self.name("scores"), &all, 2, [DetectSpec::BOX.end, outputs], 1)
    }

    /// `(2σ + g − ½) · stride` along one axis, `g` being the cell.
    fn centre(&self, graph: &mut Graph<'_>, sigmoid: &str, axis: Axis) -> Value {
        let name = self.name(axis.centre());
        let sigmoid = self.channel(graph, &name, sigmoid, axis as usize);
        let grid = grid(graph, self.level, &format!("{name}.grid"), &sigmoid, axis);
        let stride = vec![self.detect.strides[self.level.index] as f32];
        let stride = graph.floats(&format!("{name}.stride"), &[], stride);
        let doubled = doubled(graph, &name, &sigmoid);
        let cells = graph.node(&format!("{name}.cells"), "Add", &[&doubled, &grid], &[]);
        graph.node(&name, "Mul", &[&cells, &stride], &[])
    }

    /// `(2σ)² · anchor` along one axis.
    fn side(&self, graph: &mut Graph<'_>, sigmoid: &str, axis: Axis) -> Value {
        let name = self.name(axis.side());
        let sigmoid = self.channel(graph, &name, sigmoid, 2 + axis as usize);
        let anchors = &self.detect.anchors[self.level.index];
        let values = anchors.iter().map(|sides| sides[axis as usize]).collect();
        let anchors = graph.floats(&format!("{name}.anchors"), &[1, anchors.len(), 1, 1], values);
        let doubled = doubled(graph, &name, &sigmoid);
        let squared = graph.node(&format!("{name}.squared"), "Mul", &[&doubled, &doubled], &[]);
        graph.node(&name, "Mul", &[&squared, &anchors], &[])
    }

    /// One output of every anchor, `[N, anchors, rows, columns]`.
    fn channel(&self, graph: &mut Graph<'_>, name: &str, map: &str, output: usize) -> Value {
        let (anchors, outputs) = (self.detect.n_anchors(), self.detect.n_outputs());
        graph.slice(&format!("{name}.sigmoid"), map, 1, [output, anchors * outputs], outputs)
    }

    /// The shape of rows with this many numbers.
    fn rows_shape(&self, numbers: usize) -> [i64; 3] {
        match self.level.extents {
            Extents::Fixed { batch, rows, columns } => {
                [batch, self.detect.n_anchors() * rows * columns, numbers].map(|extent| extent as i64)
            }
            // 0 keeps the batch, −1 takes what is left.
            Extents::Open => [0, -1, numbers as i64],
        }
    }

    fn name(&self, what: &str) -> String {
        self.level.name(what)
    }

    fn map_shape(&self) -> Vec<Dim> {
        let [batch, rows, columns] = self.level.dims(self.detect.strides[self.level.index]);
        let [anchors, outputs] = [self.detect.n_anchors(), self.detect.n_outputs()].map(Dim::Fixed);
        vec![batch, anchors, rows, columns, outputs]
    }
}

fn doubled(graph: &mut Graph<'_>, name: &str, input: &str) -> Value {
    let two = graph.floats(&format!("{name}.two"), &[], vec![2.0]);
    graph.node(&format!("{name}.doubled"), "Mul", &[input, &two], &[])
}
