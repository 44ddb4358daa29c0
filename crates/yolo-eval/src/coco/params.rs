//! What is evaluated: thresholds, area ranges, limits on detections, and images.

use crate::{EvalError, Result};

/// A range of object areas in square pixels of the original image, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AreaRange {
    /// Name in reports.
    pub name: &'static str,
    /// Smallest area inside.
    pub min: f64,
    /// Largest area inside.
    pub max: f64,
}

impl AreaRange {
    /// Whether `area` is in the range. An area exactly on a bound is in both neighbouring ranges.
    pub fn contains(&self, area: f64) -> bool {
        area >= self.min && area <= self.max
    }
}

/// Parameters of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Images to evaluate, in any order; all images of the ground truth when `None`.
    pub image_ids: Option<Vec<i64>>,
    /// IoU thresholds (axis T), ascending.
    pub iou_thresholds: Vec<f64>,
    /// Recall values at which precision is read off (axis R), ascending.
    pub recall_thresholds: Vec<f64>,
    /// Limits on detections per image *and category* (axis M); the headline numbers use the largest.
    pub max_dets: [usize; 3],
    /// Area ranges (axis A): all, small, medium, large.
    pub area_ranges: [AreaRange; 4],
}

impl Params {
    /// COCO's parameters: IoU 0.50:0.05:0.95, 101 recall values, 1/10/100 detections.
    pub fn coco() -> Self {
        Self {
            image_ids: None,
            iou_thresholds: linspace(0.5, 0.95, 10),
            recall_thresholds: linspace(0.0, 1.0, 101),
            max_dets: [1, 10, 100],
            area_ranges: [
                AreaRange { name: "all", min: 0.0, max: 1e10 },
                AreaRange { name: "small", min: 0.0, max: 1024.0 },
                AreaRange { name: "medium", min: 1024.0, max: 9216.0 },
                AreaRange { name: "large", min: 9216.0, max: 1e10 },
            ],
        }
    }

    /// Checks that thresholds are finite, present and ascending, and that no limit is 0.
    ///
    /// # Errors
    /// The message names the parameter that is wrong.
    pub fn validate(&self) -> Result<()> {
        let fail = |reason: &str| Err(EvalError::invalid("evaluation parameters", reason));
        if !is_ascending(&self.iou_thresholds) {
            return fail("iou_thresholds must be finite, ascending and not empty");
        }
        if !is_ascending(&self.recall_thresholds) {
            return fail("recall_thresholds must be finite, ascending and not empty");
        }
        if self.max_dets.contains(&0) {
            return fail("max_dets must be at least 1");
        }
        if self.area_ranges.iter().any(|range| range.min.is_nan() || range.max.is_nan()) {
            return fail("area_ranges must not be NaN");
        }
        Ok(())
    }
}

fn is_ascending(values: &[f64]) -> bool {
    !values.is_empty()
        && values.iter().all(|v| v.is_finite())
        && values.windows(2).all(|pair| pair[0] < pair[1])
}

/// `count` values from `first` to `last` with the roundings of `numpy.linspace`; `count` is at least 2.
///
/// The bits matter: a recall of `k / n` often falls exactly on a threshold, and literals such as 0.9 differ
/// from these products in the last place.
pub(crate) fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
    let step = (last - first) / (count - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step + first).collect();
    values[count - 1] = last;
    values
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_have_the_bits_of_numpy() {
        let params = Params::coco();
        assert_eq!(params.iou_thresholds[8], 0.899_999_999_999_999_9);
        assert_eq!(params.iou_thresholds[5], 0.75);
        assert_eq!(params.iou_thresholds[9], 0.95);
        let differing: Vec<usize> =
            (0..101).filter(|&i| params.recall_thresholds[i] != i as f64 / 100.0).collect();
        assert_eq!(differing, [35, 41, 47, 57, 69, 70, 82, 83, 94, 95]);
    }

    #[test]
    fn bounds_of_an_area_range_are_inside() {
        let [_, small, medium, large] = Params::coco().area_ranges;
        assert!(small.contains(1024.0) && medium.contains(1024.0));
        assert!(medium.contains(9216.0) && large.contains(9216.0));
        assert!(!small.contains(1024.1));
    }

    #[test]
    fn invalid_parameters_are_named() {
        let wrong = Params { iou_thresholds: vec![0.7, 0.5], ..Params::coco() };
        assert!(wrong.validate().unwrap_err().to_string().contains("iou_thresholds"));
        let wrong = Params { max_dets: [0, 1, 2], ..Params::coco() };
        assert!(wrong.validate().unwrap_err().to_string().contains("max_dets"));
    }
}
