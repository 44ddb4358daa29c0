//! Data sets evaluated by pycocotools 2.0.11.

use serde::Deserialize;
use yolo_eval::coco::{Params, evaluate};

use crate::{assert_close, read, shared};

/// The reference files print every digit; what is left is the order of summation of their sums.
const ROUNDING: f64 = 1e-12;
/// Relative, for sums over tens of thousands of values.
const SUM_ROUNDING: f64 = 1e-12;

#[derive(Deserialize)]
struct Golden {
    ground_truth: serde_json::Value,
    detections: serde_json::Value,
    stats: Vec<f64>,
    precision_shape: [usize; 5],
    precision_sum: f64,
    precision_valid: usize,
    recall: Vec<f64>,
    recall_sum: f64,
}

#[test]
fn every_reference_data_set_scores_as_pycocotools_measured() {
    let Some(folder) = shared("reference/cocoeval") else { return };
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let golden: Golden = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        check(&golden, &path.display().to_string());
        checked += 1;
    }
    assert_eq!(checked, 26);
}

fn check(golden: &Golden, name: &str) {
    let (gt, dt) = read(&golden.ground_truth, &golden.detections);
    let found = evaluate(&gt, &dt, &Params::coco()).unwrap();
    let shape = found.shape;
    let axes =
        [shape.iou_thresholds, shape.recall_thresholds, shape.categories, shape.area_ranges, shape.max_dets];
    assert_eq!(axes, golden.precision_shape, "{name}");
    assert_close(&found.summary().values(), &golden.stats, ROUNDING, name);
    assert_close(&found.recall, &golden.recall, ROUNDING, name);
    assert_eq!(found.precision.iter().filter(|&&p| p > -1.0).count(), golden.precision_valid, "{name}");
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    for (found, expected) in
        [(sum(&found.precision), golden.precision_sum), (sum(&found.recall), golden.recall_sum)]
    {
        let tolerance = SUM_ROUNDING * expected.abs().max(1.0) * 10.0;
        assert!((found - expected).abs() <= tolerance, "{name}: sum {found}, expected {expected}");
    }
}
