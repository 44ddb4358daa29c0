//! The tables that a user of `val.py` expects.

use yolo_eval::metrics::NativeReport;

use crate::format::{class_name, general};
use crate::results::SpeedFigures;

/// Header, the line of all classes, and with `every_class` a line per class; `images` and `instances` are those that
/// `report` was measured on.
pub fn class_table(
    report: &NativeReport,
    (images, instances): (usize, usize),
    names: &[String],
    every_class: bool,
) -> Vec<String> {
    let header = ["Images", "Instances", "P", "R", "mAP50", "mAP50-95"];
    let row = |name: &str, instances: usize, metrics: [f64; 4]| {
        let [p, r, map50, map] = metrics.map(|metric| general(metric, 3));
        format!("{name:>22}{images:>11}{instances:>11}{p:>11}{r:>11}{map50:>11}{map:>11}")
    };
    let mut lines = vec![header.iter().fold(format!("{:>22}", "Class"), |line, h| format!("{line}{h:>11}"))];
    let all = [report.precision, report.recall, report.map50, report.map];
    lines.push(row("all", instances, all));
    if every_class {
        lines.extend(report.per_class.iter().map(|class| {
            let metrics = [class.precision, class.recall, class.map50, class.map];
            row(class_name(names, class.class), class.instances, metrics)
        }));
    }
    lines
}

/// Times per image.
pub fn speed_line(speed: &SpeedFigures) -> String {
    let SpeedFigures { preprocess, inference, nms, shape: [n, c, h, w] } = speed;
    format!(
        "Speed: {preprocess:.1}ms pre-process, {inference:.1}ms inference, {nms:.1}ms NMS per image at shape ({n}, {c}, {h}, {w})"
    )
}
