//! The conventions of a network's family.

use yolo_eval::Convention;
use yolo_model::{Architecture, Family, NmsOptions};

/// The conventions of the network's own family.
pub fn convention_of(architecture: &Architecture) -> Convention {
    match architecture.family() {
        Family::Yolov5 => Convention::Yolov5,
        Family::Ultralytics => Convention::Ultralytics,
    }
}

/// The thresholds with which the family detects.
pub fn detection_thresholds(convention: Convention) -> NmsOptions {
    match convention {
        Convention::Yolov5 => NmsOptions::detection(),
        Convention::Ultralytics => {
            NmsOptions { iou_threshold: 0.7, max_detections: 300, ..NmsOptions::detection() }
        }
    }
}
