//! COCO's two file formats: annotations ("instances") and detections ("results").
//!
//! Reading accepts what other tools write (ids as `1.0`, `"1"` or any text, no `iscrowd`, no `area`) and refuses what
//! would make a number wrong (duplicate ids, boxes of negative size, NaN). What pycocotools ignores is ignored and
//! counted. Polygons, licences and other keys are skipped and not stored.

use super::ImageId;
use crate::Ltwh;

mod ground_truth;
mod instances;
mod raw;
mod results;
mod tolerance;

pub use ground_truth::GroundTruth;
pub use instances::{AnnotationEntry, ImageEntry, Instances};
pub use results::{Detections, write_detections, write_results};

/// How many ids an error message lists.
const LISTED_IDS: usize = 5;

/// An image of the ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its id.
    pub id: i64,
    /// Width in pixels; 0 if the file does not state it.
    pub width: u32,
    /// Height in pixels; 0 if the file does not state it.
    pub height: u32,
    /// File name, possibly with folders; empty if the file does not state it.
    pub file_name: String,
}

/// A category of the ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its id; ids may have gaps.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// An annotated object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annotation {
    /// Its id: unique; 0 is valid.
    pub id: i64,
    /// Id of its image.
    pub image_id: i64,
    /// Id of its category.
    pub category_id: i64,
    /// The box in pixels of the image.
    pub bbox: Ltwh,
    /// Area in square pixels; in COCO's files the area of the outline, not of the box.
    pub area: f64,
    /// Whether the annotation covers a group of objects that are too dense to outline one by one.
    pub iscrowd: bool,
}

/// `value` rounded to `decimals` as Python's `round` does: by its exact decimal expansion, ties to even.
pub fn round_like_val(value: f64, decimals: usize) -> f64 {
    // The text of a float always parses, so the fallback is never used.
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

/// `3`, or `3, 5, 8, … (12 in all)`.
pub(super) fn list_ids(ids: &[i64]) -> String {
    let listed: Vec<String> = ids.iter().take(LISTED_IDS).map(i64::to_string).collect();
    let listed = listed.join(", ");
    if ids.len() > LISTED_IDS { format!("{listed}, … ({} in all)", ids.len()) } else { listed }
}

/// The same of ids as their file writes them, in order and each once.
fn list_names(mut ids: Vec<&ImageId>) -> String {
    ids.sort_unstable();
    ids.dedup();
    let listed: Vec<String> = ids.iter().take(LISTED_IDS).map(ToString::to_string).collect();
    let listed = listed.join(", ");
    if ids.len() > LISTED_IDS { format!("{listed}, … ({} in all)", ids.len()) } else { listed }
}

pub(super) fn is_finite(bbox: Ltwh) -> bool {
    [bbox.left, bbox.top, bbox.w, bbox.h].iter().all(|v| v.is_finite())
}

#[cfg(test)]
mod tests;
