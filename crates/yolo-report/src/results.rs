//! `results.json` and `summary.json`: the figures that scripts read. The same types write and read them; their keys
//! are a contract.
//!
//! What an older version did not write is `None` or empty. Everything else has to be there.

mod files;

use serde::{Deserialize, Serialize};
use yolo_eval::coco::Summary;
use yolo_eval::metrics::{ClassMetrics, ConfusionMatrix, Curves, NativeReport};

pub use files::{
    PruningSummary, ReadError, ResultsFile, SpeedRuns, Study, StudyNetwork, StudyPoint, UNDERSTOOD,
};

use crate::format::unit_count;

/// Version of the layout.
pub const SCHEMA: u32 = 1;

/// The figures of a validation: `results.json` of `val`, and every stage in `summary.json` of `prune-finetune`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The stage of `prune-finetune` that was measured: `baseline`, `pruned` or `finetuned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Version of the layout: [`SCHEMA`].
    pub schema: u32,
    /// Size and zeros of the network.
    pub model: ModelFigures,
    /// What it was measured on.
    pub data: DataFigures,
    /// YOLOv5's own metrics.
    pub native: NativeFigures,
    /// COCO's twelve numbers; null if the data set has no COCO annotations.
    pub coco: Option<Summary>,
    /// Milliseconds per image.
    pub speed_ms: SpeedFigures,
    /// The network alone, in turns with the other stages of `prune-finetune`; its median is `speed_ms.inference` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
    /// Which classes are taken for which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion_matrix: Option<ConfusionFigures>,
}

/// Which classes are taken for which, of detections with a score above 0.25 and an IoU above 0.45.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfusionFigures {
    /// Names of rows and columns; the last is the background.
    pub classes: Vec<String>,
    /// A row per predicted class, a column per true one.
    pub counts: Vec<Vec<u64>>,
}

/// Size and zeros of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// The file.
    pub weights: String,
    /// Parameters, convolutions and others.
    pub parameters: usize,
    /// Parameters that are zero.
    pub zeros: usize,
    /// `zeros` over `parameters`.
    pub sparsity: f64,
    /// Weights of convolutions.
    pub conv_weights: usize,
    /// Weights of convolutions that are zero.
    pub conv_zeros: usize,
    /// `conv_zeros` over `conv_weights`.
    pub conv_sparsity: f64,
    /// Layers as YOLOv5 counts them.
    pub layers: usize,
    /// Billions of floating-point operations for an image of 640 px.
    pub gflops: f64,
    /// The same without multiplications by zero. Files of older versions do not have it.
    #[serde(default)]
    pub gflops_nonzero: Option<f64>,
    /// Size of the file in bytes.
    #[serde(default)]
    pub file_bytes: Option<u64>,
}

/// What a network was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFigures {
    /// Images that could be decoded.
    pub images: usize,
    /// Labelled objects.
    pub instances: usize,
    /// Long side in pixels.
    pub imgsz: usize,
}

/// YOLOv5's own metrics, each in `[0, 1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NativeFigures {
    /// Precision, at the confidence at which mean F1 is largest.
    pub precision: f64,
    /// Recall, at the same confidence.
    pub recall: f64,
    /// Mean average precision at IoU 0.50.
    pub map50: f64,
    /// Mean average precision over IoU 0.50 to 0.95.
    pub map: f64,
    /// The classes that have objects.
    pub per_class: Vec<ClassFigures>,
    /// Precision at recall 0, 0.01, … 1, at IoU 0.5, averaged over classes, to four decimals. Files of older versions
    /// do not have it.
    #[serde(default)]
    pub precision_at_recall: Vec<f64>,
}

/// The metrics of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub name: String,
    /// Labelled objects.
    pub instances: usize,
    /// Precision, as for all classes.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// Average precision at IoU 0.50.
    pub map50: f64,
    /// Average precision over IoU 0.50 to 0.95.
    pub map: f64,
}

/// Milliseconds per image, and the shape of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedFigures {
    /// From bytes to the network's input.
    pub preprocess: f64,
    /// The network.
    pub inference: f64,
    /// Suppression of boxes that overlap.
    pub nms: f64,
    /// `[N, C, H, W]` of the input.
    pub shape: [usize; 4],
}

impl SpeedFigures {
    /// Without the shape.
    pub fn times(&self) -> Times {
        Times { preprocess: self.preprocess, inference: self.inference, nms: self.nms }
    }
}

/// Milliseconds per image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// From bytes to the network's input.
    pub preprocess: f64,
    /// The network.
    pub inference: f64,
    /// Suppression of boxes that overlap.
    pub nms: f64,
}

/// Milliseconds of runs that took turns with those of other networks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turns {
    /// The median of all runs.
    pub median: f64,
    /// A tenth of the runs was faster.
    pub fast: f64,
    /// A tenth of the runs was slower.
    pub slow: f64,
    /// Number of runs.
    pub runs: usize,
}

impl Turns {
    /// Of the milliseconds of all runs; not a number if there is none.
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let last = times.len().saturating_sub(1) as f64;
        let quantile = |share: f64| times.get((last * share).round() as usize).copied().unwrap_or(f64::NAN);
        Self { median: quantile(0.5), fast: quantile(0.1), slow: quantile(0.9), runs: times.len() }
    }

    /// Whether eight in ten runs of both lie in ranges that have something in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.fast <= other.slow && other.fast <= self.slow
    }
}

/// What a network takes for one image, before and after pruning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Milliseconds {
    /// As the times of its convolutions predict.
    pub predicted: [f64; 2],
    /// Of the whole network.
    pub measured: [f64; 2],
    /// Threads that it ran on.
    pub threads: usize,
    /// Side of the image in pixels.
    pub imgsz: usize,
}

impl ModelFigures {
    /// GFLOPs without multiplications by zero; all of them if that is not known.
    pub fn nonzero_gflops(&self) -> f64 {
        self.gflops_nonzero.unwrap_or(self.gflops)
    }

    /// Two networks that run as one.
    pub fn with(&self, other: &Self) -> Self {
        let share = |zeros: usize, all: usize| if all == 0 { 0.0 } else { zeros as f64 / all as f64 };
        let (parameters, zeros) = (self.parameters + other.parameters, self.zeros + other.zeros);
        let conv_weights = self.conv_weights + other.conv_weights;
        let conv_zeros = self.conv_zeros + other.conv_zeros;
        let nonzero = self.gflops_nonzero.zip(other.gflops_nonzero);
        Self {
            weights: format!("{}, {}", self.weights, other.weights),
            parameters,
            zeros,
            sparsity: share(zeros, parameters),
            conv_weights,
            conv_zeros,
            conv_sparsity: share(conv_zeros, conv_weights),
            layers: self.layers + other.layers,
            gflops: self.gflops + other.gflops,
            gflops_nonzero: nonzero.map(|(a, b)| a + b),
            file_bytes: self.file_bytes.zip(other.file_bytes).map(|(a, b)| a + b),
        }
    }
}

impl Results {
    /// The same with the confusion matrix.
    pub fn with_confusion(self, matrix: &ConfusionMatrix, class_names: &[String]) -> Self {
        let name = |class: usize| class_names.get(class).cloned().unwrap_or_else(|| class.to_string());
        let classes = (0..matrix.num_classes()).map(name).chain(["background".to_owned()]).collect();
        let counts = matrix.rows().map(<[u64]>::to_vec).collect();
        Self { confusion_matrix: Some(ConfusionFigures { classes, counts }), ..self }
    }
}

impl NativeFigures {
    /// The figures of `report`.
    pub fn new(report: &NativeReport, class_names: &[String]) -> Self {
        let class = |class: &ClassMetrics| ClassFigures {
            name: class_names.get(class.class as usize).cloned().unwrap_or_default(),
            instances: class.instances,
            precision: class.precision,
            recall: class.recall,
            map50: class.map50,
            map: class.map,
        };
        Self {
            precision: report.precision,
            recall: report.recall,
            map50: report.map50,
            map: report.map,
            per_class: report.per_class.iter().map(class).collect(),
            precision_at_recall: precision_at_recall(&report.curves),
        }
    }
}

/// The mean curve at every hundredth of recall: enough for a plot, and short in a file.
fn precision_at_recall(curves: &Curves) -> Vec<f64> {
    if curves.per_class.is_empty() {
        return Vec::new();
    }
    let mean = curves.mean(|class| &class.precision_at_recall);
    let last = mean.len().saturating_sub(1);
    let at = |hundredth: usize| mean.get((hundredth * last + 50) / 100).copied().unwrap_or(0.0);
    (0..=100).map(|hundredth| (at(hundredth) * 1e4).round() / 1e4).collect()
}

impl Milliseconds {
    /// Predicted and measured times in one line.
    pub fn line(&self) -> String {
        let change = |[before, after]: [f64; 2]| {
            let percent = (after / before.max(f64::MIN_POSITIVE) - 1.0) * 100.0;
            format!("{before:.2} → {after:.2} ({percent:+.1} %)")
        };
        format!(
            "Milliseconds: {} by the times of its convolutions, {} measured as a whole ({}, {} px)",
            change(self.predicted),
            change(self.measured),
            unit_count(self.threads, "thread"),
            self.imgsz
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicted_and_measured_times_are_told() {
        let times = Milliseconds { predicted: [12.0, 9.0], measured: [12.5, 10.0], threads: 1, imgsz: 64 };
        assert_eq!(
            times.line(),
            "Milliseconds: 12.00 → 9.00 (-25.0 %) by the times of its convolutions, 12.50 → 10.00 (-20.0 %) measured as \
             a whole (1 thread, 64 px)"
        );
    }

    #[test]
    fn turns_are_a_median_with_its_spread() {
        let turns = Turns::of((0..=10).rev().map(f64::from).collect());
        assert_eq!(turns, Turns { median: 5.0, fast: 1.0, slow: 9.0, runs: 11 });
        let other = |fast, slow| Turns { median: 0.0, fast, slow, runs: 1 };
        assert!(turns.overlaps(&other(9.0, 12.0)) && turns.overlaps(&other(0.5, 1.0)));
        assert!(!turns.overlaps(&other(9.5, 12.0)) && !turns.overlaps(&other(0.1, 0.9)));
        assert!(Turns::of(Vec::new()).median.is_nan());
    }
}
