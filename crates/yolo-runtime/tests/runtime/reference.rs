//! A slow executor in f64, and random networks' parts.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use yolo_model::{Channel, LevelChannels, Side};
use yolo_runtime::{Activation, Conv, Network, Op, Output};

/// Numbers from a seed.
pub(crate) struct Random(SplitMix64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    /// In 0..1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 / (1 << 24) as f32
    }

    pub(crate) fn numbers(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| 2.0 * self.unit() - 1.0).collect()
    }
}

/// Which weights are zero.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Zeros {
    None,
    Share(f32),
    /// Four output channels share their zeros.
    Blocks(f32),
}

/// A convolution of value `input`, which has `channels[0]` channels.
pub(crate) fn conv(
    name: &str,
    input: usize,
    channels: [usize; 2],
    kernel: [usize; 2],
    random: &mut Random,
    zeros: Zeros,
) -> Conv {
    let filter = channels[0] * kernel[0] * kernel[1];
    let scale = 1.7 / (filter as f32).sqrt();
    let mut weight: Vec<f32> =
        random.numbers(channels[1] * filter).into_iter().map(|w| (w + w.signum() * 0.01) * scale).collect();
    let share = match zeros {
        Zeros::None => 0.0,
        Zeros::Share(share) | Zeros::Blocks(share) => share,
    };
    for group in 0..channels[1].div_ceil(4) {
        for at in 0..filter {
            let of_block = random.unit() < share;
            for channel in group * 4..(group * 4 + 4).min(channels[1]) {
                let of_weight = random.unit() < share;
                let is_zero = if matches!(zeros, Zeros::Blocks(_)) { of_block } else { of_weight };
                if is_zero {
                    weight[channel * filter + at] = 0.0;
                }
            }
        }
    }
    Conv {
        name: name.to_owned(),
        input,
        weight,
        bias: random.numbers(channels[1]),
        out_channels: channels[1],
        groups: 1,
        kernel,
        stride: [1, 1],
        padding: [kernel[0] / 2, kernel[1] / 2],
        dilation: [1, 1],
        activation: Activation::Silu,
        residual: None,
    }
}

fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu(slope) => x.max(x * f64::from(slope)),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Mish => x * x.exp().ln_1p().tanh(),
        Activation::Elu(alpha) => x.max(0.0) + f64::from(alpha) * x.min(0.0).exp_m1(),
        Activation::Gelu => panic!("the kernels' own tests have it"),
    }
}

pub(crate) type Map = Vec<f64>;

fn naive_conv(
    conv: &Conv,
    input: &Map,
    [channels, height, width]: [usize; 3],
    [_, rows, columns]: [usize; 3],
) -> Map {
    let mut output = Vec::with_capacity(conv.out_channels * rows * columns);
    for out in 0..conv.out_channels {
        for y in 0..rows {
            for x in 0..columns {
                let mut sum = f64::from(conv.bias[out]);
                let per_group = channels / conv.groups;
                let first = out / (conv.out_channels / conv.groups) * per_group;
                for channel in first..first + per_group {
                    for ky in 0..conv.kernel[0] {
                        for kx in 0..conv.kernel[1] {
                            let at_y =
                                (y * conv.stride[0] + ky * conv.dilation[0]).wrapping_sub(conv.padding[0]);
                            let at_x =
                                (x * conv.stride[1] + kx * conv.dilation[1]).wrapping_sub(conv.padding[1]);
                            if at_y < height && at_x < width {
                                let row = out * per_group + channel - first;
                                let w = (row * conv.kernel[0] + ky) * conv.kernel[1] + kx;
                                sum += f64::from(conv.weight[w])
                                    * input[(channel * height + at_y) * width + at_x];
                            }
                        }
                    }
                }
                output.push(activate(sum, conv.activation));
            }
        }
    }
    output
}

fn naive_op(op: &Op, values: &[Map], shapes: &[[usize; 3]], shape: [usize; 3]) -> Map {
    let [channels, height, width] = shape;
    match op {
        Op::Conv(conv) => {
            let mut map = naive_conv(conv, &values[conv.input], shapes[conv.input], shape);
            if let Some(residual) = conv.residual {
                map.iter_mut().zip(&values[residual]).for_each(|(a, b)| *a += b);
            }
            map
        }
        Op::Pool { .. }
        | Op::ZeroPad { .. }
        | Op::SpaceToDepth { .. }
        | Op::DepthToSpace { .. }
        | Op::Pick { .. }
        | Op::Attention { .. } => super::moves::naive(op, values, shapes, shape),
        Op::Add { inputs: [a, b] } => values[*a].iter().zip(&values[*b]).map(|(a, b)| a + b).collect(),
        Op::Concat { inputs } => inputs.iter().flat_map(|&input| values[input].clone()).collect(),
        Op::MaxPool { input, size } => {
            let reach = size / 2;
            let mut map = Vec::new();
            for channel in 0..channels {
                for y in 0..height {
                    for x in 0..width {
                        let mut best = f64::NEG_INFINITY;
                        for at_y in y.saturating_sub(reach)..(y + reach + 1).min(height) {
                            for at_x in x.saturating_sub(reach)..(x + reach + 1).min(width) {
                                best = best.max(values[*input][(channel * height + at_y) * width + at_x]);
                            }
                        }
                        map.push(best);
                    }
                }
            }
            map
        }
        Op::Upsample { input, scale } => {
            let mut map = Vec::new();
            for channel in 0..channels {
                for y in 0..height {
                    for x in 0..width {
                        map.push(
                            values[*input]
                                [(channel * (height / scale) + y / scale) * (width / scale) + x / scale],
                        );
                    }
                }
            }
            map
        }
    }
}

/// The channels of a level with a box, an objectness and `classes` scores per anchor.
pub(crate) fn anchor_channels(stride: f32, anchors: &[[f32; 2]], classes: usize) -> LevelChannels {
    let group = |&[width, height]: &[f32; 2]| {
        let bbox = [Channel::CentreX, Channel::CentreY, Channel::Width(width), Channel::Height(height)];
        let classes = vec![Channel::Class; classes];
        bbox.into_iter().chain([Channel::Objectness]).chain(classes).collect()
    };
    LevelChannels { stride, groups: anchors.iter().map(group).collect() }
}

/// What the network makes of `input`, in the order of a plan's output.
pub(crate) fn naive(network: &Network, input: &[f32]) -> Vec<f64> {
    let shapes = network.shapes().unwrap();
    let image = input.len() / network.batch;
    let runs: Vec<Vec<Map>> = input
        .chunks(image)
        .map(|image| {
            let mut values = vec![image.iter().map(|&x| f64::from(x)).collect::<Map>()];
            for (index, op) in network.ops.iter().enumerate() {
                let map = naive_op(op, &values, &shapes, shapes[index + 1]);
                values.push(map);
            }
            values
        })
        .collect();
    match &network.output {
        Output::Maps(values) => {
            values.iter().flat_map(|&value| runs.iter().flat_map(move |run| run[value].clone())).collect()
        }
        Output::Detections(levels) => {
            let mut output = Vec::new();
            for run in &runs {
                for level in levels {
                    let [_, height, width] = shapes[level.value];
                    let mut first_plane = 0;
                    for group in &level.channels.groups {
                        if !matches!(group[0], Channel::CentreX) {
                            let map = &run[level.value];
                            output.extend(by_distances(group, level.channels.stride, map, [height, width]));
                            continue;
                        }
                        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                            let mut objectness = 1.0;
                            for (o, channel) in group.iter().enumerate() {
                                let logit = run[level.value][((first_plane + o) * height + y) * width + x];
                                let s = 1.0 / (1.0 + (-logit).exp());
                                let stride = f64::from(level.channels.stride);
                                output.push(match *channel {
                                    Channel::CentreX => (2.0 * s - 0.5 + x as f64) * stride,
                                    Channel::CentreY => (2.0 * s - 0.5 + y as f64) * stride,
                                    Channel::Width(side) | Channel::Height(side) => {
                                        (2.0 * s) * (2.0 * s) * f64::from(side)
                                    }
                                    Channel::Bin { .. } | Channel::Distance(_) => unreachable!(),
                                    Channel::Class => s * objectness,
                                    Channel::Objectness => {
                                        objectness = s;
                                        continue;
                                    }
                                });
                            }
                        }
                        first_plane += group.len();
                    }
                }
            }
            output
        }
    }
}

/// Rows of boxes by their distances from the centres of the cells: four sides in order, then classes.
fn by_distances(group: &[Channel], stride: f32, map: &Map, [height, width]: [usize; 2]) -> Map {
    let mut rows = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let logit = |channel: usize| map[(channel * height + y) * width + x];
        let distance = |side: Side| -> f64 {
            let (mut total, mut weighted) = (0.0, 0.0);
            for (index, channel) in group.iter().enumerate() {
                match *channel {
                    Channel::Distance(of) if of == side => return logit(index),
                    Channel::Bin { side: of, bin } if of == side => {
                        total += logit(index).exp();
                        weighted += logit(index).exp() * bin as f64;
                    }
                    _ => {}
                }
            }
            weighted / total
        };
        let (column, row) = (x as f64 + 0.5, y as f64 + 0.5);
        let corners = [column - distance(Side::Left), row - distance(Side::Top)];
        let others = [column + distance(Side::Right), row + distance(Side::Bottom)];
        let stride = f64::from(stride);
        rows.extend([0, 1].map(|axis| (corners[axis] + others[axis]) / 2.0 * stride));
        rows.extend([0, 1].map(|axis| (others[axis] - corners[axis]) * stride));
        let classes = group.iter().enumerate().filter(|(_, channel)| **channel == Channel::Class);
        rows.extend(classes.map(|(index, _)| 1.0 / (1.0 + (-logit(index)).exp())));
    }
    rows
}

/// Fails unless every number is within `tolerance` of the reference, relative where that is above 1.
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{what}: {found} at {at}, not {expected}");
    }
}
