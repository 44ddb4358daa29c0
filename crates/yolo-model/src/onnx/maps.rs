//! Operations without weights that move, pool or compare pixels, as ONNX nodes.

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

/// ONNX's default order is that of the rows.
pub(super) fn depth_to_space(graph: &mut Graph<'_>, name: &str, input: &str, size: usize) -> Value {
    graph.node(name, "DepthToSpace", &[input], &[("blocksize", Attribute::Int(size as i64))])
}

/// Attention between pixels: `channels` of the output in `heads`, and its `[height, width]` if images have a fixed size.
pub(super) fn attention(
    graph: &mut Graph<'_>,
    name: &str,
    input: &str,
    [channels, heads]: [usize; 2],
    size: Option<[usize; 2]>,
) -> Value {
    let per_head = channels / heads;
    let part = |at: usize| [at * channels, (at + 1) * channels];
    let queries = graph.slice(&format!("{name}.q"), input, 1, part(0), 1);
    let keys = graph.slice(&format!("{name}.k"), input, 1, part(1), 1);
    let values = graph.slice(&format!("{name}.v"), input, 1, part(2), 1);
    let shape = graph.integers(&format!("{name}.heads"), &[0, heads as i64, per_head as i64, -1]);
    let mut by_head =
        |part: &str, what: &str| graph.node(&format!("{name}.{what}"), "Reshape", &[part, &shape], &[]);
    let queries_by_head = by_head(&queries, "q.heads");
    let keys = by_head(&keys, "k.heads");
    let by_head_values = by_head(&values, "v.heads");
    let swap = [("perm", Attribute::Ints(vec![0, 1, 3, 2]))];
    let tokens = graph.node(&format!("{name}.q.tokens"), "Transpose", &[&queries_by_head], &swap);
    let products = graph.node(&format!("{name}.products"), "MatMul", &[&tokens, &keys], &[]);
    let factor = graph.scalar(&format!("{name}.factor"), (per_head as f32).sqrt().recip(), graph.precision);
    let scores = graph.node(&format!("{name}.scores"), "Mul", &[&products, &factor], &[]);
    let shares = graph.node(&format!("{name}.shares"), "Softmax", &[&scores], &[("axis", Attribute::Int(3))]);
    let shares = graph.node(&format!("{name}.shares.by_key"), "Transpose", &[&shares], &swap);
    let mixed = graph.node(&format!("{name}.mixed"), "MatMul", &[&by_head_values, &shares], &[]);
    let shape = match size {
        Some([height, width]) => {
            graph.integers(&format!("{name}.shape"), &[0, channels as i64, height as i64, width as i64])
        }
        // Only a map itself knows its size then.
        None => graph.node(&format!("{name}.shape"), "Shape", &[&queries], &[]),
    };
    graph.node(name, "Reshape", &[&mixed, &shape], &[])
}
