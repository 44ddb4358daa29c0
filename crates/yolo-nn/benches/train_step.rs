//! Forward and backward of yolov5n, batch 8 at 320 pixels, and of the operations in it.
//!
//! With `--features flex` the network runs on this crate's kernels, without on Burn's operations; the single
//! operations are measured both ways in one run. `benches/peers/train_step.py` measures PyTorch.

use std::hint::black_box;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation, module};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::Yolo;
use yolo_nn::kernels::{self, Then};

const BATCH: usize = 8;
const PIXELS: usize = 320;

fn network(device: &Device) -> Option<Yolo> {
    let architecture = Architecture::variant("yolov5n", Some(80)).ok()?;
    let checkpoint = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0)).ok()?;
    Yolo::from_checkpoint(&checkpoint, device).ok()
}

fn loss(levels: Vec<Tensor<4>>) -> Option<Tensor<1>> {
    levels.into_iter().map(|level| level.square().sum()).reduce(|a, b| a + b)
}

fn step(criterion: &mut Criterion) {
    // As a program that trains does.
    kernels::keep_freed_memory();
    let device = Device::flex().autodiff();
    let Some(network) = network(&device) else { return };
    let uniform = Distribution::Uniform(0.0, 1.0);
    let images = Tensor::<4>::random([BATCH, 3, PIXELS, PIXELS], uniform, &device);
    let mut group = criterion.benchmark_group("yolov5n");
    group.sample_size(10);
    // Not the forward pass alone: a graph that nobody walks back through is never freed.
    group.bench_function("forward_backward", |bencher| {
        bencher.iter(|| loss(network.forward(images.clone())).map(|loss| loss.backward()));
    });
    group.finish();
}

/// Channels in and out, pixels, kernel, stride.
const CONVOLUTIONS: [[usize; 5]; 5] =
    [[3, 16, 320, 6, 2], [16, 32, 160, 3, 2], [32, 32, 80, 1, 1], [32, 32, 40, 3, 1], [64, 64, 20, 3, 1]];

fn convolutions(criterion: &mut Criterion) {
    let device = Device::flex().autodiff();
    let random = |shape| Tensor::<4>::random(shape, Distribution::Default, &device);
    let mut group = criterion.benchmark_group("conv2d_forward_backward");
    group.sample_size(10);
    for [inputs, outputs, pixels, kernel, stride] in CONVOLUTIONS {
        let x = random([BATCH, inputs, pixels, pixels]).require_grad();
        let weight = random([outputs, inputs, kernel, kernel]).require_grad();
        let options = ConvOptions::new([stride; 2], [(kernel - 1) / 2; 2], [1; 2], 1);
        let name = format!("{inputs}-{outputs} k{kernel} s{stride} {pixels}");
        group.bench_function(BenchmarkId::new("ours", &name), |bencher| {
            bencher.iter(|| {
                let y = kernels::conv2d(x.clone(), weight.clone(), None, options.clone(), Then::Nothing);
                y.sum().backward()
            });
        });
        group.bench_function(BenchmarkId::new("burn", &name), |bencher| {
            bencher
                .iter(|| module::conv2d(x.clone(), weight.clone(), None, options.clone()).sum().backward());
        });
    }
    group.finish();
}

fn norm_and_activation(criterion: &mut Criterion) {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::random([BATCH, 32, 80, 80], Distribution::Default, &device).require_grad();
    let [gamma, beta] = [Tensor::<1>::ones([32], &device), Tensor::<1>::zeros([32], &device)];
    let [gamma, beta] = [gamma.require_grad(), beta.require_grad()];
    let mut group = criterion.benchmark_group("batch_norm_silu_forward_backward/8x32x80x80");
    group.sample_size(10);
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            let (x, gamma, beta) = (x.clone(), gamma.clone(), beta.clone());
            black_box(kernels::batch_norm_train(x, gamma, beta, 1e-3, Then::Silu).output.sum().backward())
        });
    });
    group.bench_function("burn", |bencher| {
        bencher.iter(|| {
            let z = module::batch_norm_train(x.clone(), gamma.clone(), beta.clone(), 1e-3).output;
            black_box(activation::silu(z).sum().backward())
        });
    });
    group.finish();
}

criterion_group!(benches, step, convolutions, norm_and_activation);
criterion_main!(benches);
