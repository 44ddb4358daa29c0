//! Attention between the pixels of a map, as ONNX nodes.

use super::graph::{Attribute, Graph, Value};
use crate::program::{AttentionOrder, AttentionSpec};

/// The names of queries, keys and values by head: `[N, heads, channels, pixels]` each.
struct ByHead {
    queries: Value,
    keys: Value,
    values: Value,
}

/// Attention over a map of `channels` channels, whose `[height, width]` is known if images have a fixed size.
pub(super) fn lower(
    graph: &mut Graph<'_>,
    name: &str,
    input: &str,
    (attention, channels): (AttentionSpec, usize),
    size: Option<[usize; 2]>,
) -> Value {
    let parts = match attention.order {
        AttentionOrder::ByPart => by_part(graph, name, input, attention, channels),
        AttentionOrder::ByHead => by_head(graph, name, input, attention, channels),
    };
    let swap = [("perm", Attribute::Ints(vec![0, 1, 3, 2]))];
    let tokens = graph.node(&format!("{name}.q.tokens"), "Transpose", &[&parts.queries], &swap);
    let products = graph.node(&format!("{name}.products"), "MatMul", &[&tokens, &parts.keys], &[]);
    let factor = (attention.key as f32).sqrt().recip();
    let factor = graph.scalar(&format!("{name}.factor"), factor, graph.precision);
    let scores = graph.node(&format!("{name}.scores"), "Mul", &[&products, &factor], &[]);
    let shares = graph.node(&format!("{name}.shares"), "Softmax", &[&scores], &[("axis", Attribute::Int(3))]);
    let shares = graph.node(&format!("{name}.shares.by_key"), "Transpose", &[&shares], &swap);
    let mixed = graph.node(&format!("{name}.mixed"), "MatMul", &[&parts.values, &shares], &[]);
    let out_channels = attention.out_channels(channels);
    let shape = match size {
        Some([height, width]) => {
            graph.integers(&format!("{name}.shape"), &[0, out_channels as i64, height as i64, width as i64])
        }
        // Only a map itself knows its size then.
        None => {
            let map = graph.slice(&format!("{name}.map"), input, 1, [0, out_channels], 1);
            graph.node(&format!("{name}.shape"), "Shape", &[&map], &[])
        }
    };
    graph.node(name, "Reshape", &[&mixed, &shape], &[])
}

/// All queries, all keys and all values are slices of the map.
fn by_part(
    graph: &mut Graph<'_>,
    name: &str,
    input: &str,
    attention: AttentionSpec,
    channels: usize,
) -> ByHead {
    let AttentionSpec { heads, key, .. } = attention;
    let keys = heads * key;
    let queries = graph.slice(&format!("{name}.q"), input, 1, [0, keys], 1);
    let key_map = graph.slice(&format!("{name}.k"), input, 1, [keys, 2 * keys], 1);
    let values = graph.slice(&format!("{name}.v"), input, 1, [2 * keys, channels], 1);
    let mut of_heads = |part: &str, what: &str, width: usize| {
        let shape = graph.integers(&format!("{name}.{what}.shape"), &[0, heads as i64, width as i64, -1]);
        graph.node(&format!("{name}.{what}.heads"), "Reshape", &[part, &shape], &[])
    };
    ByHead {
        queries: of_heads(&queries, "q", key),
        keys: of_heads(&key_map, "k", key),
        values: of_heads(&values, "v", attention.value(channels)),
    }
}

/// Each head's share of the map holds its query, its key and its value.
fn by_head(
    graph: &mut Graph<'_>,
    name: &str,
    input: &str,
    attention: AttentionSpec,
    channels: usize,
) -> ByHead {
    let AttentionSpec { heads, key, .. } = attention;
    let share = channels / heads;
    let shape = graph.integers(&format!("{name}.heads.shape"), &[0, heads as i64, share as i64, -1]);
    let shares = graph.node(&format!("{name}.heads"), "Reshape", &[input, &shape], &[]);
    let mut part =
        |what: &str, range: [usize; 2]| graph.slice(&format!("{name}.{what}"), &shares, 2, range, 1);
    ByHead {
        queries: part("q", [0, key]),
        keys: part("k", [key, 2 * key]),
        values: part("v", [2 * key, share]),
    }
}
