//! The detections of one-to-one branches: first the cells with the best scores, then the best scores of these, as
//! [`crate::top_k`] takes them. Nothing is suppressed, and no score is too low.

use crate::modules::AnchorFreeSpec;
use crate::onnx::Dim;
use crate::onnx::graph::{Attribute, Graph, Value};
use crate::onnx::head::reshape;

/// Detections per image at most.
const MOST: usize = 300;
/// Numbers of a box.
const SIDES: usize = 4;

/// Appends the choice among decoded `rows` `[N, 4 + classes, cells]` of this shape, under `name`: `[N, detections, 6]`.
pub(super) fn lower(
    detect: &AnchorFreeSpec,
    graph: &mut Graph<'_>,
    name: &str,
    rows: &str,
    shape: &[Dim],
) -> (Value, Vec<Dim>) {
    let classes = detect.num_classes;
    let most = match shape.last() {
        Some(Dim::Fixed(cells)) => MOST.min(*cells),
        _ => MOST,
    };
    let turned = graph.node("best.turned", "Transpose", &[rows], &[("perm", Attribute::Ints(vec![0, 2, 1]))]);
    let boxes = graph.slice("best.all_boxes", &turned, 2, [0, SIDES], 1);
    let scores = graph.slice("best.all_scores", &turned, 2, [SIDES, SIDES + classes], 1);
    // The largest as the first of one, as the operator for maxima takes its axis in another way since opset 18.
    let [highest, _] = graph.top_k("best.of_cell", &scores, 1, 2);
    let [_, cells] = graph.top_k("best.cells", &highest, most, 1);
    let boxes = gathered(graph, "best.boxes", &boxes, &cells, SIDES);
    let scores = gathered(graph, "best.scores", &scores, &cells, classes);
    let flat = reshape(graph, "best.flat", &scores, &[0, -1]);
    let [score, places] = graph.top_k("best.score", &flat, most, 1);
    let count = graph.integer("best.classes", classes as i64);
    let class = graph.node("best.class", "Mod", &[&places, &count], &[]);
    let row = graph.node("best.row", "Div", &[&places, &count], &[]);
    let row = reshape(graph, "best.row.column", &row, &[0, -1, 1]);
    let boxes = gathered(graph, "best.chosen", &boxes, &row, SIDES);
    let corners = corners(graph, &boxes);
    let score = reshape(graph, "best.score.column", &score, &[0, -1, 1]);
    let class = graph.cast("best.class.float", &class, crate::weights::FloatFormat::F32);
    let class = reshape(graph, "best.class.column", &class, &[0, -1, 1]);
    let output = graph.node(name, "Concat", &[&corners, &score, &class], &[("axis", Attribute::Int(2))]);
    let batch = shape.first().cloned().unwrap_or(Dim::Fixed(1));
    (output, vec![batch, Dim::Fixed(most), Dim::Fixed(SIDES + 2)])
}

/// The rows of `table` `[N, rows, width]` that `places` `[N, count, 1]` names, `[N, count, width]`.
fn gathered(graph: &mut Graph<'_>, name: &str, table: &str, places: &str, width: usize) -> Value {
    let repeats = graph.integers(&format!("{name}.repeats"), &[1, 1, width as i64]);
    let places = graph.node(&format!("{name}.places"), "Tile", &[places, &repeats], &[]);
    graph.node(name, "GatherElements", &[table, &places], &[("axis", Attribute::Int(1))])
}

/// Left, top, right and bottom of boxes `[N, count, 4]`.
fn corners(graph: &mut Graph<'_>, boxes: &str) -> Value {
    let centres = graph.slice("best.centres", boxes, 2, [0, 2], 1);
    let sizes = graph.slice("best.sizes", boxes, 2, [2, 4], 1);
    let half = graph.floats("best.half", &[], vec![0.5]);
    let halves = graph.node("best.halves", "Mul", &[&sizes, &half], &[]);
    let low = graph.node("best.low", "Sub", &[&centres, &halves], &[]);
    let high = graph.node("best.high", "Add", &[&centres, &halves], &[]);
    graph.node("best.corners", "Concat", &[&low, &high], &[("axis", Attribute::Int(2))])
}
