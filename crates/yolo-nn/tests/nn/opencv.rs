//! OpenCV's DNN module computes what our network does.
//!
//! Python is looked for in the variable `CV_PYTHON`, at `/tmp/venv-cv/bin/python`, and as `python3`;
//! `python3 -m venv /tmp/venv-cv && /tmp/venv-cv/bin/pip install opencv-python-headless` makes one.

use std::process::Command;
use std::sync::OnceLock;

use yolo_model::Checkpoint;
use yolo_model::onnx::{Axes, OnnxOptions, Outputs};
use yolo_model::weights::FloatFormat;

use super::onnx_equality::uneven;
use super::onnxruntime::{Array, HALF_TOLERANCE, TOLERANCE, assert_outputs, noise, run_script};
use super::{lively, yolov5n};

/// The Python that has OpenCV, or `None` with a message.
fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let has_opencv = |python: &String| {
            let output = Command::new(python).args(["-c", "import cv2, numpy"]).output();
            output.is_ok_and(|output| output.status.success())
        };
        if let Ok(chosen) = std::env::var("CV_PYTHON") {
            assert!(has_opencv(&chosen), "CV_PYTHON is {chosen}, which cannot import cv2");
            return Some(chosen);
        }
        ["/tmp/venv-cv/bin/python", "python3"].map(str::to_owned).into_iter().find(has_opencv)
    });
    if found.is_none() {
        eprintln!("skipped: no Python with OpenCV is here; CV_PYTHON names one");
    }
    found.as_deref()
}

/// Whether that OpenCV is 4.7 or newer: older ones know no numbers of half precision.
fn knows_half(python: &str) -> bool {
    let newer = "import cv2, sys; sys.exit([int(part) for part in cv2.__version__.split('.')[:2]] < [4, 7])";
    let output = Command::new(python).args(["-c", newer]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Exports, and compares on images of these sizes.
fn check(checkpoint: &Checkpoint, axes: Axes, outputs: Outputs, images: &[Array]) {
    compare(checkpoint, axes, outputs, FloatFormat::F32, images);
}

fn compare(checkpoint: &Checkpoint, axes: Axes, outputs: Outputs, precision: FloatFormat, images: &[Array]) {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let options = OnnxOptions { axes, outputs, opset: 13, precision };
    checkpoint.export_onnx(&path, &options).unwrap();
    let names = match outputs {
        Outputs::Decoded => "output0",
        Outputs::Logits => "output0,output1,output2",
    };
    for images in images {
        let (said, found) = run_script(python, "run_opencv.py", &path, images, &[names]);
        eprintln!("OpenCV {}", said["version"]);
        let tolerance = if precision == FloatFormat::F16 { HALF_TOLERANCE } else { 4.0 * TOLERANCE };
        assert_outputs(&found, checkpoint, outputs, images, tolerance);
    }
}

#[test]
fn images_of_a_fixed_size() {
    let fixed = |batch| Axes::Fixed { batch, size: [64, 96] };
    check(&yolov5n(3), fixed(1), Outputs::Decoded, &[noise([1, 3, 64, 96])]);
    check(&yolov5n(3), fixed(2), Outputs::Decoded, &[noise([2, 3, 64, 96])]);
    check(&yolov5n(3), fixed(1), Outputs::Logits, &[noise([1, 3, 64, 96])]);
}

#[test]
fn images_of_any_size() {
    let images = || [[1, 3, 64, 96], [1, 3, 96, 64], [2, 3, 64, 64]].map(noise);
    check(&yolov5n(80), Axes::Dynamic, Outputs::Decoded, &images());
    check(&yolov5n(3), Axes::Dynamic, Outputs::Logits, &images());
    check(&lively(uneven().unwrap()), Axes::Dynamic, Outputs::Decoded, &images());
}

#[test]
fn half_precision() {
    if !python().is_some_and(knows_half) {
        return;
    }
    let images = || [[1, 3, 64, 96], [2, 3, 96, 64]].map(noise);
    compare(&yolov5n(3), Axes::Dynamic, Outputs::Decoded, FloatFormat::F16, &images());
}
