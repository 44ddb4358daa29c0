//! From what was measured to what results look like.

use std::path::Path;

use yolo_detect::SpeedMs;
use yolo_eval::coco::{Detection, ImageId, Summary};
use yolo_model::{Checkpoint, LossTerm};
use yolo_prune::{Allocation, PrunePlan, Sparsity, Structure, Unit, nonzero_gflops};
use yolo_report::comparison::{EpochPoint, LayerSparsity, Stage};
use yolo_report::format::{general, thousands};
use yolo_report::results::{
    DataFigures, ModelFigures, NativeFigures, Results, SCHEMA, SpeedFigures, StudyPoint,
};
use yolo_report::table;
use yolo_train::Validation;
use yolo_train::loss::LossTerms;
use yolo_train::train::EpochRecord;

use crate::Result;

/// A network's figures on a data set.
pub struct Measurement {
    /// YOLOv5's own figures, and what was found.
    pub validation: Validation,
    /// Detections in COCO's format, where they are needed.
    pub results: Vec<(ImageId, Detection)>,
    /// COCO's twelve figures, where there are annotations.
    pub coco: Option<Summary>,
    /// Whether what ran passes over zeros.
    pub skips_zeros: bool,
}

/// Counts `checkpoint`, which came from the file `weights` of `file_bytes` bytes.
///
/// # Errors
/// Weights that cannot be counted.
pub fn model_figures(checkpoint: &Checkpoint, weights: &Path, file_bytes: u64) -> Result<ModelFigures> {
    let (summary, sparsity) = (checkpoint.architecture.summary(), Sparsity::of(checkpoint)?);
    Ok(ModelFigures {
        weights: weights.display().to_string(),
        parameters: sparsity.parameters,
        zeros: sparsity.zeros,
        sparsity: sparsity.sparsity(),
        conv_weights: sparsity.conv_weights,
        conv_zeros: sparsity.conv_zeros,
        conv_sparsity: sparsity.conv_sparsity(),
        layers: summary.layers,
        gflops: summary.gflops,
        gflops_nonzero: Some(nonzero_gflops(&checkpoint.architecture, &sparsity)),
        file_bytes: Some(file_bytes),
    })
}

/// The figures of a validation of `model` at `image_size`.
pub fn results(
    model: ModelFigures,
    validation: &Validation,
    class_names: &[String],
    image_size: usize,
    coco: Option<Summary>,
) -> Results {
    Results {
        stage: None,
        schema: SCHEMA,
        model,
        data: DataFigures {
            images: validation.detections.len(),
            instances: validation.instances,
            imgsz: image_size,
        },
        native: NativeFigures::new(&validation.native, class_names),
        coco,
        speed_ms: speed_figures(&validation.speed),
        turns: None,
        confusion_matrix: None,
    }
}

/// Milliseconds per image, as they are written.
pub fn speed_figures(speed: &SpeedMs) -> SpeedFigures {
    let SpeedMs { preprocess, inference, nms, shape } = *speed;
    SpeedFigures { preprocess, inference, nms, shape }
}

/// The table of a validation, with a line per class if `every_class` asks for them.
pub fn class_table(validation: &Validation, names: &[String], every_class: bool) -> Vec<String> {
    let counts = (validation.detections.len(), validation.instances);
    table::class_table(&validation.native, counts, names, every_class)
}

/// A network at one size of a study. As in YOLOv5, mAP is COCO's if COCO's metric was asked for.
pub fn study_point(validation: &Validation, image_size: usize, coco: Option<Summary>) -> StudyPoint {
    let native = &validation.native;
    let (map50, map) = coco.map_or((native.map50, native.map), |coco| (coco.ap50, coco.ap));
    StudyPoint {
        imgsz: image_size,
        precision: native.precision,
        recall: native.recall,
        map50,
        map,
        speed_ms: speed_figures(&validation.speed).times(),
    }
}

/// The stage `name`: the fused `network` as it was measured, and the file it came from.
///
/// # Errors
/// As [`model_figures`].
pub fn stage(
    name: &str,
    network: &Checkpoint,
    (file, file_bytes): (&Path, u64),
    image_size: usize,
    measurement: &Measurement,
) -> Result<Stage> {
    let Measurement { validation, coco, skips_zeros, .. } = measurement;
    let model = model_figures(network, file, file_bytes)?;
    let figures = results(model, validation, &network.class_names, image_size, *coco);
    Ok(Stage {
        name: name.to_owned(),
        figures: Results { stage: Some(name.to_owned()), ..figures },
        pr_curve: Stage::mean_curve(&validation.native),
        layers: layer_sparsity(&Sparsity::of(network)?),
        skips_zeros: *skips_zeros,
    })
}

/// The zeros of every convolution.
pub fn layer_sparsity(sparsity: &Sparsity) -> Vec<LayerSparsity> {
    let layer = |layer: &yolo_prune::LayerSparsity| LayerSparsity {
        name: layer.name.clone(),
        weights: layer.weights,
        zeros: layer.zeros,
    };
    sparsity.layers.iter().map(layer).collect()
}

/// The convolutions with their zeros, for scripts.
pub fn layers_json(sparsity: &Sparsity) -> Vec<serde_json::Value> {
    let layer = |layer: &yolo_prune::LayerSparsity| {
        serde_json::json!({
            "name": layer.name,
            "shape": layer.shape,
            "weights": layer.weights,
            "zeros": layer.zeros,
            "sparsity": layer.fraction(),
        })
    };
    sparsity.layers.iter().map(layer).collect()
}

/// What was pruned, in one line; sparsity is over all parameters, as YOLOv5 counts it.
pub fn pruning_line(plan: &PrunePlan, sparsity: &Sparsity) -> String {
    let how = match (plan.structure, plan.allocation, plan.unit) {
        (Structure::NofM { n, m }, _, _) => format!("by {n}:{m}"),
        (_, _, Unit::Flops) => "of the convolutions' FLOPs".to_owned(),
        (_, _, Unit::Milliseconds) => "of the network's milliseconds".to_owned(),
        (_, Allocation::Layer, _) => "of each convolution".to_owned(),
        _ => "of all convolutions together".to_owned(),
    };
    format!(
        "Pruned {}% {how}: {} of {} weights are zero, {} global sparsity",
        general(plan.amount * 100.0, 6),
        thousands(sparsity.conv_zeros),
        thousands(sparsity.conv_weights),
        general(sparsity.sparsity(), 3),
    )
}

/// An epoch of fine-tuning a network with `conv_weights` weights of convolutions.
pub fn epoch(record: &EpochRecord, conv_weights: usize) -> EpochPoint {
    let losses = |terms: &LossTerms| {
        [LossTerm::Box, LossTerm::Objectness, LossTerm::Class].map(|term| terms.get(term).unwrap_or(f64::NAN))
    };
    let validation = record.validation.as_ref();
    EpochPoint {
        epoch: record.epoch,
        train: losses(&record.train),
        val: validation.map_or([f64::NAN; 3], |v| losses(&v.loss)),
        map50: validation.map_or(f64::NAN, |v| v.map50),
        map: validation.map_or(f64::NAN, |v| v.map),
        sparsity: record.pruned as f64 / conv_weights.max(1) as f64,
    }
}
