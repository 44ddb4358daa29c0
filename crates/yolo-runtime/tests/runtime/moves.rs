//! The slow form, in f64, of operations that move, pool or compare pixels.

use yolo_runtime::Op;

use super::reference::Map;

/// The slow form of the operations that are tested here.
pub(crate) fn naive(op: &Op, values: &[Map], shapes: &[[usize; 3]], shape: [usize; 3]) -> Map {
    let source = op.inputs()[0];
    let [in_channels, in_height, in_width] = shapes[source];
    let at = |channel: usize, y: usize, x: usize| values[source][(channel * in_height + y) * in_width + x];
    let [channels, height, width] = shape;
    if let Op::Attention { heads, .. } = op {
        return attention(&values[source], in_channels / 3, *heads, height * width);
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

fn attention(input: &Map, channels: usize, heads: usize, pixels: usize) -> Map {
    let depth = channels / heads;
    let part =
        |part: usize, channel: usize, pixel: usize| input[(part * channels + channel) * pixels + pixel];
    let mut map = vec![0.0; channels * pixels];
    for head in 0..heads {
        for pixel in 0..pixels {
            let score = |other: usize| {
                let product = |i: usize| part(0, head * depth + i, pixel) * part(1, head * depth + i, other);
                ((0..depth).map(product).sum::<f64>() / (depth as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = (0..pixels).map(score).collect();
            let total: f64 = scores.iter().sum();
            for i in 0..depth {
                let mixed = scores.iter().enumerate().map(|(other, s)| s * part(2, head * depth + i, other));
                map[(head * depth + i) * pixels + pixel] = mixed.sum::<f64>() / total;
            }
        }
    }
    map
}
