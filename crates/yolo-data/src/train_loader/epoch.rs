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
    /// Images per batch; 0 counts as 1. The last batch may be smaller.
    pub batch_size: usize,
    /// Longer side of a loaded image, in pixels.
    pub image_size: u32,
    /// Height and width of rectangular batches are multiples of this.
    pub stride: u32,
    /// Whether batches take the shape of their images. A batch then holds the same images in every epoch, and only
    /// the order of the batches changes.
    pub rect: bool,
    /// Seed of everything random.
    pub seed: u64,
}

/// The batches of `epoch` for images of the given original `sizes` (`(width, height)`, no side 0).
///
/// Without `weights`, every image occurs once, in an order that follows from seed and epoch. With them (see
/// [`image_weights`]), the same number of images is drawn with replacement, and batches are square even with `rect`;
/// if no weight is above 0, every image is equally likely.
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
            // Rounding may put the product at the end, which belongs to the last weight above 0.
            sums.partition_point(|&sum| sum <= at).min(sums.partition_point(|&sum| sum < total))
        } else {
            rng.random_range(0..weights.len())
        }
    };
    (0..weights.len()).map(draw).collect()
}

/// Weights for [`epoch_plans`] that prefer images with objects of rare classes and of classes with a low average
/// precision.
///
/// `class_map` is the average precision of every class so far, 0 at the start and for classes beyond its end. A
/// class weighs (1 / its number of objects, at least 1, normalised so that all sum to 1) · (1 − AP)², and an
/// image weighs as much as its objects together. Labels of class `num_classes` and above are ignored.
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

#[cfg(test)]
mod tests {
    use yolo_eval::Cxcywh;

    use super::*;
    use crate::dataset::Label;

    const OPTIONS: EpochOptions =
        EpochOptions { batch_size: 4, image_size: 640, stride: 32, rect: false, seed: 5 };

    fn order(plans: &[BatchPlan]) -> Vec<usize> {
        plans.iter().flat_map(|plan| plan.indices.iter().copied()).collect()
    }

    #[test]
    fn every_image_occurs_once_in_an_order_that_depends_on_the_epoch() {
        let sizes = vec![(640, 480); 10];
        let plans = epoch_plans(&sizes, &OPTIONS, 3, None);
        assert_eq!(plans.iter().map(|p| p.indices.len()).collect::<Vec<_>>(), [4, 4, 2]);
        assert!(plans.iter().all(|p| (p.height, p.width) == (640, 640)));
        let mut all = order(&plans);
        assert_eq!(plans, epoch_plans(&sizes, &OPTIONS, 3, None));
        assert_ne!(all, order(&epoch_plans(&sizes, &OPTIONS, 4, None)));
        assert_ne!(all, order(&epoch_plans(&sizes, &EpochOptions { seed: 6, ..OPTIONS }, 3, None)));
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn rectangular_batches_keep_their_images_and_change_order() {
        let sizes: Vec<_> = (1..=40).map(|i| (640, 100 + 10 * i)).collect();
        let options = EpochOptions { rect: true, ..OPTIONS };
        let [first, second] = [0, 1].map(|epoch| epoch_plans(&sizes, &options, epoch, None));
        assert_ne!(first, second);
        let sorted = |mut plans: Vec<BatchPlan>| {
            plans.sort_unstable_by_key(|plan| plan.indices[0]);
            plans
        };
        assert_eq!(sorted(first.clone()), sorted(second));
        // 100 + 10 · 4 = 140 pixels, rounded up to whole strides, without border.
        assert_eq!(sorted(first)[0], BatchPlan { indices: vec![0, 1, 2, 3], height: 160, width: 640 });
    }

    #[test]
    fn weighted_images_occur_in_proportion_to_their_weight() {
        let sizes = vec![(640, 480); 4000];
        let weights: Vec<f64> = (0..4000).map(|i| f64::from(i % 4)).collect();
        let options = EpochOptions { rect: true, ..OPTIONS };
        let plans = epoch_plans(&sizes, &options, 0, Some(&weights));
        assert!(plans.iter().all(|p| (p.height, p.width) == (640, 640)));
        let mut counts = [0.0_f64; 4];
        order(&plans).iter().for_each(|i| counts[i % 4] += 1.0);
        assert_eq!(counts[0], 0.0);
        for (weight, count) in counts.iter().enumerate().skip(1) {
            let expected = 4000.0 * weight as f64 / 6.0;
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{counts:?}");
        }
        assert_eq!(order(&epoch_plans(&sizes[..5], &OPTIONS, 0, Some(&[0.0; 5]))).len(), 5);
        assert!(epoch_plans(&[], &OPTIONS, 0, Some(&[])).is_empty());
    }

    #[test]
    fn rare_classes_and_classes_of_low_precision_weigh_more() {
        let item = |classes: &[u32]| {
            let label =
                |&class: &u32| Label { class, bbox_norm: Cxcywh::default(), polygon_norm: Vec::new() };
            let labels = classes.iter().map(label).collect();
            Item { image: "x".into(), width: 10, height: 10, labels }
        };
        let items = [item(&[0, 0, 1]), item(&[0, 0, 9]), item(&[])];
        // Counts 4, 1 and 0 give 1/4, 1 and 1, of 9/4 together; the missing parts are 1/2, 1 and 1. So an object
        // of class 0 weighs 1/9 · 1/4, and one of class 1 weighs 4/9.
        let weights = image_weights(&items, &[0.5], 3);
        let expected = [1.0 / 18.0 + 4.0 / 9.0, 1.0 / 18.0, 0.0];
        for (weight, expected) in weights.iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-12, "{weights:?}");
        }
    }
}
