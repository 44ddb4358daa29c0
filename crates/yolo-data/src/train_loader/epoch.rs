//! Which images an epoch uses, in which order and in which batches.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::seed;
use crate::dataset::Item;
use crate::rect::{BatchOptions, BatchPlan, plan_batches};

/// How an epoch is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochOptions {
    /// Images per batch; 0 counts as 1. The last batch holds what is left.
    pub batch_size: usize,
    /// Longer side of a loaded image, in pixels.
    pub image_size: u32,
    /// Height and width of rectangular batches are multiples of this.
    pub stride: u32,
    /// Whether batches take the shape of their images. Then an image has the same companions in every epoch, and
    /// only the order of the batches changes.
    pub rect: bool,
    /// Seed of everything random.
    pub seed: u64,
}

/// The batches of `epoch` for images of the given original `sizes` (`(width, height)`, no side 0).
///
/// Without `weights`, every image comes once, in an order that follows from seed and epoch. With them (see
/// [`image_weights`]), as many images as there are get drawn with replacement, and batches are square whatever
/// `rect` says; where no weight is above 0, every image is equally likely.
///
/// # Panics
/// If `weights` has another length than `sizes`.
pub fn epoch_plans(
    sizes: &[(u32, u32)],
    options: &EpochOptions,
    epoch: usize,
    weights: Option<&[f64]>,
) -> Vec<BatchPlan> {
    let mut rng = StdRng::seed_from_u64(seed::of_order(options.seed, epoch));
    if options.rect && weights.is_none() {
        let EpochOptions { batch_size, image_size, stride, .. } = *options;
        let mut plans =
            plan_batches(sizes, &BatchOptions { image_size, batch_size, stride, pad: 0.0, rect: true });
        plans.shuffle(&mut rng);
        return plans;
    }
    let order = match weights {
        Some(weights) => {
            assert_eq!(weights.len(), sizes.len(), "one weight for each image");
            draw_with_replacement(weights, &mut rng)
        }
        None => {
            let mut order: Vec<usize> = (0..sizes.len()).collect();
            order.shuffle(&mut rng);
            order
        }
    };
    let side = options.image_size as usize;
    let batch = |indices: &[usize]| BatchPlan { indices: indices.to_vec(), height: side, width: side };
    order.chunks(options.batch_size.max(1)).map(batch).collect()
}

/// As many indices as there are `weights`, each drawn with a probability in proportion to its weight; weights
/// below 0 count as 0.
fn draw_with_replacement(weights: &[f64], rng: &mut impl Rng) -> Vec<usize> {
    let mut total = 0.0;
    let sums: Vec<f64> = weights
        .iter()
        .map(|weight| {
            total += weight.max(0.0);
            total
        })
        .collect();
    let draw = |_| {
        if total > 0.0 {
            let at = rng.random::<f64>() * total;
            // Rounding could put the product on the end, so the last weight above 0 takes it.
            sums.partition_point(|&sum| sum <= at).min(sums.partition_point(|&sum| sum < total))
        } else {
            rng.random_range(0..weights.len())
        }
    };
    (0..weights.len()).map(draw).collect()
}

/// Weights for [`epoch_plans`] that prefer images with objects of rare classes and of classes that are detected
/// badly.
///
/// `class_map` is the average precision of every class so far, 0 at the start and for classes beyond its end. A
/// class weighs (1 / its number of objects, at least 1, normalised so that all sum to 1) · (1 − AP)², and an
/// image as much as its objects together. Labels of class `num_classes` and above count nothing.
pub fn image_weights(items: &[Item], class_map: &[f64], num_classes: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; num_classes];
    for label in items.iter().flat_map(|item| &item.labels) {
        if let Some(count) = counts.get_mut(label.class as usize) {
            *count += 1;
        }
    }
    let rarity: Vec<f64> = counts.iter().map(|&count| 1.0 / count.max(1) as f64).collect();
    let total: f64 = rarity.iter().sum();
    let class_weight = |(class, rarity): (usize, &f64)| {
        let missing = 1.0 - class_map.get(class).copied().unwrap_or(0.0);
        rarity / total * missing * missing
    };
    let class_weights: Vec<f64> = rarity.iter().enumerate().map(class_weight).collect();
    let weight =
        |item: &Item| item.labels.iter().filter_map(|label| class_weights.get(label.class as usize)).sum();
    items.iter().map(weight).collect()
}
