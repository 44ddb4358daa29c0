//! The evaluators against what other implementations measured.

#![allow(clippy::unwrap_used)]

mod golden;
mod peer;
mod yolov5n;

use std::path::PathBuf;

use yolo_eval::coco::{Detections, GroundTruth};

/// A folder of the shared reference material; `None`, with a note, where it is not there.
fn shared(folder: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: {} does not exist", path.display());
    None
}

/// Reads ground truth and detections through files, as a user would.
fn read(ground_truth: &serde_json::Value, detections: &serde_json::Value) -> (GroundTruth, Detections) {
    let folder = tempfile::tempdir().unwrap();
    let [gt, dt] = [folder.path().join("gt.json"), folder.path().join("dt.json")];
    std::fs::write(&gt, ground_truth.to_string()).unwrap();
    std::fs::write(&dt, detections.to_string()).unwrap();
    (GroundTruth::read(&gt).unwrap(), Detections::read(&dt).unwrap())
}

/// Asserts that numbers differ by at most `tolerance`.
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "{what}: value {i} is {f}, expected {e}");
    }
}
