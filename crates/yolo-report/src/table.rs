//! The tables that a user of `val.py` expects.

use yolo_eval::metrics::NativeReport;
use yolo_model::LossTerm;

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

/// The columns of the table of epochs.
#[derive(Clone, Debug, Default)]
pub struct EpochColumns {
    /// Terms of the loss.
    pub loss_terms: &'static [LossTerm],
    /// The loss beside a teacher.
    pub distillation: bool,
    /// The share of channels with a small scale.
    pub slimming: bool,
}

/// An epoch of training.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRow {
    /// Its number, from 0, and how many there are.
    pub epoch: (usize, usize),
    /// Mean losses, in the order of the terms.
    pub losses: Vec<f64>,
    /// Mean loss beside a teacher.
    pub distillation: f64,
    /// Share of channels with a small scale.
    pub small_scales: Option<f64>,
    /// Precision, recall, mAP50 and mAP50-95, if the epoch was validated.
    pub validation: Option<[f64; 4]>,
    /// Whether it is the best so far.
    pub is_best: bool,
}

impl EpochColumns {
    /// The titles.
    pub fn header(&self) -> String {
        let mut columns: Vec<&str> = self.loss_terms.iter().map(|term| term.short_name()).collect();
        columns.extend(self.distillation.then_some("distill"));
        columns.extend(self.slimming.then_some("slim"));
        columns.extend(["P", "R", "mAP50", "mAP50-95"]);
        columns.iter().fold(format!("{:>9}", "Epoch"), |line, column| format!("{line}{column:>11}"))
    }

    /// The line of an epoch.
    pub fn line(&self, row: &EpochRow) -> String {
        let missing = || "-".to_owned();
        let losses = row.losses.iter().copied().chain(self.distillation.then_some(row.distillation));
        let mut cells: Vec<String> = losses.map(|loss| general(loss, 4)).collect();
        if self.slimming {
            cells.push(row.small_scales.map_or_else(missing, |share| format!("{:.1} %", 100.0 * share)));
        }
        match row.validation {
            Some(metrics) => cells.extend(metrics.map(|value| general(value, 3))),
            None => cells.extend([(); 4].map(|()| missing())),
        }
        let epoch = format!("{}/{}", row.epoch.0, row.epoch.1 - 1);
        let line = cells.iter().fold(format!("{epoch:>9}"), |line, cell| format!("{line}{cell:>11}"));
        if row.is_best { line + "  best" } else { line }
    }
}
