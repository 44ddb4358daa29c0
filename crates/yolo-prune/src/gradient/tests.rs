//! Gradients against finite differences of a loss that is written out.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use yolo_model::modules::SppfSpec;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use yolo_model::Checkpoint;

use super::*;
use crate::networks::{Map, device, layers, pixels, tensor, tiny};
use crate::{CalibrationImages, ImageBatch};

const SHAPE: [usize; 3] = [2, 64, 64];

fn batch(seed: u64) -> ImageBatch {
    ImageBatch { pixels: pixels(SHAPE, seed), n: SHAPE[0], height: SHAPE[1], width: SHAPE[2] }
}

fn logits(checkpoint: &Checkpoint, batch: &ImageBatch) -> Vec<Map> {
    layers(checkpoint, tensor(&batch.pixels, SHAPE)).1
}

/// A logit's answer, and how much it counts.
struct Answer {
    label: f64,
    weight: f64,
}

/// The answers that the network gives itself, in the order of the logits.
fn answers(levels: &[Map], n_outputs: usize, labels: Labels) -> Vec<Answer> {
    let sigmoid = |z: f32| 1.0 / (1.0 + f64::from(-z).exp());
    let mut draws = Draws::default();
    let mut answers = Vec::new();
    for map in levels {
        let [n, channels, height, width] = map.dims;
        let area = height * width;
        let mut level: Vec<Option<Answer>> = (0..map.values.len()).map(|_| None).collect();
        // The draws go anchor by anchor, cell by cell, output by output.
        for anchor in 0..n * channels / n_outputs {
            for cell in 0..area {
                let at = |output: usize| (anchor * n_outputs + output) * area + cell;
                let object = sigmoid(map.values[at(4)]);
                for output in 0..n_outputs {
                    let p = sigmoid(map.values[at(output)]);
                    let label = match labels {
                        Labels::Pseudo if output < 4 => p,
                        Labels::Pseudo => f64::from(u8::from(map.values[at(output)] > 0.0)),
                        Labels::Drawn => f64::from(u8::from(f64::from(draws.unit()) < p)),
                    };
                    level[at(output)] =
                        Some(Answer { label, weight: if output == 4 { 1.0 } else { object } });
                }
            }
        }
        answers.extend(level.into_iter().map(Option::unwrap));
    }
    answers
}

/// Binary cross-entropy of the logits with the answers.
fn loss(levels: &[Map], answers: &[Answer]) -> f64 {
    let logits = levels.iter().flat_map(|map| &map.values);
    let one = |(z, answer): (&f32, &Answer)| {
        let z = f64::from(*z);
        answer.weight * (z.max(0.0) - z * answer.label + (-z.abs()).exp().ln_1p())
    };
    logits.zip(answers).map(one).sum()
}

fn gradients_of(
    checkpoint: &Checkpoint,
    images: &CalibrationImages,
    labels: Labels,
) -> HashMap<String, Vec<f32>> {
    let mut all = HashMap::new();
    let mut batches = 0;
    let each = |name: &str, gradient: &[f32]| {
        all.insert(name.to_owned(), gradient.to_vec());
        Ok(())
    };
    gradients(checkpoint, images, &device(), labels, each, || batches += 1).unwrap();
    assert_eq!(batches, images.batches().len());
    all
}

/// Two estimates with central differences, the second without the error of the second order.
fn slope(at: impl Fn(f64) -> f64, step: f64) -> f64 {
    let central = |step: f64| (at(step) - at(-step)) / (2.0 * step);
    (4.0 * central(step / 2.0) - central(step)) / 3.0
}

#[test]
fn gradients_are_finite_differences_of_the_loss() {
    let mut unfused = tiny(21);
    for layer in &mut unfused.architecture.layers {
        if let Some(sppf) = layer.block.get_mut::<SppfSpec>() {
            // Windows of one pixel have no kinks, at which difference quotients say nothing.
            sppf.pool = 1;
        }
    }
    let fused = unfused.fuse().unwrap();
    let n_outputs = unfused.architecture.head().level(0).groups[0].len();
    let batch = batch(22);
    let images = CalibrationImages::new([batch.clone()]).unwrap();
    let mut rng = StdRng::seed_from_u64(23);
    for (checkpoint, labels) in [
        (&unfused, Labels::Pseudo),
        (&unfused, Labels::Drawn),
        (&fused, Labels::Pseudo),
        (&fused, Labels::Drawn),
    ] {
        let gradients = gradients_of(checkpoint, &images, labels);
        let answers = answers(&logits(checkpoint, &batch), n_outputs, labels);
        for conv in checkpoint.architecture.convs() {
            let name = conv.weight();
            let gradient = &gradients[&name];
            let rms = |values: &[f32]| {
                (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
            };
            // What a random direction is expected to give.
            let scale = rms(gradient) * (gradient.len() as f64).sqrt();
            // All weights at once: single ones drown in the rounding of the logits. The loss is to move by about 0.05,
            // which rounding (some 1e-5) does not blur.
            let step = (0.05 / scale).min(0.05 * rms(checkpoint.weights.f32s(&name).unwrap()));
            for _ in 0..2 {
                let signs: Vec<f64> =
                    gradient.iter().map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
                let at = |change: f64| {
                    let mut moved = checkpoint.clone();
                    let weights = moved.weights.get_mut(&name).unwrap().f32s_mut().unwrap();
                    for (weight, sign) in weights.iter_mut().zip(&signs) {
                        *weight = (f64::from(*weight) + change * sign) as f32;
                    }
                    loss(&logits(&moved, &batch), &answers)
                };
                let expected = slope(at, step);
                let actual: f64 = gradient.iter().zip(&signs).map(|(g, sign)| f64::from(*g) * sign).sum();
                assert!(
                    (actual - expected).abs() < 0.01 * scale,
                    "{name}: {actual} is not {expected} of {scale}"
                );
            }
        }
    }
}

/// The signs of the slopes follow from what is drawn; over many draws their mean is zero.
#[test]
fn draws_are_uniform() {
    let mut draws = Draws::default();
    let values: Vec<f32> = (0..100_000).map(|_| draws.unit()).collect();
    assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
    for p in [0.01, 0.3, 0.5, 0.9] {
        let share = values.iter().filter(|value| **value < p).count() as f32 / 1e5;
        // Five standard deviations.
        assert!((share - p).abs() < 5.0 * (p * (1.0 - p) / 1e5).sqrt(), "{share} of {p}");
    }
}

#[test]
fn damaged_weights_are_named() {
    let mut damaged = tiny(24);
    damaged.weights.get_mut("model.3.conv.weight").unwrap().f32s_mut().unwrap()[0] = f32::NAN;
    let images = CalibrationImages::new([batch(25)]).unwrap();
    let error = gradients(&damaged, &images, &device(), Labels::Pseudo, |_, _| Ok(()), || {}).unwrap_err();
    assert!(matches!(error, PruneError::NotFinite { .. }), "{error}");
}
