//! The families' own detection metrics: P, R, mAP50 and mAP as their validation runs print them, and their
//! confusion matrices. What follows is YOLOv5's; [`matching`], [`ap`] and [`confusion`] say where
//! [`Convention::Ultralytics`] differs.
//!
//! They differ from COCO's evaluation ([`crate::coco`]), because they are compared with the numbers of YOLOv5 v7.0:
//! there are no crowds, areas or limits per category; a detection can only match its best label, which goes to the most
//! confident detection; precision is interpolated linearly, with a point added at either end of the curve, and
//! integrated by trapezoids. [`matching`] and [`ap`] state the rules.

pub mod ap;
pub mod confusion;
pub mod matching;

use std::cmp::Ordering;

pub use ap::{ClassCurves, ClassMetrics, Curves, NativeReport, fitness};
pub use confusion::ConfusionMatrix;
pub use matching::{IOU_THRESHOLDS, match_image};

use crate::{Convention, Xyxy};

/// A detected box, usually in pixels of the original image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredBox {
    /// The box, in the same frame as the labels.
    pub bbox: Xyxy,
    /// Confidence in `[0, 1]`.
    pub score: f32,
    /// Class index.
    pub class: u32,
}

/// A labelled box, usually in pixels of the original image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelledBox {
    /// The box, in the same frame as the detections.
    pub bbox: Xyxy,
    /// Class index.
    pub class: u32,
}

/// A detection after matching.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchedDetection {
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// Class index.
    pub class: u32,
    /// Whether it is a true positive, at each of [`IOU_THRESHOLDS`].
    pub correct: [bool; 10],
}

/// Collects the matches of a data set, one image at a time.
#[derive(Clone, Debug, Default)]
pub struct NativeMetrics {
    convention: Convention,
    detections: Vec<MatchedDetection>,
    target_classes: Vec<u32>,
    images: usize,
}

impl NativeMetrics {
    /// A collection without images, by YOLOv5's rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// A collection without images, by the rules of `convention`.
    pub fn by(convention: Convention) -> Self {
        Self { convention, ..Self::default() }
    }

    /// Matches the detections of one image with its labels and keeps the result.
    ///
    /// Detections are taken in descending order of score, equal scores in the order given. Images without
    /// detections or without labels must be added too.
    pub fn add_image(&mut self, detections: &[ScoredBox], labels: &[LabelledBox]) {
        self.images += 1;
        let mut sorted = detections.to_vec();
        sorted.sort_by(|a, b| descending(f64::from(a.score), f64::from(b.score)));
        let correct = match_image(&sorted, labels, self.convention);
        let matched = sorted.iter().zip(correct);
        self.detections.extend(matched.map(|(d, correct)| MatchedDetection {
            score: f64::from(d.score),
            class: d.class,
            correct,
        }));
        self.target_classes.extend(labels.iter().map(|label| label.class));
    }

    /// Images added so far.
    pub const fn images(&self) -> usize {
        self.images
    }

    /// Labels added so far.
    pub fn labels(&self) -> usize {
        self.target_classes.len()
    }

    /// The metrics over everything that was added.
    pub fn finish(self) -> NativeReport {
        ap::ap_per_class(self.detections, &self.target_classes, self.convention)
    }
}

/// Larger first, NaN last.
fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
