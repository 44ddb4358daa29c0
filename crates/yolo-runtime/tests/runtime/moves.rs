//! The slow form, in f64, of operations that move, pool or compare pixels.

use yolo_model::program::{AttentionOrder, AttentionSpec};
use yolo_runtime::Op;

use super::reference::Map;

/// The slow form of the operations that are tested here.
pub(crate) fn naive(op: &Op, values: &[Map], shapes: &[[usize; 3]], shape: [usize; 3]) -> Map {
    let source = op.inputs()[0];
    let [in_channels, in_height, in_width] = shapes[source];
    let at = |channel: usize, y: usize, x: usize| values[source][(channel * in_height + y) * in_width + x];
    let [channels, height, width] = shape;
    if let Op::Attention { spec, .. } = op {
        return attention(&values[source], *spec, in_channels, height * width);
    }
    let mut map = Vec::new();
    for channel in 0..channels {
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            map.push(match op {
                Op::Pool { pool, .. } => {
                    let range = |at: usize, axis: usize, end: usize| {
                        let first = (at * pool.stride[axis]) as isize - pool.padding[axis] as isize;
                        (first..first + pool.kernel[axis] as isize)
                            .filter(move |&i| (0..end as isize).contains(&i))
                    };
                    let rows = range(y, 0, in_height);
                    let pixels = rows.flat_map(|row| range(x, 1, in_width).map(move |column| (row, column)));
                    pixels
                        .map(|(row, column)| at(channel, row as usize, column as usize))
                        .fold(f64::MIN, f64::max)
                }
                Op::ZeroPad { sides: [left, _, above, _], .. } => {
                    match (y.checked_sub(*above), x.checked_sub(*left)) {
                        (Some(row), Some(column)) if row < in_height && column < in_width => {
                            at(channel, row, column)
                        }
                        _ => 0.0,
                    }
                }
                Op::Pick { channels, .. } => at(channels[channel], y, x),
                Op::SpaceToDepth { size, order, .. } => {
                    let [row, column] = order.pixel(channel / in_channels, *size);
                    at(channel % in_channels, y * size + row, x * size + column)
                }
                Op::DepthToSpace { size, interleaved, .. } => {
                    let pixel = y % size * size + x % size;
                    let from =
                        if *interleaved { channel * size * size + pixel } else { pixel * channels + channel };
                    at(from, y / size, x / size)
                }
                _ => unreachable!(),
            });
        }
    }
    map
}

fn attention(input: &Map, spec: AttentionSpec, channels: usize, pixels: usize) -> Map {
    let value = channels / spec.heads - 2 * spec.key;
    let mut map = Vec::new();
    for head in 0..spec.heads {
        let first = |before: usize, width: usize| match spec.order {
            AttentionOrder::ByPart => spec.heads * before + head * width,
            AttentionOrder::ByHead => head * (2 * spec.key + value) + before,
        };
        let (query, key) = (first(0, spec.key), first(spec.key, spec.key));
        let values = first(2 * spec.key, value);
        let at = |channel: usize, pixel: usize| input[channel * pixels + pixel];
        let shares_of = |pixel: usize| -> Vec<f64> {
            let score = |other: usize| {
                let product = |i: usize| at(query + i, pixel) * at(key + i, other);
                ((0..spec.key).map(product).sum::<f64>() / (spec.key as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = (0..pixels).map(score).collect();
            let total: f64 = scores.iter().sum();
            scores.iter().map(|score| score / total).collect()
        };
        let shares: Vec<Vec<f64>> = (0..pixels).map(shares_of).collect();
        for i in 0..value {
            let mixed = |shares: &Vec<f64>| -> f64 {
                shares.iter().enumerate().map(|(other, share)| share * at(values + i, other)).sum()
            };
            map.extend(shares.iter().map(mixed));
        }
    }
    map
}
