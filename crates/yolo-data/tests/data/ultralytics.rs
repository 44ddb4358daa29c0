//! Detections of the other family's trained networks on the drawn data set, as its package measured them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use yolo_data::dataset::config::SearchPath;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split, image_id};
use yolo_data::demo::{self, DemoOptions};
use yolo_data::letterbox::Geometry;
use yolo_eval::coco::{Detection, Detections, GroundTruth, Params, evaluate};
use yolo_eval::metrics::{LabelledBox, NativeMetrics, NativeReport, ScoredBox};
use yolo_eval::{Convention, Xyxy};

/// Images to train on that the reference's data set has. An image does not depend on their number, but its name does.
const TRAIN_IMAGES: i64 = 320;
/// The same values in another order of summation at most.
const ROUNDING: f64 = 1e-9;
/// The package compares boxes before they are clipped to the image. The files have clipped ones, which fit labels at the
/// edges better, and scores of five decimals, which tie.
const CLIPPED: f64 = 4e-3;
/// The key of the figures, and what the file of predictions adds to its name.
const MODES: [(&str, &str, &str); 5] = [
    ("yolov5n", "default", ""),
    ("yolov8n", "default", ""),
    ("yolo11n", "default", ""),
    ("yolo26n", "one2many_nms", "-one2many_nms"),
    ("yolo26n", "one2one", "-one2one"),
];

fn reference() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/ultralytics");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not on this machine", folder.display());
    None
}

/// The images to validate on, without all but one of the others, and their annotations.
fn drawn(folder: &Path) -> (Dataset, GroundTruth) {
    let options = DemoOptions { train_images: 1, ..DemoOptions::default() };
    let yaml = demo::write(&folder.join("demo"), &options, |_| {}).unwrap();
    let config = DatasetConfig::read(&yaml).unwrap();
    let scan = ScanOptions { convention: Convention::Ultralytics, ..ScanOptions::default() };
    let dataset = Dataset::open_in(&config, Split::Val, &SearchPath::default(), &scan, &|_, _| {}).unwrap();
    let annotations = GroundTruth::read(dataset.coco_annotations.as_ref().unwrap()).unwrap();
    (dataset, annotations)
}

/// The detections of a file, with the numbers that images have here.
fn predictions(file: &Path) -> Vec<Detection> {
    let detections = Detections::read(file).unwrap();
    detections.iter().map(|d| Detection { image_id: d.image_id - TRAIN_IMAGES + 1, ..*d }).collect()
}

/// The family's own figures, in the frame of the network's input: 288 pixels around 256.
fn native(dataset: &Dataset, predictions: &[Detection]) -> NativeReport {
    let mut found: HashMap<i64, Vec<ScoredBox>> = HashMap::new();
    let geometry = Geometry::validation((256, 256), 256, (288, 288), Convention::Ultralytics);
    for d in predictions {
        let [x1, y1, x2, y2] = [d.bbox.left, d.bbox.top, d.bbox.left + d.bbox.w, d.bbox.top + d.bbox.h];
        let bbox = geometry.to_network(Xyxy::new(x1 as f32, y1 as f32, x2 as f32, y2 as f32));
        let class = u32::try_from(d.category_id - 1).unwrap();
        found.entry(d.image_id).or_default().push(ScoredBox { bbox, score: d.score as f32, class });
    }
    let mut metrics = NativeMetrics::by(Convention::Ultralytics);
    for item in &dataset.items {
        let id = image_id(item.image.file_stem().unwrap().to_str().unwrap()).unwrap();
        let labels = geometry.compared_labels(item).into_iter();
        let labels: Vec<LabelledBox> = labels.map(|(class, bbox)| LabelledBox { bbox, class }).collect();
        metrics.add_image(&found.remove(&id).unwrap_or_default(), &labels);
    }
    assert!(found.is_empty(), "detections of unknown images");
    metrics.finish()
}

#[test]
fn predictions_of_the_family_score_as_its_package_measured() {
    let Some(reference) = reference() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (dataset, annotations) = drawn(folder.path());
    for (model, key, suffix) in MODES {
        let text = std::fs::read(reference.join(format!("val-{model}.json"))).unwrap();
        let expected = &serde_json::from_slice::<Value>(&text).unwrap()[key];
        let predictions = predictions(&reference.join(format!("predictions-{model}{suffix}.json")));
        assert_eq!(predictions.len() as u64, expected["n_predictions"].as_u64().unwrap());
        let coco = evaluate(&annotations, &predictions, &Params::coco()).unwrap().summary();
        let twelve = expected["pycocotools"].as_array().unwrap();
        for (found, expected) in coco.values().iter().zip(twelve) {
            let expected = expected.as_f64().unwrap();
            assert!((found - expected).abs() < ROUNDING, "{model} {key}: {found} instead of {expected}");
        }
        let native = native(&dataset, &predictions);
        for (found, name) in [(native.map, "mAP50_95"), (native.map50, "mAP50")] {
            let expected = expected[name].as_f64().unwrap();
            assert!(
                (found - expected).abs() < CLIPPED,
                "{model} {key} {name}: {found} instead of {expected}"
            );
        }
    }
}
