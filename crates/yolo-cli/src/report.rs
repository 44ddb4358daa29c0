//! `report.html`: what pruning and fine-tuning did to a detector, on one page that needs no other file, no
//! network and no script. The input is plain data, already measured and mostly already formatted.

mod base64;
mod detections;
mod history;
pub(crate) mod html;
mod layers;
pub(crate) mod page;
pub(crate) mod pr_chart;
pub(crate) mod svg;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use sweep::{SweepPage, render as render_sweep};

/// Everything that the page shows. Stages are in order of time, the first of them is the reference.
pub(crate) struct Report {
    pub(crate) title: String,
    /// Weights, data and device.
    pub(crate) subtitle: String,
    /// The result in one sentence; left out where empty.
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

/// A large number at the top of the page.
pub(crate) struct Tile {
    pub(crate) label: String,
    pub(crate) value: String,
    /// A line below the number, coloured by `better`.
    pub(crate) detail: String,
    pub(crate) better: Option<bool>,
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
pub(crate) struct LayerSparsity {
    pub(crate) name: String,
    pub(crate) weights: usize,
    pub(crate) zeros: usize,
}

/// A line of the table. Neighbours of the same group share a heading.
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) label: String,
    /// One for each stage, formatted.
    pub(crate) values: Vec<Option<String>>,
    /// The last stage against the first, signed.
    pub(crate) change: Option<String>,
    pub(crate) better: Option<bool>,
}

/// An epoch of fine-tuning. Losses are box, objectness and class.
pub(crate) struct EpochPoint {
    pub(crate) epoch: usize,
    pub(crate) train: [f64; 3],
    pub(crate) val: [f64; 3],
    pub(crate) map50: f64,
    pub(crate) map: f64,
    pub(crate) sparsity: f64,
}

/// An encoded image with what is on it and what each stage found.
pub(crate) struct SampleImage {
    pub(crate) file_name: String,
    pub(crate) mime: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) truth: Vec<DrawnBox>,
    pub(crate) per_stage: Vec<Vec<DrawnBox>>,
}

/// A box in pixels of its image.
pub(crate) struct DrawnBox {
    pub(crate) xyxy: [f32; 4],
    pub(crate) class: usize,
    pub(crate) class_name: String,
    pub(crate) score: Option<f32>,
}

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    page::render(report)
}
