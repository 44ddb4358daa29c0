//! `results.json`: the figures that scripts read. Its keys are a contract.

use serde::Serialize;
use yolo_detect::SpeedMs;
use yolo_eval::coco::Summary;
use yolo_eval::metrics::{ConfusionMatrix, Curves, NativeReport};
use yolo_model::Checkpoint;
use yolo_prune::{Sparsity, nonzero_gflops};
use yolo_train::Validation;

/// Version of the layout.
pub(crate) const SCHEMA: u32 = 1;

/// The figures of a validation.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    schema: u32,
    pub(crate) model: ModelFigures,
    data: DataFigures,
    pub(crate) native: NativeFigures,
    /// Null where the data set has no COCO annotations.
    pub(crate) coco: Option<Summary>,
    pub(crate) speed_ms: SpeedFigures,
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion_matrix: Option<ConfusionFigures>,
}

/// Which classes are taken for which, of detections with a score above 0.25 and an IoU above 0.45.
#[derive(Debug, Serialize)]
struct ConfusionFigures {
    /// Names of rows and columns; the last is the background.
    classes: Vec<String>,
    /// A row per predicted class, a column per true one.
    counts: Vec<Vec<u64>>,
}

/// Size and zeros of a network.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelFigures {
    pub(crate) weights: String,
    pub(crate) parameters: usize,
    pub(crate) zeros: usize,
    pub(crate) sparsity: f64,
    pub(crate) conv_weights: usize,
    pub(crate) conv_zeros: usize,
    pub(crate) conv_sparsity: f64,
    pub(crate) layers: usize,
    pub(crate) gflops: f64,
    /// Without multiplications by zero.
    pub(crate) gflops_nonzero: f64,
    pub(crate) file_bytes: u64,
}

#[derive(Debug, Serialize)]
struct DataFigures {
    images: usize,
    instances: usize,
    imgsz: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct NativeFigures {
    pub(crate) precision: f64,
    pub(crate) recall: f64,
    pub(crate) map50: f64,
    pub(crate) map: f64,
    per_class: Vec<ClassFigures>,
    /// Precision at recall 0, 0.01, … 1, at IoU 0.5, averaged over classes; to four decimals.
    pub(crate) precision_at_recall: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct ClassFigures {
    name: String,
    instances: usize,
    precision: f64,
    recall: f64,
    map50: f64,
    map: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct SpeedFigures {
    preprocess: f64,
    pub(crate) inference: f64,
    nms: f64,
    shape: [usize; 4],
}

/// Milliseconds per image.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Times {
    pub(crate) preprocess: f64,
    pub(crate) inference: f64,
    pub(crate) nms: f64,
}

impl From<&SpeedMs> for Times {
    fn from(speed: &SpeedMs) -> Self {
        Self { preprocess: speed.preprocess, inference: speed.inference, nms: speed.nms }
    }
}

impl ModelFigures {
    /// Counts `checkpoint`, which came from the file `weights` of `file_bytes` bytes.
    pub(crate) fn of(
        checkpoint: &Checkpoint,
        weights: &std::path::Path,
        file_bytes: u64,
    ) -> anyhow::Result<Self> {
        let (summary, sparsity) = (checkpoint.architecture.summary(), Sparsity::of(checkpoint)?);
        Ok(Self {
            weights: weights.display().to_string(),
            parameters: sparsity.parameters,
            zeros: sparsity.zeros,
            sparsity: sparsity.sparsity(),
            conv_weights: sparsity.conv_weights,
            conv_zeros: sparsity.conv_zeros,
            conv_sparsity: sparsity.conv_sparsity(),
            layers: summary.layers,
            gflops: summary.gflops,
            gflops_nonzero: nonzero_gflops(&checkpoint.architecture, &sparsity),
            file_bytes,
        })
    }

    /// Two networks that run as one.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let share = |zeros: usize, all: usize| if all == 0 { 0.0 } else { zeros as f64 / all as f64 };
        let (parameters, zeros) = (self.parameters + other.parameters, self.zeros + other.zeros);
        let conv_weights = self.conv_weights + other.conv_weights;
        let conv_zeros = self.conv_zeros + other.conv_zeros;
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
            gflops_nonzero: self.gflops_nonzero + other.gflops_nonzero,
            file_bytes: self.file_bytes + other.file_bytes,
        }
    }
}

impl Results {
    /// The figures of a validation of `model` at `image_size`.
    pub(crate) fn new(
        model: ModelFigures,
        validation: &Validation,
        class_names: &[String],
        image_size: usize,
        coco: Option<Summary>,
    ) -> Self {
        let SpeedMs { preprocess, inference, nms, shape } = validation.speed;
        Self {
            schema: SCHEMA,
            model,
            data: DataFigures {
                images: validation.detections.len(),
                instances: validation.instances,
                imgsz: image_size,
            },
            native: native_figures(&validation.native, class_names),
            coco,
            speed_ms: SpeedFigures { preprocess, inference, nms, shape },
            confusion_matrix: None,
        }
    }

    /// The same with the confusion matrix.
    pub(crate) fn with_confusion(self, matrix: &ConfusionMatrix, class_names: &[String]) -> Self {
        let name = |class: usize| class_names.get(class).cloned().unwrap_or_else(|| class.to_string());
        let classes = (0..matrix.num_classes()).map(name).chain(["background".to_owned()]).collect();
        let counts = matrix.rows().map(<[u64]>::to_vec).collect();
        Self { confusion_matrix: Some(ConfusionFigures { classes, counts }), ..self }
    }
}

fn native_figures(report: &NativeReport, class_names: &[String]) -> NativeFigures {
    let class = |class: &yolo_eval::metrics::ClassMetrics| ClassFigures {
        name: class_names.get(class.class as usize).cloned().unwrap_or_default(),
        instances: class.instances,
        precision: class.precision,
        recall: class.recall,
        map50: class.map50,
        map: class.map,
    };
    NativeFigures {
        precision: report.precision,
        recall: report.recall,
        map50: report.map50,
        map: report.map,
        per_class: report.per_class.iter().map(class).collect(),
        precision_at_recall: precision_at_recall(&report.curves),
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
