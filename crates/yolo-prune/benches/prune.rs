//! Pruning of the largest network by magnitude, and fitting of one wide layer.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::reconstruct::{Gram, Schedule, admm, keep_largest, refit};
use yolo_prune::{Method, PruneOptions, Rank, apply, plan};

/// Plan and application for YOLOv5x (86.7 million weights), global L1.
fn magnitudes(c: &mut Criterion) {
    let architecture = Architecture::variant("yolov5x", None).expect("a known size");
    let dense = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(0)).expect("random weights");
    let mut group = c.benchmark_group("yolov5x, global L1, 50 %");
    group.sample_size(10);
    for (name, rank) in [("stored", Rank::Stored), ("fused", Rank::Fused)] {
        let options = PruneOptions { rank, ..PruneOptions::new(Method::Global, 0.5) };
        group.bench_function(name, |b| {
            b.iter(|| {
                let plan = plan(&dense, &options).expect("a plan");
                black_box(apply(&dense, &plan).expect("the plan's network"));
            });
        });
    }
    group.finish();
}

/// 128 rows of 1152 inputs, the widest shape of YOLOv5n.
fn one_layer(c: &mut Criterion) {
    let (rows, inputs, samples) = (128, 1152, 2304);
    let mut rng = StdRng::seed_from_u64(1);
    let x: Vec<f64> = (0..samples * inputs).map(|_| rng.random_range(-0.3..1.0)).collect();
    let mut sums = vec![0.0; inputs * inputs];
    for row in x.chunks(inputs) {
        for (i, a) in row.iter().enumerate() {
            for (to, b) in sums[i * inputs..=i * inputs + i].iter_mut().zip(row) {
                *to += a * b;
            }
        }
    }
    let gram = Gram::new(inputs, sums).expect("moments");
    let weights: Vec<f32> = (0..rows * inputs).map(|_| rng.random_range(-1.0..1.0)).collect();
    let scores: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
    let half = weights.len() / 2;
    let keep = keep_largest(&scores, half);
    let mut group = c.benchmark_group("128 × 1152, 50 %");
    group.sample_size(10);
    group.bench_function("refit", |b| b.iter(|| black_box(refit(&gram, &weights, &keep).expect("weights"))));
    group.bench_function("admm", |b| {
        b.iter(|| {
            let choose = |scores: &[f32]| keep_largest(scores, half);
            black_box(admm(&gram, &weights, Schedule::default(), choose).expect("weights"))
        });
    });
    group.finish();
}

criterion_group!(benches, magnitudes, one_layer);
criterion_main!(benches);
