//! Measuring a network on a data set: what `val` does once and `prune-finetune` at every stage.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use indicatif::ProgressBar;
use yolo_data::DataError;
use yolo_data::dataset::cache::default_cache_dir;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};
use yolo_detect::Detector;
use yolo_device::Backend;
use yolo_eval::coco::classes::{CategoryMap, folded};
use yolo_eval::coco::{Detection, GroundTruth, ImageId, Summary};
use yolo_measure::figures::Measurement;
use yolo_model::{Checkpoint, FusedCheckpoint};
use yolo_train::{CocoTask, TrainError, ValidatedBatch, Validation, ValidationOptions, validate_watched};

use crate::console::progress_bar;

/// What else to do about categories that do not fit.
const CATEGORY_HINT: &str = "; or pair them in a yaml of `category: class` for --category-map";
/// Objects that annotations and labels may differ by, as a share: converters leave out crowds, and repeated or empty boxes.
const OTHER_OBJECTS: f64 = 0.1;
/// Problems of a data set that are shown one by one.
const SHOWN_PROBLEMS: usize = 10;

/// Lists a split and checks its images and labels.
pub(crate) fn scan_split(
    config: &DatasetConfig,
    split: Split,
    no_cache: bool,
    category_map: Option<&CategoryMap>,
) -> Result<Dataset> {
    let scan = ScanOptions {
        cache_dir: if no_cache { None } else { default_cache_dir() },
        category_map: category_map.cloned(),
        ..ScanOptions::default()
    };
    let bar: OnceLock<ProgressBar> = OnceLock::new();
    let dataset = Dataset::open(config, split, &scan, &|done, total| {
        bar.get_or_init(|| progress_bar("Scanning", total as u64)).set_position(done as u64);
    });
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    dataset.map_err(|error| match error {
        DataError::Classes { .. } if category_map.is_none() => anyhow!("{error}{CATEGORY_HINT}"),
        error => error.into(),
    })
}

/// The same, and says what is wrong with them.
pub(crate) fn open_split(
    config: &DatasetConfig,
    split: Split,
    no_cache: bool,
    category_map: Option<&CategoryMap>,
) -> Result<Dataset> {
    let dataset = scan_split(config, split, no_cache, category_map)?;
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
    /// Classes of categories whose names do not tell.
    pub(crate) category_map: Option<CategoryMap>,
    /// Class names of the network, if they are known before it runs.
    pub(crate) network_names: Option<Vec<String>>,
    /// Images that the annotations lack only cost a warning.
    pub(crate) allow_missing: bool,
    /// Whether detections are to be written in COCO's format.
    pub(crate) save_json: bool,
    /// All classes count as one.
    pub(crate) single_cls: bool,
}

impl CocoOptions<'_> {
    /// The same for networks with the classes of `checkpoint`.
    pub(crate) fn of(self, checkpoint: &Checkpoint) -> Self {
        Self { network_names: Some(checkpoint.class_names.clone()), ..self }
    }
}

/// A data set that networks are measured on, with what COCO's metric needs.
pub(crate) struct EvaluationSet {
    pub(crate) dataset: Dataset,
    task: CocoTask,
    /// Whether COCO's figures are computed.
    has_figures: bool,
    save_json: bool,
}

impl EvaluationSet {
    /// The data set with its annotations, where it has any.
    pub(crate) fn new(dataset: Dataset, options: &CocoOptions) -> Result<Self> {
        if let Some(reason) = dataset.without_labels("nothing to measure on") {
            tracing::warn!("{reason}");
        }
        let task = coco_task(options, &dataset)?;
        let has_figures = task.has_annotations() && is_complete(options, &dataset, &task)?;
        Ok(Self { dataset, task, has_figures, save_json: options.save_json })
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
        let is_wanted = self.has_figures || self.save_json;
        let results = if is_wanted { self.task.results(&validation.detections) } else { Vec::new() };
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
        if !self.has_figures {
            return Ok(None);
        }
        let evaluation = self.task.evaluation(&validation.detections, results)?;
        Ok(evaluation.map(|evaluation| evaluation.summary()))
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
    if !single_cls && let Some(difference) = other_names(&checkpoint.class_names, &dataset.class_names) {
        tracing::warn!("{} and {}: {difference}", weights.display(), data.display());
    }
    Ok(())
}

/// Names as they are compared, in alphabetical order.
fn sorted_names(names: &[String]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| folded(name)).collect();
    names.sort_unstable();
    names
}

/// Whether both have the same names, in whatever order.
fn is_reordered(weights: &[String], data: &[String]) -> bool {
    sorted_names(weights) == sorted_names(data)
}

/// How the names of as many classes differ between weights and data, case and surrounding space aside.
pub(crate) fn other_names(weights: &[String], data: &[String]) -> Option<String> {
    let first = weights.iter().zip(data).position(|(a, b)| folded(a) != folded(b))?;
    let (a, b) = (&weights[first], &data[first]);
    let at_first = format!("class {first} is `{a}` in the weights and `{b}` in the data");
    if is_reordered(weights, data) {
        return Some(format!(
            "the same class names in another order: {at_first}. Labels are compared by number, so what the network calls \
             `{a}` is measured on labels of `{b}`; COCO's annotations are compared by name, in which the order of the \
             weights counts. Put `names` in the order of the weights, unless the labels are numbered as they are"
        ));
    }
    let known = sorted_names(data);
    let others = weights.iter().filter(|name| !known.contains(&folded(name))).count();
    Some(format!(
        "OTHER CLASSES: {others} of {} class names of the weights are not in the data; {at_first}. Classes are compared by \
         number, so the figures mean nothing unless both names stand for the same objects",
        weights.len()
    ))
}

/// COCO's ids, and the annotations if there are any. Those that were asked for have to be good; those that merely lie
/// there may be bad, and cost the COCO figures only, unless something else that was asked for needs their ids.
fn coco_task(options: &CocoOptions, dataset: &Dataset) -> Result<CocoTask> {
    let without = || {
        let task = CocoTask::without_annotations(dataset);
        if options.save_json {
            task.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Ok(task)
    };
    if options.single_cls {
        tracing::info!(
            "--single-cls merges the classes, so COCO's figures, which are per class, are left out"
        );
        return without();
    }
    let is_asked_for = options.annotations.is_some();
    let Some(path) = options.annotations.or(dataset.coco_annotations.as_deref()) else { return without() };
    let annotations = match GroundTruth::read(path) {
        Ok(annotations) => annotations,
        Err(error) if is_asked_for => return Err(error.into()),
        Err(error) => {
            tracing::warn!("{error}; continuing without COCO's figures");
            return without();
        }
    };
    warn_about(&annotations);
    // A network's own names say what its classes are, even if the yaml has them in another order.
    let reordered =
        options.network_names.as_deref().filter(|names| is_reordered(names, &dataset.class_names));
    let names = reordered.unwrap_or(&dataset.class_names);
    match CocoTask::with_annotations(dataset, names, annotations, options.category_map.as_ref()) {
        Ok(task) => {
            task.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
            let outside = task.images_outside();
            if outside > 0 {
                tracing::info!("{}: {outside} images are not in the split and do not count", path.display());
            }
            // Images that are missing are a better explanation, and `is_complete` gives it.
            if task.missing_images(dataset).is_some() || has_objects(options, dataset, &task, path)? {
                Ok(task)
            } else {
                without()
            }
        }
        Err(error) => {
            let is_of_classes = matches!(error, TrainError::Data(DataError::Classes { .. }));
            let hint = if is_of_classes && options.category_map.is_none() { CATEGORY_HINT } else { "" };
            if is_asked_for || options.save_json {
                let reason = if is_asked_for { "" } else { " (--save-json writes their ids)" };
                bail!("{error}{hint}{reason}");
            }
            tracing::warn!("{error}{hint}; continuing without COCO's figures");
            without()
        }
    }
}

/// Whether the annotations have objects that count. None is an error if the annotations were asked for; other numbers
/// than the labels have is a warning, since precision and recall are then measured against something else.
fn has_objects(options: &CocoOptions, dataset: &Dataset, task: &CocoTask, path: &Path) -> Result<bool> {
    let objects = task.objects();
    let labels: usize = dataset.items.iter().map(|item| item.labels.len()).sum();
    if objects == 0 && labels > 0 {
        let reason = format!(
            "{}: no object in the images and classes of this split, whose label files have {labels}; use the annotations \
             of these images",
            path.display()
        );
        if options.annotations.is_some() {
            bail!("{reason}");
        }
        tracing::warn!("{reason}; continuing without COCO's figures");
        return Ok(false);
    }
    if (objects as f64 - labels as f64).abs() > OTHER_OBJECTS * objects.max(labels) as f64 {
        tracing::warn!(
            "{}: {objects} objects, where the label files have {labels}: COCO's figures are of the first, the others of the \
             second; check that both are of these images",
            path.display()
        );
    }
    Ok(true)
}

/// Whether the annotations have every image. That they do not is an error if they were asked for.
fn is_complete(options: &CocoOptions, dataset: &Dataset, task: &CocoTask) -> Result<bool> {
    let Some(missing) = task.missing_images(dataset) else { return Ok(true) };
    if options.allow_missing {
        tracing::warn!("{missing}; COCO's figures are without them");
        return Ok(true);
    }
    if options.annotations.is_some() {
        bail!("{missing}, or --allow-missing to leave them out");
    }
    tracing::warn!(
        "{missing}; continuing without COCO's figures (--allow-missing computes them without these images)"
    );
    Ok(false)
}

/// Says what is odd about annotations. COCO's sizes are areas of outlines; areas of boxes are used if there are none.
pub(crate) fn warn_about(annotations: &GroundTruth) {
    for remark in annotations.remarks() {
        tracing::warn!("{}: {remark}", annotations.source().display());
    }
    let count = annotations.missing_areas();
    if count > 0 {
        tracing::warn!(
            "{}: {count} annotations have no area, so that of their box decides whether they are small, medium or large",
            annotations.source().display()
        );
    }
    if annotations.annotations().iter().any(|annotation| annotation.id == 0) {
        tracing::warn!(
            "{}: annotation id 0 counts here; pycocotools takes its match for a miss, so its figures are a little lower; \
             number annotations from 1",
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
