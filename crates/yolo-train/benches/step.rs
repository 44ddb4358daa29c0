//! Where the time of a training step goes: YOLOv5n, batch 8, 320 pixels.
//!
//! `masks` is what pruning adds to a step and to an epoch. With `--test`, as in CI, everything runs once.

use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::Yolo;
use yolo_prune::{Method, PruneOptions, apply, plan};
use yolo_train::ema::Ema;
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::DetectionLoss;
use yolo_train::masks::Masks;
use yolo_train::optimizer::{Optimizer, PerParameter, Rule, clip};
use yolo_train::schedule::Rates;

const BATCH: usize = 8;
const SIZE: usize = 320;
const OBJECTS_PER_IMAGE: usize = 10;
const RATES: Rates = Rates { bias_lr: 1e-6, lr: 1e-6, momentum: 0.9, accumulate: 1 };

fn network() -> Checkpoint {
    let architecture = Architecture::variant("yolov5n", Some(80)).expect("a stock network");
    Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0)).expect("weights")
}

fn pixels(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..BATCH * 3 * SIZE * SIZE).map(|i| (i * 7919 % 256) as f32 / 255.0).collect();
    Tensor::from_data(TensorData::new(values, [BATCH, 3, SIZE, SIZE]), device)
}

fn targets() -> Vec<Target> {
    let place = |i: usize, step: f32| (i as f32 * step).fract() * 0.8 + 0.1;
    let target = |i: usize| Target {
        image: i / OBJECTS_PER_IMAGE,
        class: (i * 7 % 80) as u32,
        bbox_norm: Cxcywh { cx: place(i, 0.37), cy: place(i, 0.61), w: place(i, 0.17) * 0.4, h: 0.2 },
    };
    (0..BATCH * OBJECTS_PER_IMAGE).map(target).collect()
}

fn whole_step(
    checkpoint: &Checkpoint,
    device: &Device,
    loss: &DetectionLoss,
    pixels: &Tensor<4>,
) -> PerParameter {
    let model = Yolo::from_checkpoint(checkpoint, device).expect("a network");
    let maps = model.forward(Tensor::from_inner(pixels.clone()));
    let loss = loss.forward(&maps, &targets()).expect("a loss");
    model.gradients(&loss.total.backward()).expect("gradients").into_iter().collect()
}

fn step(c: &mut Criterion) {
    // As the program does.
    yolo_nn::kernels::keep_freed_memory();
    let device = Device::flex().autodiff();
    let mut checkpoint = network();
    let head = checkpoint.architecture.head();
    let options = Hyperparameters::default().loss_options(head, SIZE, 0.0, false);
    let loss = DetectionLoss::new(head, options);
    let input = pixels(&Device::flex());
    let mut group = c.benchmark_group("step");
    group.sample_size(10);
    group.bench_function("forward, loss and backward", |b| {
        b.iter(|| black_box(whole_step(&checkpoint, &device, &loss, &input)));
    });
    let gradients = whole_step(&checkpoint, &device, &loss, &input);
    // A graph that nobody walks back through is never freed, so the loss is timed where none is recorded.
    let plain = Yolo::from_checkpoint(&checkpoint, &Device::flex()).expect("a network");
    let maps = plain.forward(input.clone());
    group.bench_function("loss alone, without its gradient", |b| {
        b.iter(|| black_box(loss.forward(&maps, &targets()).expect("a loss").terms));
    });
    let mut optimizer = Optimizer::new(Rule::Sgd, 5e-4);
    let mut ema = Ema::new(&checkpoint.weights);
    group.bench_function("clip, optimiser and average", |b| {
        b.iter(|| {
            let mut gradients = gradients.clone();
            clip(&mut gradients);
            optimizer.step(&mut checkpoint.weights, &gradients, &RATES).expect("a step");
            ema.update(&checkpoint.weights).expect("an average");
        });
    });
    group.finish();
}

fn masks(c: &mut Criterion) {
    let dense = network();
    let plan = plan(&dense, &PruneOptions::new(Method::Global, 0.5)).expect("a plan");
    let pruned = apply(&dense, &plan).expect("a pruned network");
    let masks = Masks::of(&plan);
    let values =
        pruned.weights.iter().filter_map(|(name, t)| Some((name.to_owned(), t.f32s().ok()?.to_vec())));
    let mut gradients: PerParameter = values.collect();
    let mut group = c.benchmark_group("masks");
    group
        .bench_function("of gradients, every step", |b| b.iter(|| masks.apply_to(black_box(&mut gradients))));
    group.bench_function("check, every epoch", |b| {
        b.iter(|| masks.check(black_box(&pruned.weights), "the weights").expect("all zero"));
    });
    group.finish();
}

criterion_group!(benches, step, masks);
criterion_main!(benches);
