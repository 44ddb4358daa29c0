//! Measuring a network on a data set: what `val` does once and `prune-finetune` at every stage.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use yolo_data::dataset::cache::default_cache_dir;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};
use yolo_detect::Detector;
use yolo_eval::coco::{Detection, GroundTruth, ImageId, Summary};
use yolo_model::{Checkpoint, FusedCheckpoint};
use yolo_train::{
    CocoTask, ValidatedBatch, Validation, ValidationOptions, coco_evaluation, validate_watched,
};

use crate::console::progress_bar;
use crate::device::Backend;

/// Problems of a data set that are shown one by one.
const SHOWN_PROBLEMS: usize = 10;

/// Lists a split and checks its images and labels.
pub(crate) fn scan_split(config: &DatasetConfig, split: Split, no_cache: bool) -> Result<Dataset> {
    let scan = ScanOptions {
        cache_dir: if no_cache { None } else { default_cache_dir() },
        single_class: false,
        strict: false,
    };
    let bar: OnceLock<ProgressBar> = OnceLock::new();
    let dataset = Dataset::open(config, split, &scan, &|done, total| {
        bar.get_or_init(|| progress_bar("Scanning", total as u64)).set_position(done as u64);
    });
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    Ok(dataset?)
}

/// The same, and says what is wrong with them.
pub(crate) fn open_split(config: &DatasetConfig, split: Split, no_cache: bool) -> Result<Dataset> {
    let dataset = scan_split(config, split, no_cache)?;
    tracing::info!("{}: {}", dataset.source, dataset.report);
    for problem in dataset.report.problems.iter().take(SHOWN_PROBLEMS) {
        tracing::warn!("{}", problem.as_warning());
    }
    if let Some(more @ 1..) = dataset.report.problems.len().checked_sub(SHOWN_PROBLEMS) {
        tracing::warn!("and {more} more problems");
    }
    Ok(dataset)
}

/// What was asked for about COCO's metric.
#[derive(Default)]
pub(crate) struct CocoOptions<'a> {
    /// The file of annotations, if one was named.
    pub(crate) annotations: Option<&'a Path>,
    /// Whether detections are to be written in COCO's format.
    pub(crate) save_json: bool,
    /// All classes count as one.
    pub(crate) single_cls: bool,
}

/// A data set that networks are measured on, with what COCO's metric needs.
pub(crate) struct EvaluationSet {
    pub(crate) dataset: Dataset,
    annotations: Option<GroundTruth>,
    task: Option<CocoTask>,
    save_json: bool,
}

/// A network's figures.
pub(crate) struct Measurement {
    pub(crate) validation: Validation,
    /// Detections in COCO's format, where they are needed.
    pub(crate) results: Vec<(ImageId, Detection)>,
    /// COCO's twelve figures, where there are annotations.
    pub(crate) coco: Option<Summary>,
    /// Whether what ran passes over zeros.
    pub(crate) skips_zeros: bool,
}

impl EvaluationSet {
    /// The data set with its annotations, where it has any.
    pub(crate) fn new(dataset: Dataset, options: &CocoOptions) -> Result<Self> {
        let annotations = annotations(options, &dataset)?;
        let task = coco_task(options, &dataset, annotations.as_ref())?;
        Ok(Self { dataset, annotations, task, save_json: options.save_json })
    }

    /// Runs `network` over all images.
    pub(crate) fn measure(
        &self,
        network: &FusedCheckpoint<'_>,
        backend: &Backend,
        options: &ValidationOptions,
    ) -> Result<Measurement> {
        self.measure_detector(&backend.detector(network.borrowed())?, backend, options, |_| {})
    }

    /// The same for a detector of `backend`; `watch` is given every batch.
    pub(crate) fn measure_detector(
        &self,
        detector: &Detector,
        backend: &Backend,
        options: &ValidationOptions,
        watch: impl FnMut(&ValidatedBatch),
    ) -> Result<Measurement> {
        let bar = progress_bar("Validating", self.dataset.items.len() as u64);
        let progress = |done| bar.set_position(done as u64);
        let measurement = self.measure_quietly(detector, backend, options, progress, watch);
        bar.finish_and_clear();
        let measurement = measurement?;
        self.report_skipped(&measurement.validation);
        Ok(measurement)
    }

    /// The same without a bar and without warnings about images; `progress` is told how many images are done.
    pub(crate) fn measure_quietly(
        &self,
        detector: &Detector,
        backend: &Backend,
        options: &ValidationOptions,
        progress: impl FnMut(usize),
        watch: impl FnMut(&ValidatedBatch),
    ) -> Result<Measurement> {
        let validation = validate_watched(detector, &self.dataset, options, progress, watch)?;
        let wanted = self.task.as_ref().filter(|_| self.annotations.is_some() || self.save_json);
        let results = wanted.map(|task| task.results(&validation.detections)).unwrap_or_default();
        let coco = self.coco(&validation, &results)?;
        Ok(Measurement { validation, results, coco, skips_zeros: backend.skips_zeros() })
    }

    /// Says which images were left out, and why.
    pub(crate) fn report_skipped(&self, validation: &Validation) {
        for warning in validation.warnings.iter().take(SHOWN_PROBLEMS) {
            tracing::warn!("{warning}");
        }
        for skipped in validation.skipped.iter().take(SHOWN_PROBLEMS) {
            tracing::warn!("image left out: {}", skipped.error);
        }
        if !validation.skipped.is_empty() {
            let (left, all) = (validation.skipped.len(), self.dataset.items.len());
            tracing::warn!("{left} of {all} images could not be decoded and count nowhere");
        }
    }

    fn coco(&self, validation: &Validation, results: &[(ImageId, Detection)]) -> Result<Option<Summary>> {
        let (Some(annotations), Some(task)) = (&self.annotations, &self.task) else { return Ok(None) };
        let known = task.known_images(annotations, &validation.detections).len();
        let all = validation.detections.len();
        if known < all {
            tracing::warn!(
                "{} images are not in the annotations; COCO's figures are without them",
                all - known
            );
        }
        if known == 0 {
            return Ok(None);
        }
        let evaluation = coco_evaluation(task, annotations, &validation.detections, results)?;
        warn_unknown_categories(evaluation.unknown_category_count);
        Ok(Some(evaluation.summary()))
    }
}

/// Model and data set have to have the same classes, unless all count as one.
pub(crate) fn check_classes(
    checkpoint: &Checkpoint,
    weights: &Path,
    dataset: &Dataset,
    data: &Path,
    single_cls: bool,
) -> Result<()> {
    let (model, classes) = (checkpoint.class_names.len(), dataset.class_names.len());
    if model != classes && !single_cls {
        bail!(
            "{} has {model} classes, {} has {classes}; use the weights and the data yaml that belong together",
            weights.display(),
            data.display()
        );
    }
    Ok(())
}

/// The annotations for COCO's metric. Those that were asked for have to be good; those that merely lie there
/// may be bad, and cost the COCO figures only.
fn annotations(options: &CocoOptions, dataset: &Dataset) -> Result<Option<GroundTruth>> {
    if options.single_cls {
        tracing::info!(
            "--single-cls merges the classes, so COCO's figures, which are per class, are left out"
        );
        return Ok(None);
    }
    if let Some(path) = options.annotations {
        return Ok(Some(GroundTruth::read(path)?));
    }
    let Some(path) = &dataset.coco_annotations else { return Ok(None) };
    match GroundTruth::read(path) {
        Ok(annotations) => {
            warn_missing_areas(&annotations);
            Ok(Some(annotations))
        }
        Err(error) => {
            tracing::warn!("{error}; continuing without COCO's figures");
            Ok(None)
        }
    }
}

/// COCO's ids for the data set. Where it has none, that is an error only if something that was asked for needs
/// them.
fn coco_task(
    options: &CocoOptions,
    dataset: &Dataset,
    annotations: Option<&GroundTruth>,
) -> Result<Option<CocoTask>> {
    match CocoTask::new(dataset, annotations) {
        Ok(task) => Ok(Some(task)),
        Err(error) if options.annotations.is_some() || options.save_json => {
            let asked = if options.annotations.is_some() { "--annotations" } else { "--save-json" };
            Err(error).context(format!("{asked} needs category ids"))
        }
        Err(error) => {
            tracing::warn!("{error}; continuing without COCO's figures");
            Ok(None)
        }
    }
}

/// COCO's sizes are areas of outlines; say so if areas of boxes are used instead.
pub(crate) fn warn_missing_areas(annotations: &GroundTruth) {
    let count = annotations.missing_areas();
    if count > 0 {
        tracing::warn!(
            "{}: {count} annotations have no area, so that of their box decides whether they are small, medium or large",
            annotations.source().display()
        );
    }
}

/// Detections of categories that the annotations do not have count for nothing; say so.
pub(crate) fn warn_unknown_categories(count: usize) {
    if count > 0 {
        tracing::warn!(
            "{count} detections have a category that the annotations do not have and were left out; \
             check that both files use the same category ids"
        );
    }
}
