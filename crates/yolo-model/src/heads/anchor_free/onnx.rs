//! The head without anchors in an ONNX graph: its logits as maps, those decoded to boxes and scores, or the best of these.

mod best;

use crate::heads::Side;
use crate::modules::{AnchorFreeSpec, Branches};
use crate::onnx::graph::{Attribute, Graph, Value};
use crate::onnx::head::{Axis, Extents, Level, decoded_dims, grid, reshape};
use crate::onnx::{Dim, OnnxValue, Outputs};
use crate::weights::FloatFormat;

/// Appends the head and returns the graph's outputs: per level `[N, 4 · bins + classes, rows, columns]`, or decoded
/// `[N, 4 + classes, cells of all levels]` with rows centre x, centre y, width, height in pixels, then scores. One-to-one
/// branches that are decoded give `[N, detections, 6]`: left, top, right, bottom, score, class.
pub(in crate::heads) fn lower(
    detect: &AnchorFreeSpec,
    graph: &mut Graph<'_>,
    levels: &[Level<'_>],
    outputs: Outputs,
) -> Vec<OnnxValue> {
    let precision = graph.precision;
    match outputs {
        Outputs::Logits => levels
            .iter()
            .map(|level| {
                let name = graph.node(&format!("output{}", level.index), "Identity", &[level.logits], &[]);
                OnnxValue { name, shape: map_shape(detect, level), precision }
            })
            .collect(),
        Outputs::Decoded => {
            let rows: Vec<Value> = levels.iter().map(|level| decode(detect, graph, level)).collect();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            let axis = [("axis", Attribute::Int(2))];
            let is_last = detect.answering() == Branches::OneToMany;
            let name =
                |is_last: bool| if is_last && precision == FloatFormat::F32 { "output0" } else { "rows" };
            let mut value = graph.node(name(is_last), "Concat", &rows, &axis);
            let mut shape = decoded_shape(detect, levels);
            if !is_last {
                (value, shape) = best::lower(detect, graph, name(true), &value, &shape);
            }
            if precision == FloatFormat::F16 {
                value = graph.cast("output0", &value, precision);
            }
            vec![OnnxValue { name: value, shape, precision }]
        }
    }
}

/// One level as `[N, 4 + classes, cells]`, in the decoder's order of operations.
fn decode(detect: &AnchorFreeSpec, graph: &mut Graph<'_>, level: &Level<'_>) -> Value {
    let logits = match graph.precision {
        FloatFormat::F32 => level.logits.to_owned(),
        FloatFormat::F16 => graph.cast(&level.name("logits"), level.logits, FloatFormat::F32),
    };
    let first_class = Side::ALL.len() * detect.bins;
    let classes = graph.slice(&level.name("classes"), &logits, 1, [first_class, detect.n_channels()], 1);
    let scores = graph.node(&level.name("scores"), "Sigmoid", &[&classes], &[]);
    let like = graph.slice(&level.name("first"), &scores, 1, [0, 1], 1);
    let distances = Side::ALL.map(|side| distance(detect, graph, level, &logits, side as usize));
    let x = [&distances[0], &distances[2]];
    let y = [&distances[1], &distances[3]];
    let [cx, w] = along(detect, graph, level, Axis::Columns, x, &like);
    let [cy, h] = along(detect, graph, level, Axis::Rows, y, &like);
    let map = graph.node(
        &level.name("map"),
        "Concat",
        &[&cx, &cy, &w, &h, &scores],
        &[("axis", Attribute::Int(1))],
    );
    let numbers = (Side::ALL.len() + detect.num_classes) as i64;
    let shape = match level.extents {
        Extents::Fixed { batch, rows, columns } => [batch as i64, numbers, (rows * columns) as i64],
        Extents::Open => [0, numbers, -1],
    };
    reshape(graph, &level.name("rows"), &map, &shape)
}

/// The distance to one side in cells, `[N, 1, rows, columns]`.
fn distance(
    detect: &AnchorFreeSpec,
    graph: &mut Graph<'_>,
    level: &Level<'_>,
    logits: &str,
    side: usize,
) -> Value {
    let name = |what: &str| level.name(&format!("side{side}.{what}"));
    let channels = [side * detect.bins, (side + 1) * detect.bins];
    let own = graph.slice(&name("logits"), logits, 1, channels, 1);
    if detect.bins == 1 {
        return own;
    }
    let shares = graph.node(&name("shares"), "Softmax", &[&own], &[("axis", Attribute::Int(1))]);
    let numbers = (0..detect.bins).map(|bin| bin as f32).collect();
    let numbers = graph.floats(&name("numbers"), &[1, detect.bins, 1, 1], numbers);
    // A convolution, which every importer has.
    graph.node(&name("distance"), "Conv", &[&shares, &numbers], &[])
}

/// Centre and extent along an axis in pixels, each `[N, 1, rows, columns]`.
fn along(
    detect: &AnchorFreeSpec,
    graph: &mut Graph<'_>,
    level: &Level<'_>,
    axis: Axis,
    [before, behind]: [&Value; 2],
    like: &str,
) -> [Value; 2] {
    let name = |part: &str| level.name(&format!("{}.{part}", axis.centre()));
    let less_half = grid(graph, level, &name("grid"), like, axis);
    let one = graph.floats(&name("one"), &[], vec![1.0]);
    let centre = graph.node(&name("cell"), "Add", &[&less_half, &one], &[]);
    let low = graph.node(&name("low"), "Sub", &[&centre, before], &[]);
    let high = graph.node(&name("high"), "Add", &[&centre, behind], &[]);
    let stride = detect.strides[level.index % detect.strides.len()] as f32;
    let sum = graph.node(&name("sum"), "Add", &[&low, &high], &[]);
    let half_stride = graph.floats(&name("half_stride"), &[], vec![stride / 2.0]);
    let middle = graph.node(&name("centre"), "Mul", &[&sum, &half_stride], &[]);
    let extent = graph.node(&name("extent"), "Sub", &[&high, &low], &[]);
    let stride = graph.floats(&name("stride"), &[], vec![stride]);
    [middle, graph.node(&name("size"), "Mul", &[&extent, &stride], &[])]
}

fn map_shape(detect: &AnchorFreeSpec, level: &Level<'_>) -> Vec<Dim> {
    let stride = detect.strides[level.index % detect.strides.len()];
    let [batch, rows, columns] = level.dims(stride);
    vec![batch, Dim::Fixed(detect.n_channels()), rows, columns]
}

fn decoded_shape(detect: &AnchorFreeSpec, levels: &[Level<'_>]) -> Vec<Dim> {
    let [batch, cells] = decoded_dims(levels, 1);
    vec![batch, Dim::Fixed(Side::ALL.len() + detect.num_classes), cells]
}
