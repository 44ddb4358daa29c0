//! Times of single convolutions and of whole networks at several sparsities, on the kernels that were fastest; of depthwise
//! convolutions and of attention.
//!
//!     cargo bench -p yolo-runtime --bench runtime
#![allow(missing_docs, clippy::expect_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use yolo_model::program::{AttentionOrder, AttentionSpec};
use yolo_model::{Architecture, Checkpoint};
use yolo_runtime::{Activation, Conv, Network, Op, Options, Output, Plan, Selection};

/// Zeros in percent.
const SPARSITIES: [u32; 4] = [0, 50, 70, 80];

/// Convolutions of YOLOv5s at 640 pixels: output channels, input channels, window, stride, side of the input.
const LAYERS: [[usize; 5]; 6] = [
    [64, 32, 3, 2, 320],
    [32, 32, 3, 1, 160],
    [64, 128, 1, 1, 80],
    [64, 64, 3, 1, 80],
    [256, 256, 1, 1, 40],
    [512, 256, 3, 2, 40],
];

/// Depthwise convolutions of 3×3 in the heads of YOLO11 and YOLO26: channels and side of the input.
const DEPTHWISE: [[usize; 2]; 4] = [[80, 80], [128, 80], [128, 40], [256, 20]];

/// Attention in YOLO11n and YOLO11m at 640 pixels: heads, with keys of 32 and values of 64 channels, and side of the map.
const ATTENTION: [[usize; 2]; 2] = [[2, 20], [4, 20]];

fn options() -> Options {
    Options { selection: Selection::Measure, ..Options::default() }
}

fn strew(weights: &mut [f32], percent: u32, rng: &mut StdRng) {
    for weight in weights {
        if rng.random_ratio(percent, 100) {
            *weight = 0.0;
        }
    }
}

fn layer([out_channels, in_channels, window, stride, side]: [usize; 5], percent: u32) -> Network {
    let mut rng = StdRng::seed_from_u64(0);
    let filter = in_channels * window * window;
    let scale = 1.0 / (filter as f32).sqrt();
    let mut weight: Vec<f32> = (0..out_channels * filter).map(|_| rng.random_range(-scale..scale)).collect();
    strew(&mut weight, percent, &mut rng);
    let conv = Conv {
        name: "conv".to_owned(),
        input: 0,
        weight,
        bias: vec![0.1; out_channels],
        out_channels,
        groups: 1,
        kernel: [window; 2],
        stride: [stride; 2],
        padding: [window / 2; 2],
        dilation: [1, 1],
        activation: Activation::Silu,
        residual: None,
    };
    Network {
        batch: 1,
        input: [in_channels, side, side],
        ops: vec![Op::Conv(conv)],
        output: Output::Maps(vec![1]),
    }
}

fn depthwise([channels, side]: [usize; 2]) -> Network {
    let mut network = layer([channels, 1, 3, 1, side], 0);
    network.input[0] = channels;
    for op in &mut network.ops {
        if let Op::Conv(conv) = op {
            conv.groups = channels;
        }
    }
    network
}

fn attention([heads, side]: [usize; 2]) -> Network {
    let spec = AttentionSpec { heads, key: 32, order: AttentionOrder::ByHead };
    Network {
        batch: 1,
        input: [128 * heads, side, side],
        ops: vec![Op::Attention { input: 0, spec }],
        output: Output::Maps(vec![1]),
    }
}

/// YOLOv5n, all convolutions but the stem and the head with zeros.
fn yolov5n(percent: u32) -> Option<Network> {
    let mut rng = StdRng::seed_from_u64(0);
    let mut checkpoint = Checkpoint::random(Architecture::variant("yolov5n", Some(80)).ok()?, &mut rng)
        .ok()?
        .into_fused()
        .ok()?
        .into_checkpoint();
    for conv in checkpoint.architecture.convs().iter().filter(|conv| !conv.is_bare).skip(1) {
        strew(checkpoint.weights.get_mut(&conv.weight())?.f32s_mut().ok()?, percent, &mut rng);
    }
    Network::of(&checkpoint.into_fused().ok()?, 1, [640, 640]).ok()
}

fn run(criterion: &mut Criterion, group: &str, percent: u32, network: impl Fn() -> Network) {
    criterion.benchmark_group(group).bench_function(format!("{percent} % zeros"), |bencher| {
        // In here, so that only benches that were asked for are planned.
        let plan = Plan::new(network(), &options()).expect("a network that fits together");
        let images = vec![0.5; plan.input_len()];
        let mut output = vec![0.0; plan.output_len()];
        bencher.iter(|| plan.run(black_box(&images), &mut output));
    });
}

fn layers(criterion: &mut Criterion) {
    for geometry in LAYERS {
        let [out_channels, in_channels, window, stride, side] = geometry;
        let group =
            format!("{out_channels}x{in_channels}x{window}x{window} stride {stride} of {side}x{side}");
        for percent in SPARSITIES {
            run(criterion, &group, percent, || layer(geometry, percent));
        }
    }
}

fn blocks(criterion: &mut Criterion) {
    for [channels, side] in DEPTHWISE {
        let group = format!("depthwise {channels}x3x3 of {side}x{side}");
        run(criterion, &group, 0, || depthwise([channels, side]));
    }
    for [heads, side] in ATTENTION {
        run(criterion, &format!("attention of {heads} heads of {side}x{side}"), 0, || {
            attention([heads, side])
        });
    }
}

fn networks(criterion: &mut Criterion) {
    for percent in SPARSITIES {
        run(criterion, "yolov5n at 640", percent, || yolov5n(percent).expect("a stock network"));
    }
}

criterion_group!(benches, layers, blocks, networks);
criterion_main!(benches);
