//! Networks to prune, and what they compute.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::architecture::VARIANTS;
use yolo_model::weights::StateDict;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::{Yolo, host_values};

pub(crate) use crate::calibrated::networks::{runs_slow, sixteens_architecture, tiny_architecture};

/// A network whose batch normalisation is not the identity anywhere, so that a channel out of place shows.
pub(crate) fn random(architecture: Architecture, seed: u64) -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    randomise_norms(&mut checkpoint.weights, &mut rng);
    checkpoint
}

/// Draws batch normalisation that is the identity nowhere, for networks of every kind.
pub(crate) fn randomise_norms(weights: &mut StateDict, rng: &mut StdRng) {
    for (name, tensor) in weights.iter_mut() {
        let range = match name {
            name if name.ends_with(".bn.weight") => 0.8..2.2,
            name if name.ends_with(".bn.bias") => -0.5..0.5,
            name if name.ends_with(".running_mean") => -0.2..0.2,
            name if name.ends_with(".running_var") => 0.2..1.0,
            _ => continue,
        };
        tensor.f32s_mut().unwrap().iter_mut().for_each(|value| *value = rng.random_range(range.clone()));
    }
}

pub(crate) fn yolov5n() -> Checkpoint {
    random(Architecture::variant("yolov5n", Some(3)).unwrap(), 1)
}

/// Names and architectures of all ten sizes.
pub(crate) fn all_sizes() -> impl Iterator<Item = (&'static str, Architecture)> {
    VARIANTS.iter().map(|(name, _)| (*name, Architecture::variant(name, None).unwrap()))
}

pub(crate) fn released() -> Option<Checkpoint> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/weights/yolov5n.pt"));
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(Checkpoint::load(&path).unwrap())
}

/// An image of smooth blobs with noise, `[1, 3, side, side]`.
pub(crate) fn image(side: usize, seed: u64) -> Tensor<4> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pixels = Vec::new();
    for _ in 0..3 {
        let [a, b, c] = [0; 3].map(|_| rng.random_range(0.02f32..0.2));
        for y in 0..side {
            for x in 0..side {
                let wave = ((x as f32 * a).sin() + (y as f32 * b + x as f32 * c).cos()) * 0.2 + 0.5;
                pixels.push((wave + rng.random_range(-0.1..0.1)).clamp(0.0, 1.0));
            }
        }
    }
    Tensor::from_data(TensorData::new(pixels, [1, 3, side, side]), &Device::flex())
}

/// The logits of all levels, one behind the other.
pub(crate) fn logits(checkpoint: &Checkpoint, images: &Tensor<4>) -> Vec<f32> {
    let network = Yolo::from_checkpoint(checkpoint, &Device::flex()).unwrap();
    network.forward(images.clone()).into_iter().flat_map(|map| host_values(map).unwrap()).collect()
}

/// Largest difference, over the largest magnitude of `expected` (at least 1).
pub(crate) fn difference(actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1.0f32, |scale, value| scale.max(value.abs()));
    actual.iter().zip(expected).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs())) / scale
}
