//! `report.html`: what pruning and fine-tuning did to a detector, on one page. The input is plain data, already
//! measured and mostly already formatted.

mod detections;
mod history;
mod layers;
mod metrics;
#[cfg(test)]
mod tests;

use maud::{Markup, html};

use crate::html::{Tile, conclusion, document, header, origin, section};
use crate::precision_recall::{self, Curve};

/// Everything that the page shows. Stages are in order of time, the first of them is the reference.
pub(crate) struct Report {
    pub(crate) title: String,
    /// Weights, data and device.
    pub(crate) subtitle: String,
    /// The result in one sentence; left out if empty.
    pub(crate) verdict: String,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) command: String,
    pub(crate) created: String,
    pub(crate) stages: Vec<Stage>,
    pub(crate) rows: Vec<Row>,
    /// Sentences below the table.
    pub(crate) conclusion: Vec<String>,
    /// What the precision-recall curves are, such as "IoU 0.50, mean over classes".
    pub(crate) pr_note: String,
    pub(crate) history: Vec<EpochPoint>,
    pub(crate) samples: Vec<SampleImage>,
    pub(crate) notes: Vec<String>,
}

/// A state of the network that was evaluated.
pub(crate) struct Stage {
    pub(crate) name: String,
    /// Recall and precision, by rising recall.
    pub(crate) pr_curve: Vec<(f64, f64)>,
    pub(crate) layer_sparsity: Vec<LayerSparsity>,
    /// By the metric of the history. Those of the first stage become reference lines in the chart of the
    /// epochs.
    pub(crate) map50: Option<f64>,
    pub(crate) map: Option<f64>,
}

/// Zeros among the weights of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSparsity {
    /// Name of the layer in the state dict, without `.weight`.
    pub name: String,
    /// How many weights it has.
    pub weights: usize,
    /// How many of them are zero.
    pub zeros: usize,
}

/// A row of the table of metrics. Neighbours of the same group share a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Heading that it stands under.
    pub group: String,
    /// Name of the figure.
    pub label: String,
    /// One for each stage, formatted.
    pub values: Vec<Option<String>>,
    /// The last stage against the first, signed.
    pub change: Option<String>,
    /// Whether the change is for the better; `None` if it is neither.
    pub better: Option<bool>,
}

/// An epoch of fine-tuning. Losses are box, objectness and class; what was not measured is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochPoint {
    /// Its number, from 0.
    pub epoch: usize,
    /// Mean losses of training.
    pub train: [f64; 3],
    /// Mean losses of validation.
    pub val: [f64; 3],
    /// mAP50, 0 to 1.
    pub map50: f64,
    /// mAP50-95, 0 to 1.
    pub map: f64,
    /// Zeros over weights of convolutions.
    pub sparsity: f64,
}

/// An encoded image with its labels and what each stage found.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleImage {
    /// Name of the file.
    pub file_name: String,
    /// Media type of `bytes`, such as `image/jpeg`.
    pub mime: &'static str,
    /// The encoded image, which may be smaller than the original.
    pub bytes: Vec<u8>,
    /// Width of the original in pixels.
    pub width: u32,
    /// Height of the original in pixels.
    pub height: u32,
    /// The labels.
    pub truth: Vec<DrawnBox>,
    /// The detections of every stage.
    pub per_stage: Vec<Vec<DrawnBox>>,
}

/// A box in pixels of the original image.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawnBox {
    /// Left, top, right, bottom.
    pub xyxy: [f32; 4],
    /// Class index, which decides the colour.
    pub class: usize,
    /// What the label says.
    pub class_name: String,
    /// Confidence in `[0, 1]`; a label has none.
    pub score: Option<f32>,
}

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    let curves =
        report.stages.iter().map(|stage| Curve { name: &stage.name, points: stage.pr_curve.clone() });
    let curves: Vec<Curve> = curves.collect();
    let metrics = html! {
        (metrics::table(report))
        (conclusion(&report.conclusion))
    };
    let sections = html! {
        (section("metrics", "Metrics", &metrics_intro(report), &metrics))
        (precision_recall::render(&curves, &report.pr_note))
        (layers::render(&report.stages))
        (history::render(&report.history, &report.stages))
        (detections::render(&report.samples, &report.stages))
        @if !report.notes.is_empty() {
            (section("notes", "Notes", &html! {}, &html! { ul.notes { @for note in &report.notes { li { (note) } } } }))
        }
        (origin(&report.command, &report.created))
    };
    let header = header(&report.title, &report.subtitle, &report.verdict, &report.tiles);
    document(&report.title, &header, &sections)
}

fn metrics_intro(report: &Report) -> Markup {
    match report.stages.as_slice() {
        [first, .., last] if !report.rows.is_empty() => {
            html! { p { "The change is " b { (last.name) } " against " b { (first.name) } "." } }
        }
        _ => html! {},
    }
}
