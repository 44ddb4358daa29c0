//! AutoAnchor: checks whether the anchors of a network fit the labels of a data set, and finds better ones if not.
//!
//! Sizes are widths and heights in pixels of the network's input. A label and an anchor fit if neither side of
//! one is more than `anchor_t` times that of the other; the loss trains only on pairs that fit.
//!
//! Formulas: `docs/yolov5-spec.md` §10.9 (the check, the estimate) and §2 (the order of levels).

mod estimate;
mod kmeans;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rayon::prelude::*;

use crate::dataset::Item;
use crate::{DataError, Result};
pub use estimate::{Estimate, EstimateOrigin, kmeans_anchors};

/// Anchors with a higher [`AnchorFit::best_possible_recall`] are kept.
const GOOD_RECALL: f64 = 0.98;
/// Generations of the genetic refinement.
const GENERATIONS: usize = 1000;
/// Number of sizes that one task sums. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 4096;

/// How well a set of anchors fits a set of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnchorFit {
    /// Share of the sizes that at least one anchor fits, 0 to 1; 0 without sizes.
    pub best_possible_recall: f64,
    /// Mean number of anchors that fit a size; 0 without sizes.
    pub anchors_above_threshold: f64,
}

/// What [`check_anchors`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum AnchorDecision {
    /// The data set has no labels to check; keep the anchors.
    NoLabels,
    /// The anchors fit well enough.
    Keep(AnchorFit),
    /// The anchors fit badly; these fit better.
    Replace {
        /// Width and height in pixels of the anchors of each level, in the order of the strides.
        anchors_px: Vec<Vec<[f32; 2]>>,
        /// The fit of the old anchors.
        before: AnchorFit,
        /// The fit of the new ones, which have a higher recall.
        after: AnchorFit,
        /// How the new ones were made, with the number of tiny labels.
        estimate: Estimate,
    },
    /// The anchors fit badly, but none better were found; keep them.
    NoBetter {
        /// The fit of the old anchors.
        before: AnchorFit,
        /// The fit of the best ones found.
        found: AnchorFit,
    },
}

/// The fit of `anchors_px` to `sizes_px`, both as width and height in pixels; `anchor_t` is the largest ratio of
/// two sides, above 1.
///
/// For a size s and an anchor k, x = min over both axes of min(s/k, k/s). Recall is the share of sizes with an x
/// above 1/`anchor_t`.
pub fn anchor_fit(sizes_px: &[[f32; 2]], anchors_px: &[[f32; 2]], anchor_t: f32) -> AnchorFit {
    let n_fitting =
        |size: &[f32; 2]| anchors_px.iter().filter(|k| closeness(*size, **k) > 1.0 / anchor_t).count();
    let (n_recalled, n_above) = sizes_px
        .par_iter()
        .map(n_fitting)
        .map(|n| (usize::from(n > 0), n))
        .reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let n_sizes = sizes_px.len().max(1) as f64;
    AnchorFit {
        best_possible_recall: n_recalled as f64 / n_sizes,
        anchors_above_threshold: n_above as f64 / n_sizes,
    }
}

/// Mean over the sizes of the best anchor's closeness, counted as 0 if it does not fit. The refinement raises it.
fn fitness(sizes_px: &[[f32; 2]], anchors_px: &[[f32; 2]], anchor_t: f32) -> f64 {
    let best = |size: &[f32; 2]| {
        let best = anchors_px.iter().map(|anchor| closeness(*size, *anchor)).fold(0.0, f32::max);
        if best > 1.0 / anchor_t { f64::from(best) } else { 0.0 }
    };
    let sums: Vec<f64> = sizes_px.par_chunks(CHUNK).map(|chunk| chunk.iter().map(best).sum()).collect();
    sums.iter().sum::<f64>() / sizes_px.len().max(1) as f64
}

/// The smaller ratio of the two sides, each inverted if it is above 1; 0 if a side is 0.
fn closeness(size: [f32; 2], anchor: [f32; 2]) -> f32 {
    let side = |s: f32, k: f32| if s > 0.0 && k > 0.0 { (s / k).min(k / s) } else { 0.0 };
    side(size[0], anchor[0]).min(side(size[1], anchor[1]))
}

/// Width and height in pixels of every label, with each image scaled so that its longer side is `image_size`.
///
/// With `jitter`, the sizes of each image are multiplied by a random number from 0.9 to 1.1, as the augmentation scales
/// images.
pub fn label_sizes(items: &[Item], image_size: u32, mut jitter: Option<&mut dyn RngCore>) -> Vec<[f32; 2]> {
    let mut sizes_px = Vec::with_capacity(items.iter().map(|item| item.labels.len()).sum());
    for item in items {
        let zoom = jitter.as_mut().map_or(1.0, |rng| rng.random_range(0.9..1.1f32));
        let (width, height) = (item.width as f32, item.height as f32);
        let scale = zoom * image_size as f32 / width.max(height).max(1.0);
        let size = |w: f32, h: f32| [w * width * scale, h * height * scale];
        sizes_px.extend(item.labels.iter().map(|label| size(label.bbox_norm.w, label.bbox_norm.h)));
    }
    sizes_px
}

/// Checks the anchors of a network against the labels of a data set and looks for better ones if they fit less
/// than 98 % of the labels.
///
/// `anchors_px` holds the anchors of each level as width and height in pixels, `strides` the stride of each level;
/// `anchor_t` is the largest ratio of two sides. The same seed gives the same answer.
///
/// # Errors
/// There are no anchors, the numbers of levels and strides differ, or `anchor_t` is not above 1.
pub fn check_anchors(
    items: &[Item],
    anchors_px: &[Vec<[f32; 2]>],
    strides: &[usize],
    image_size: u32,
    anchor_t: f32,
    seed: u64,
) -> Result<AnchorDecision> {
    check_arguments(anchors_px, strides, anchor_t)?;
    let mut rng = StdRng::seed_from_u64(seed);
    let jittered_px = label_sizes(items, image_size, Some(&mut rng));
    if jittered_px.is_empty() {
        return Ok(AnchorDecision::NoLabels);
    }
    let before = anchor_fit(&jittered_px, &anchors_px.concat(), anchor_t);
    if before.best_possible_recall > GOOD_RECALL {
        return Ok(AnchorDecision::Keep(before));
    }
    let sizes_px = label_sizes(items, image_size, None);
    let n_anchors = anchors_px.iter().map(Vec::len).sum();
    let estimate = kmeans_anchors(&sizes_px, n_anchors, image_size, anchor_t, GENERATIONS, &mut rng);
    let after = anchor_fit(&jittered_px, &estimate.anchors_px, anchor_t);
    if after.best_possible_recall <= before.best_possible_recall {
        return Ok(AnchorDecision::NoBetter { before, found: after });
    }
    let n_of_level: Vec<usize> = anchors_px.iter().map(Vec::len).collect();
    let anchors_px = into_levels(&estimate.anchors_px, &n_of_level, strides);
    Ok(AnchorDecision::Replace { anchors_px, before, after, estimate })
}

fn check_arguments(anchors_px: &[Vec<[f32; 2]>], strides: &[usize], anchor_t: f32) -> Result<()> {
    let fail = |reason: String| Err(DataError::mismatch(format!("anchors cannot be checked: {reason}")));
    if anchors_px.iter().all(Vec::is_empty) {
        return fail("the network has none".to_owned());
    }
    if anchors_px.len() != strides.len() {
        return fail(format!("{} levels of anchors, but {} strides", anchors_px.len(), strides.len()));
    }
    if !(anchor_t > 1.0 && anchor_t.is_finite()) {
        return fail(format!("the largest ratio `anchor_t` is {anchor_t}; it must be above 1, usually 4"));
    }
    Ok(())
}

/// Distributes the anchors, which ascend in area, over the levels: the smallest go to the smallest stride.
///
/// The specification's order check reverses the levels if the mean areas of the first and the last are not in the
/// order of their strides; of areas that ascend that is so exactly if the strides descend.
fn into_levels(anchors_px: &[[f32; 2]], n_of_level: &[usize], strides: &[usize]) -> Vec<Vec<[f32; 2]>> {
    let descending = strides.first() > strides.last();
    let mut n_of_level = n_of_level.to_vec();
    if descending {
        n_of_level.reverse();
    }
    let mut rest = anchors_px.iter().copied();
    let mut levels: Vec<Vec<[f32; 2]>> =
        n_of_level.iter().map(|&n| rest.by_ref().take(n).collect()).collect();
    if descending {
        levels.reverse();
    }
    levels
}

#[cfg(test)]
mod tests;
