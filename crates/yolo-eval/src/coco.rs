//! COCO's box evaluation: average precision and recall, bit-equal to pycocotools 2.0.11 on valid data.
//!
//! Four stages, one file each: [`json`] reads and writes, `matching` pairs detections
//! with ground truth per image and category, `accumulate` turns the pairs into precision–recall curves,
//! [`summarize`] reduces the curves to the twelve numbers. Arithmetic is `f64` throughout. [`classes`] and [`files`] find
//! out which category and which image of a file is which class and which image file of a data set.
//!
//! This module differs from pycocotools on purpose where that crashes or silently loses data: a missing `iscrowd` is
//! false, a missing `area` is the area of the box, no detections give zeros, an annotation with id 0 counts, a
//! detection on an unknown image or with a NaN score is an error, and detections of unknown categories are counted in
//! the result. None of these differences changes a number on valid data.
//!
//! YOLOv5's own metrics are in [`crate::metrics`].

mod accumulate;
pub mod classes;
pub mod files;
pub mod image_id;
pub mod json;
mod matching;
pub mod params;
pub mod summarize;

use rayon::prelude::*;

pub use image_id::ImageId;
pub use json::{
    Annotation, AnnotationEntry, Category, Detections, GroundTruth, ImageEntry, ImageInfo, Instances,
    round_like_val, write_detections, write_results,
};
pub use params::{AreaRange, Params};
pub use summarize::Summary;
pub(crate) use summarize::pairwise_sum;

use crate::{EvalError, Ltwh, Result, Xyxy};
use accumulate::CategoryCurves;

/// One detected box, as in a COCO results file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// COCO id of the image.
    pub image_id: i64,
    /// COCO id of the category (not the class index of the network).
    pub category_id: i64,
    /// The box in pixels of the original image.
    pub bbox: Ltwh,
    /// Confidence, usually in `[0, 1]`; only its order matters.
    pub score: f64,
}

impl Detection {
    /// The detection that a YOLOv5 validation run writes for a predicted box in pixels of the original image.
    ///
    /// Left and top are computed in `f32` as centre minus half the size, then everything is rounded as
    /// [`Detection::rounded`] does.
    pub fn like_val(image_id: i64, category_id: i64, bbox_orig: Xyxy, score: f32) -> Self {
        let centre = crate::Cxcywh::from(bbox_orig);
        let bbox = Ltwh {
            left: f64::from(centre.cx - centre.w / 2.0),
            top: f64::from(centre.cy - centre.h / 2.0),
            w: f64::from(centre.w),
            h: f64::from(centre.h),
        };
        Self { image_id, category_id, bbox, score: f64::from(score) }.rounded()
    }

    /// The same detection with the box rounded to 3 decimals and the score to 5.
    ///
    /// Published numbers were computed on rounded values. Rounding makes ties, and ties are resolved by order, so
    /// evaluate the rounded detections to reproduce published numbers.
    pub fn rounded(self) -> Self {
        let Ltwh { left, top, w, h } = self.bbox;
        let bbox = Ltwh {
            left: round_like_val(left, 3),
            top: round_like_val(top, 3),
            w: round_like_val(w, 3),
            h: round_like_val(h, 3),
        };
        Self { bbox, score: round_like_val(self.score, 5), ..self }
    }
}

/// Lengths of the axes of an [`Evaluation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// T: IoU thresholds.
    pub iou_thresholds: usize,
    /// R: recall thresholds.
    pub recall_thresholds: usize,
    /// K: categories.
    pub categories: usize,
    /// A: area ranges.
    pub area_ranges: usize,
    /// M: limits on detections per image and category.
    pub max_dets: usize,
}

/// Precision, recall and scores over all axes; `-1` if a category has no ground truth in an area range.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Interpolated precision, axes `[T, R, K, A, M]`, row-major.
    pub precision: Vec<f64>,
    /// Largest recall, axes `[T, K, A, M]`, row-major.
    pub recall: Vec<f64>,
    /// Score at which the recall threshold is reached, axes `[T, R, K, A, M]`, row-major.
    pub scores: Vec<f64>,
    /// Lengths of the axes.
    pub shape: Shape,
    /// Category ids along K, ascending.
    pub category_ids: Vec<i64>,
    /// Ids of the evaluated images, ascending.
    pub image_ids: Vec<i64>,
    /// The parameters, with `max_dets` ascending along M.
    pub params: Params,
    /// Number of detections left out because the ground truth has no such category; warn if it is not 0.
    pub unknown_category_count: usize,
}

/// Evaluates `dt` against `gt`.
///
/// The order of equal scores is the order of `dt`; on equal IoU the later ground truth wins. Detections on
/// images that [`Params::image_ids`] leaves out are ignored. No detections at all give zeros.
///
/// # Errors
/// A detection on an image the ground truth does not have, a NaN score, a box that is not finite, or parameters
/// that [`Params::validate`] refuses.
pub fn evaluate(gt: &GroundTruth, dt: &[Detection], params: &Params) -> Result<Evaluation> {
    params.validate()?;
    check_detections(gt, dt)?;
    let mut params = params.clone();
    params.max_dets.sort_unstable();
    let image_ids = evaluated_images(gt, &params)?;
    let category_ids = sorted_unique(gt.categories().iter().map(|c| c.id));
    let (groups, unknown_category_count) = matching::group_by_category(gt, dt, &image_ids, &category_ids);
    let curves: Vec<CategoryCurves> = groups
        .into_par_iter()
        .map(|boxes| accumulate::accumulate(&matching::match_category(boxes, &params), &params))
        .collect();
    Ok(assemble(&curves, category_ids, image_ids, params, unknown_category_count))
}

fn check_detections(gt: &GroundTruth, dt: &[Detection]) -> Result<()> {
    let fail = |reason: String| Err(EvalError::invalid("detections", reason));
    for (index, d) in dt.iter().enumerate() {
        if d.score.is_nan() {
            let image = d.image_id;
            return fail(format!(
                "entry {index} (image {image}): the score is NaN; remove the entry, and check the weights for NaN"
            ));
        }
        if !json::is_finite(d.bbox) {
            let image = d.image_id;
            return fail(format!("entry {index} (image {image}): the box is not finite; remove the entry"));
        }
    }
    let known = sorted_unique(gt.images().iter().map(|image| image.id));
    let unknown = sorted_unique(dt.iter().map(|d| d.image_id).filter(|id| known.binary_search(id).is_err()));
    if unknown.is_empty() {
        return Ok(());
    }
    fail(format!(
        "image_id {} is not in the images of {}; use the annotation file of the images that the detections belong to",
        json::list_ids(&unknown),
        gt.source().display()
    ))
}

fn evaluated_images(gt: &GroundTruth, params: &Params) -> Result<Vec<i64>> {
    let known = sorted_unique(gt.images().iter().map(|image| image.id));
    let Some(wanted) = &params.image_ids else { return Ok(known) };
    let wanted = sorted_unique(wanted.iter().copied());
    let unknown: Vec<i64> = wanted.iter().copied().filter(|id| known.binary_search(id).is_err()).collect();
    if unknown.is_empty() {
        return Ok(wanted);
    }
    let ids = json::list_ids(&unknown);
    Err(EvalError::invalid(
        gt.source(),
        format!("there is no image with id {ids}; evaluate only images that the file lists"),
    ))
}

fn sorted_unique(ids: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Concatenates the curves of the categories along K.
fn assemble(
    curves: &[CategoryCurves],
    category_ids: Vec<i64>,
    image_ids: Vec<i64>,
    params: Params,
    unknown_category_count: usize,
) -> Evaluation {
    let shape = Shape {
        iou_thresholds: params.iou_thresholds.len(),
        recall_thresholds: params.recall_thresholds.len(),
        categories: category_ids.len(),
        area_ranges: params.area_ranges.len(),
        max_dets: params.max_dets.len(),
    };
    let inner = shape.area_ranges * shape.max_dets;
    let interleave = |rows: usize, of: fn(&CategoryCurves) -> &[f64]| -> Vec<f64> {
        let mut all = Vec::with_capacity(rows * curves.len() * inner);
        for row in 0..rows {
            for category in curves {
                all.extend_from_slice(&of(category)[row * inner..(row + 1) * inner]);
            }
        }
        all
    };
    let rows = shape.iou_thresholds * shape.recall_thresholds;
    Evaluation {
        precision: interleave(rows, |c| &c.precision),
        recall: interleave(shape.iou_thresholds, |c| &c.recall),
        scores: interleave(rows, |c| &c.scores),
        shape,
        category_ids,
        image_ids,
        params,
        unknown_category_count,
    }
}

#[cfg(test)]
mod tests;
