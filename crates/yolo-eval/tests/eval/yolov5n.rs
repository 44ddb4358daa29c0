//! Detections of yolov5n on the small COCO subset, before and after pruning, as measured by YOLOv5 v7.0.

use std::collections::HashMap;

use serde::Deserialize;
use yolo_eval::Xyxy;
use yolo_eval::coco::{Detections, GroundTruth, Params, evaluate};
use yolo_eval::metrics::{LabelledBox, NativeMetrics, NativeReport, ScoredBox};

use crate::{assert_close, shared};

/// COCO numbers: the same values in another order of summation at most.
const ROUNDING: f64 = 1e-9;
/// Native numbers: the reference was measured on unrounded boxes and on labels from text files, this is not.
/// One object of a rare class on the other side of one threshold moves the mAP of 80 classes by 0.1 / 80.
const ROUNDED_INPUT: f64 = 2e-3;

#[derive(Deserialize)]
struct Reference {
    prune: String,
    amount: f64,
    native: Native,
    coco_stats: Vec<f64>,
}

#[derive(Deserialize)]
struct Native {
    map50: f64,
    map: f64,
}

/// Calls `check` with the ground truth, and each reference with its detections.
fn for_each_reference(check: impl Fn(&GroundTruth, &Detections, &Reference)) {
    let (Some(folder), Some(data)) = (shared("reference/yolov5n"), shared("data/coco-tiny")) else { return };
    let gt = GroundTruth::read(data.join("annotations/instances_val2017.json")).unwrap();
    let text = std::fs::read(folder.join("val-coco-tiny.json")).unwrap();
    let references: Vec<Reference> = serde_json::from_slice(&text).unwrap();
    for amount in [0.0, 0.3] {
        let reference = references.iter().find(|r| r.prune == "layer" && r.amount == amount).unwrap();
        let name = format!("predictions-coco-tiny-layer-{amount:.1}.json");
        check(&gt, &Detections::read(folder.join(name)).unwrap(), reference);
    }
}

#[test]
fn predictions_score_as_pycocotools_measured() {
    for_each_reference(|gt, dt, reference| {
        let found = evaluate(gt, dt, &Params::coco()).unwrap();
        assert_eq!(found.unknown_category_count, 0);
        let name = format!("pruned by {}", reference.amount);
        assert_close(&found.summary().values(), &reference.coco_stats, ROUNDING, &name);
    });
}

#[test]
fn predictions_score_nearly_as_yolov5_measured() {
    for_each_reference(|gt, dt, reference| {
        let NativeReport { map50, map, .. } = native(gt, dt);
        let expected = [reference.native.map50, reference.native.map];
        assert_close(&[map50, map], &expected, ROUNDED_INPUT, &format!("pruned by {}", reference.amount));
    });
}

fn native(gt: &GroundTruth, dt: &Detections) -> NativeReport {
    let corners = |b: yolo_eval::Ltwh| {
        let [x1, y1, x2, y2] = [b.left, b.top, b.left + b.w, b.top + b.h].map(|v| v as f32);
        Xyxy::new(x1, y1, x2, y2)
    };
    let class = |id: i64| u32::try_from(id).unwrap();
    let mut images: HashMap<i64, (Vec<ScoredBox>, Vec<LabelledBox>)> = HashMap::new();
    for d in dt.iter() {
        let scored = ScoredBox { bbox: corners(d.bbox), score: d.score as f32, class: class(d.category_id) };
        images.entry(d.image_id).or_default().0.push(scored);
    }
    for a in gt.annotations().iter().filter(|a| !a.iscrowd) {
        let label = LabelledBox { bbox: corners(a.bbox), class: class(a.category_id) };
        images.entry(a.image_id).or_default().1.push(label);
    }
    let mut metrics = NativeMetrics::new();
    for image in gt.images() {
        let (detections, labels) = images.remove(&image.id).unwrap_or_default();
        metrics.add_image(&detections, &labels);
    }
    metrics.finish()
}
