//! Operations without weights that move or pool pixels and channels, as ONNX nodes.

use std::ops::Range;

use super::graph::{Attribute, Graph, Value};
use super::network::ints;
use crate::program::{PixelOrder, PoolSpec};

/// ONNX ignores the border, which is what −∞ there means.
pub(super) fn pool(graph: &mut Graph<'_>, name: &str, input: &str, pool: &PoolSpec) -> Value {
    let [vertical, horizontal] = pool.padding;
    let mut attributes = vec![
        ("kernel_shape", ints(&pool.kernel)),
        ("pads", ints(&[vertical, horizontal, vertical, horizontal])),
        ("strides", ints(&pool.stride)),
    ];
    if pool.ceil {
        attributes.push(("ceil_mode", Attribute::Int(1)));
    }
    graph.node(name, "MaxPool", &[input], &attributes)
}

/// Each pixel becomes a square: output `i` is input `floor(i / scale)`.
pub(super) fn upsample(graph: &mut Graph<'_>, name: &str, input: &str, scale: usize) -> Value {
    let scale = scale as f32;
    let scales = graph.floats(&format!("{name}.scales"), &[4], vec![1.0, 1.0, scale, scale]);
    let attributes = [
        ("mode", Attribute::Text("nearest")),
        ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
        ("nearest_mode", Attribute::Text("floor")),
    ];
    // The region of interest, which only another mode reads: an empty name leaves it out where that is allowed.
    let region = match graph.opset {
        ..13 => graph.floats(&format!("{name}.region"), &[0], Vec::new()),
        _ => String::new(),
    };
    graph.node(name, "Resize", &[input, &region, &scales], &attributes)
}

/// Zeros on the left, on the right, above and below.
pub(super) fn zero_pad(graph: &mut Graph<'_>, name: &str, input: &str, sides: [usize; 4]) -> Value {
    let [left, right, above, below] = sides.map(|side| side as i64);
    let pads = graph.integers(&format!("{name}.pads"), &[0, 0, above, left, 0, 0, below, right]);
    graph.node(name, "Pad", &[input, &pads], &[])
}

/// One slice of the map per pixel of a square.
pub(super) fn space_to_depth(
    graph: &mut Graph<'_>,
    name: &str,
    input: &str,
    size: usize,
    order: PixelOrder,
) -> Value {
    let mut groups = Vec::new();
    for group in 0..size * size {
        let [row, column] = order.pixel(group, size);
        let rows = graph.slice(&format!("{name}.rows"), input, 2, [row, i64::MAX as usize], size);
        groups.push(graph.slice(&format!("{name}.pixels"), &rows, 3, [column, i64::MAX as usize], size));
    }
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    graph.node(name, "Concat", &groups, &[("axis", Attribute::Int(1))])
}

/// Channels in another order.
pub(super) fn pick(graph: &mut Graph<'_>, name: &str, input: &str, channels: &[usize]) -> Value {
    let channels: Vec<i64> = channels.iter().map(|&channel| channel as i64).collect();
    let channels = graph.integers(&format!("{name}.channels"), &channels);
    graph.node(name, "Gather", &[input, &channels], &[("axis", Attribute::Int(1))])
}

/// Channels that follow each other.
pub(super) fn slice(graph: &mut Graph<'_>, name: &str, input: &str, channels: &Range<usize>) -> Value {
    graph.slice(name, input, 1, [channels.start, channels.end], 1)
}

/// All channels, cut into `parts` equal slices.
pub(super) fn split(
    graph: &mut Graph<'_>,
    name: &str,
    input: &str,
    parts: usize,
    width: usize,
) -> Vec<Value> {
    let widths = vec![width as i64; parts];
    let axis = ("axis", Attribute::Int(1));
    match graph.opset {
        ..13 => graph.nodes(name, "Split", &[input], &[axis, ("split", Attribute::Ints(widths))], parts),
        _ => {
            let widths = graph.integers(&format!("{name}.widths"), &widths);
            graph.nodes(name, "Split", &[input, &widths], &[axis], parts)
        }
    }
}

/// ONNX's default order is that of the rows.
pub(super) fn depth_to_space(graph: &mut Graph<'_>, name: &str, input: &str, size: usize) -> Value {
    graph.node(name, "DepthToSpace", &[input], &[("blocksize", Attribute::Int(size as i64))])
}
