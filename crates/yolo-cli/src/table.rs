//! The tables that a user of `val.py` expects.

use yolo_detect::SpeedMs;
use yolo_train::Validation;

use crate::format::{class_name, general};

/// Header, the line of all classes, and a line per class where `every_class` says so.
pub(crate) fn class_table(validation: &Validation, names: &[String], every_class: bool) -> Vec<String> {
    let header = ["Images", "Instances", "P", "R", "mAP50", "mAP50-95"];
    let row = |name: &str, images: usize, instances: usize, metrics: [f64; 4]| {
        let [p, r, map50, map] = metrics.map(|metric| general(metric, 3));
        format!("{name:>22}{images:>11}{instances:>11}{p:>11}{r:>11}{map50:>11}{map:>11}")
    };
    let native = &validation.native;
    let images = validation.detections.len();
    let mut lines = vec![header.iter().fold(format!("{:>22}", "Class"), |line, h| format!("{line}{h:>11}"))];
    let all = [native.precision, native.recall, native.map50, native.map];
    lines.push(row("all", images, validation.instances, all));
    if every_class {
        lines.extend(native.per_class.iter().map(|class| {
            let metrics = [class.precision, class.recall, class.map50, class.map];
            row(class_name(names, class.class), images, class.instances, metrics)
        }));
    }
    lines
}

/// Times per image.
pub(crate) fn speed_line(speed: &SpeedMs) -> String {
    let SpeedMs { preprocess, inference, nms, shape: [n, c, h, w] } = speed;
    format!(
        "Speed: {preprocess:.1}ms pre-process, {inference:.1}ms inference, {nms:.1}ms NMS per image at shape ({n}, {c}, {h}, {w})"
    )
}
