//! A batch on several devices, against its parts on one.
#![allow(clippy::unwrap_used)]
use rand::{Rng, SeedableRng, rngs::StdRng};
use yolo_eval::Cxcywh;
use yolo_model::LossTerm;
use yolo_nn::NamedValues;

use super::*;
use crate::distill::DistillationOptions;
use crate::hyper::Hyperparameters;
use crate::optimizer::{PerParameter, accumulate};

const SIZE: usize = 64;

#[test]
fn images_are_shared_out_evenly() {
    assert_eq!(shards(7, 3), [0..3, 3..5, 5..7]);
    assert_eq!(shards(4, 2), [0..2, 2..4]);
    assert_eq!(shards(2, 3), [0..1, 1..2, 2..2]);
    assert_eq!(shards(5, 1).first(), Some(&(0..5)));
}

/// `n` images of noise with an object or two each.
fn batch(n: usize) -> TrainBatch {
    let mut rng = StdRng::seed_from_u64(7);
    let mut target = |image: usize| {
        let (w, h) = (rng.random_range(0.2..0.6), rng.random_range(0.2..0.6));
        let bbox_norm = Cxcywh { cx: rng.random_range(0.3..0.7), cy: rng.random_range(0.3..0.7), w, h };
        Target { image, class: rng.random_range(0..3), bbox_norm }
    };
    let targets = (0..n).flat_map(|image| vec![image; 1 + image % 2]).map(&mut target).collect();
    TrainBatch {
        pixels: (0..n * 3 * SIZE * SIZE).map(|_| rng.random()).collect(),
        height: SIZE,
        width: SIZE,
        targets,
        item_indices: (0..n).collect(),
        skipped: Vec::new(),
        warnings: Vec::new(),
    }
}

/// The images `shard` of `batch` as a batch of their own.
fn part(batch: &TrainBatch, shard: Range<usize>) -> TrainBatch {
    let per_image = 3 * SIZE * SIZE;
    let inside = batch.targets.iter().filter(|target| shard.contains(&target.image));
    TrainBatch {
        pixels: batch.pixels[shard.start * per_image..shard.end * per_image].to_vec(),
        targets: inside.map(|t| Target { image: t.image - shard.start, ..*t }).collect(),
        item_indices: shard.collect(),
        skipped: Vec::new(),
        warnings: Vec::new(),
        ..*batch
    }
}

fn network(seed: u64) -> Checkpoint {
    let yaml = include_str!("../../../../../configs/models/demo.yaml");
    let architecture = Architecture::from_yaml(yaml, None).unwrap();
    Checkpoint::random(architecture, &mut StdRng::seed_from_u64(seed)).unwrap()
}

/// What `batch` gives on `n_devices`.
fn run(n_devices: usize, batch: &TrainBatch) -> BatchResult {
    let (checkpoint, teacher) = (network(0), network(1));
    let options = TrainOptions {
        distillation: Some(DistillationOptions::default()),
        multi_scale: true,
        ..TrainOptions::new(1, 8, SIZE)
    };
    let head = checkpoint.architecture.head();
    let loss = DetectionLoss::new(head, Hyperparameters::default().loss_options(head, SIZE, 0.0, true));
    let devices = vec![Device::flex(); n_devices];
    let mut replicas =
        Replicas::new((&devices[0], &devices[1..]), &options, Some(&teacher), &checkpoint.architecture)
            .unwrap();
    let work = Work {
        checkpoint: &checkpoint,
        batch,
        loss: &loss,
        loss_scale: 4.0,
        options: &options,
        stride: 32,
        batch_number: 3,
    };
    replicas.run(&work).unwrap()
}

fn summed(gradients: impl IntoIterator<Item = NamedValues>) -> PerParameter {
    let mut sum = PerParameter::new();
    accumulate(&mut sum, gradients.into_iter().collect());
    sum
}

#[test]
fn several_devices_give_what_their_parts_give_on_one() {
    let whole = batch(5);
    let together = run(2, &whole);
    let parts = [run(1, &part(&whole, 0..3)), run(1, &part(&whole, 3..5))];
    let mean = |value: fn(&BatchResult) -> f64| (3.0 * value(&parts[0]) + 2.0 * value(&parts[1])) / 5.0;
    let figures: [fn(&BatchResult) -> f64; 5] = [
        |r| r.terms.get(LossTerm::Box).unwrap(),
        |r| r.terms.get(LossTerm::Objectness).unwrap(),
        |r| r.terms.get(LossTerm::Class).unwrap(),
        |r| r.distillation,
        |r| r.level_objectness[2],
    ];
    for (i, figure) in figures.into_iter().enumerate() {
        let (got, expected) = (figure(&together), mean(figure));
        assert!((got / expected - 1.0).abs() < 1e-12, "figure {i}: {got}, {expected}");
    }
    assert_eq!((together.n_images, together.image_size), (5, parts[0].image_size));
    assert_eq!(together.statistics, parts[0].statistics, "those of the first device");
    let [first, second] = parts.map(|part| part.gradients);
    assert_ne!(first[0].1, second[0].1);
    assert!(summed(together.gradients) == summed(first.into_iter().chain(second)), "the gradients differ");
}

#[test]
fn more_devices_than_images_are_no_obstacle() {
    let whole = batch(2);
    let (one, three) = (run(2, &whole), run(3, &whole));
    assert!(one.gradients == three.gradients && one.terms == three.terms);
}
