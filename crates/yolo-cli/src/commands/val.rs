//! `val`: YOLOv5's `val.py`, with the tutorial's pruning as a flag.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use indicatif::ProgressBar;
use yolo_data::coco::{Detection, GroundTruth, ImageId, Summary, write_results};
use yolo_data::dataset::cache::default_cache_dir;
use yolo_data::dataset::{Dataset, ScanOptions, Split};
use yolo_model::{Checkpoint, NmsOptions, Yolo};
use yolo_prune::{Sparsity, apply, plan};
use yolo_train::{CocoTask, Validation, ValidationOptions, coco_evaluation, validate};

use super::coco_eval::{warn_missing_areas, warn_unknown_categories};
use super::info::summary_line;
use super::prune::{options, pruning_line};
use crate::args::{TaskArg, ValArgs};
use crate::console::{Output, progress_bar};
use crate::resolve::{Weights, data_config};
use crate::results::{ModelFigures, Results};
use crate::run_dir::RunDir;
use crate::{device, labels_txt, table};

/// Problems of a data set that are shown one by one.
const SHOWN_PROBLEMS: usize = 10;
/// Most classes for which the table has a line each without `--verbose`.
const SHOWN_CLASSES: usize = 50;

/// Validates a checkpoint on a data set and writes `results.json`.
pub(crate) fn run(args: &ValArgs) -> Result<()> {
    let device = device::parse(&args.device)?;
    warn_about_flags(args);
    let output = Output::new(args.json);
    let weights = Weights::load(&args.weights)?;
    let network = network(args, &weights, &output)?;
    let dataset = open_dataset(args)?;
    check_classes(args, &weights, &dataset)?;
    let annotations = annotations(args, &dataset)?;
    let task = coco_task(args, &dataset, annotations.as_ref())?;
    let run = RunDir::create(&args.project, &args.name, args.exist_ok)?;

    let options = validation_options(args, &network);
    let validation = run_validation(&network, &dataset, &device, &options)
        .with_context(|| weights.path.display().to_string())?;
    report_skipped(&validation, &dataset);
    let names = class_names(&network, args);
    let every_class = args.verbose || names.len() < SHOWN_CLASSES;
    for line in table::class_table(&validation, &names, every_class && names.len() > 1) {
        output.line(line)?;
    }
    output.line(table::speed_line(&validation.speed))?;

    let wanted = task.as_ref().filter(|_| annotations.is_some() || args.save_json);
    let results = wanted.map(|task| task.results(&validation.detections)).unwrap_or_default();
    let coco = coco(annotations.as_ref(), task.as_ref(), &validation, &results, &output)?;
    save(args, &run, &weights.path, &dataset, &validation, &results)?;
    let model = ModelFigures::of(&network, &weights.path, weights.file_bytes)?;
    let figures = Results::new(model, &validation, &names, options.image_size, coco);
    run.write("results.json", serde_json::to_string_pretty(&figures)?.as_bytes())?;
    output.line(format!("Results saved to {}", run.path().display()))?;
    output.json(&figures)
}

fn warn_about_flags(args: &ValArgs) {
    if args.conf_thres > 0.001 && args.task != TaskArg::Speed {
        tracing::warn!(
            "--conf-thres {} is above 0.001, so low scores are missing from the metrics",
            args.conf_thres
        );
    }
    if args.half && device::is_cpu(&args.device) {
        tracing::warn!("--half has no effect on the CPU: computing in f32");
    }
}

/// The network that is measured: fused, and pruned where asked.
fn network(args: &ValArgs, weights: &Weights, output: &Output) -> Result<Checkpoint> {
    let fused = weights.checkpoint.fuse()?;
    output.line(summary_line(&fused))?;
    let Some(amount) = args.prune else { return Ok(fused) };
    let plan = plan(&fused, &options(args.prune_method, amount, &args.exclude))
        .with_context(|| weights.path.display().to_string())?;
    let pruned = apply(&fused, &plan)?;
    output.line(pruning_line(&plan, &Sparsity::of(&pruned)?))?;
    for skipped in &plan.skipped {
        tracing::info!("{} was not pruned: {}", skipped.tensor, skipped.reason);
    }
    Ok(pruned)
}

fn open_dataset(args: &ValArgs) -> Result<Dataset> {
    let split = match args.task {
        TaskArg::Train => Split::Train,
        TaskArg::Val | TaskArg::Speed => Split::Val,
        TaskArg::Test => Split::Test,
    };
    let scan = ScanOptions {
        cache_dir: if args.no_cache { None } else { default_cache_dir() },
        single_class: false,
        strict: false,
    };
    let bar: OnceLock<ProgressBar> = OnceLock::new();
    let dataset = Dataset::open(&data_config(&args.data)?, split, &scan, &|done, total| {
        bar.get_or_init(|| progress_bar("Scanning", total as u64)).set_position(done as u64);
    });
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    let dataset = dataset?;
    tracing::info!("{}: {}", dataset.source, dataset.report);
    for problem in dataset.report.problems.iter().take(SHOWN_PROBLEMS) {
        tracing::warn!("{problem}");
    }
    if let Some(more @ 1..) = dataset.report.problems.len().checked_sub(SHOWN_PROBLEMS) {
        tracing::warn!("and {more} more problems");
    }
    Ok(dataset)
}

fn check_classes(args: &ValArgs, weights: &Weights, dataset: &Dataset) -> Result<()> {
    let (model, data) = (weights.checkpoint.class_names.len(), dataset.class_names.len());
    if model != data && !args.single_cls {
        bail!(
            "{} has {model} classes, {} has {data}; use the weights and the data yaml that belong together",
            weights.path.display(),
            args.data.display()
        );
    }
    Ok(())
}

/// The annotations for COCO's metric. Those that were asked for have to be good; those that merely lie there
/// may be bad, and cost the COCO figures only.
fn annotations(args: &ValArgs, dataset: &Dataset) -> Result<Option<GroundTruth>> {
    if args.single_cls {
        tracing::info!(
            "--single-cls merges the classes, so COCO's figures, which are per class, are left out"
        );
        return Ok(None);
    }
    if let Some(path) = &args.annotations {
        return Ok(Some(GroundTruth::read(path)?));
    }
    let Some(path) = &dataset.coco_annotations else { return Ok(None) };
    match GroundTruth::read(path) {
        Ok(annotations) => {
            warn_missing_areas(&annotations);
            Ok(Some(annotations))
        }
        Err(error) => {
            tracing::warn!("{error}; going on without COCO's figures");
            Ok(None)
        }
    }
}

/// COCO's ids for the data set. Where it has none, that is an error only if something that was asked for needs
/// them.
fn coco_task(
    args: &ValArgs,
    dataset: &Dataset,
    annotations: Option<&GroundTruth>,
) -> Result<Option<CocoTask>> {
    match CocoTask::new(dataset, annotations) {
        Ok(task) => Ok(Some(task)),
        Err(error) if args.annotations.is_some() || args.save_json => {
            let asked = if args.annotations.is_some() { "--annotations" } else { "--save-json" };
            Err(error).context(format!("{asked} needs category ids"))
        }
        Err(error) => {
            tracing::warn!("{error}; going on without COCO's figures");
            Ok(None)
        }
    }
}

fn validation_options(args: &ValArgs, network: &Checkpoint) -> ValidationOptions {
    let stride = network.architecture.max_stride();
    let image_size = (args.imgsz as usize).next_multiple_of(stride);
    if image_size != args.imgsz as usize {
        tracing::warn!("--imgsz {} is not a multiple of the stride {stride}: using {image_size}", args.imgsz);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let speed = args.task == TaskArg::Speed;
    let (conf, iou) = if speed { (0.25, 0.45) } else { (args.conf_thres, args.iou_thres) };
    ValidationOptions {
        batch_size: args.batch_size as usize,
        image_size,
        rect: !speed,
        nms: NmsOptions {
            score_threshold: conf as f32,
            iou_threshold: iou as f32,
            max_detections: args.max_det as usize,
            multi_label: true,
            class_agnostic: args.single_cls,
        },
        workers: args.workers.unwrap_or(8).min(cores),
        forward_threads: if device::is_cpu(&args.device) { cores } else { 1 },
        single_class: args.single_cls,
        loss: None,
    }
}

fn run_validation(
    network: &Checkpoint,
    dataset: &Dataset,
    device: &Device,
    options: &ValidationOptions,
) -> Result<Validation> {
    let model = Yolo::from_checkpoint(network, device)?;
    let bar = progress_bar("Validating", dataset.items.len() as u64);
    let validation = validate(&model, dataset, device, options, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    Ok(validation?)
}

fn report_skipped(validation: &Validation, dataset: &Dataset) {
    for warning in validation.warnings.iter().take(SHOWN_PROBLEMS) {
        tracing::warn!("{warning}");
    }
    for skipped in validation.skipped.iter().take(SHOWN_PROBLEMS) {
        tracing::warn!("image left out: {}", skipped.error);
    }
    if !validation.skipped.is_empty() {
        let (left, all) = (validation.skipped.len(), dataset.items.len());
        tracing::warn!("{left} of {all} images could not be decoded and count nowhere");
    }
}

fn class_names(network: &Checkpoint, args: &ValArgs) -> Vec<String> {
    if args.single_cls { vec!["item".to_owned()] } else { network.class_names.clone() }
}

fn coco(
    annotations: Option<&GroundTruth>,
    task: Option<&CocoTask>,
    validation: &Validation,
    results: &[(ImageId, Detection)],
    output: &Output,
) -> Result<Option<Summary>> {
    let (Some(annotations), Some(task)) = (annotations, task) else { return Ok(None) };
    let known = task.known_images(annotations, &validation.detections).len();
    let all = validation.detections.len();
    if known < all {
        tracing::warn!("{} images are not in the annotations; COCO's figures are without them", all - known);
    }
    if known == 0 {
        return Ok(None);
    }
    let evaluation = coco_evaluation(task, annotations, &validation.detections, results)?;
    warn_unknown_categories(evaluation.unknown_category_count);
    let summary = evaluation.summary();
    for line in summary.lines() {
        output.line(line)?;
    }
    Ok(Some(summary))
}

/// The files that were asked for.
fn save(
    args: &ValArgs,
    run: &RunDir,
    weights: &Path,
    dataset: &Dataset,
    validation: &Validation,
    results: &[(ImageId, Detection)],
) -> Result<()> {
    if args.save_txt {
        save_txt(run, dataset, validation, args.save_conf)?;
    }
    if args.save_json {
        let stem = weights.file_stem().unwrap_or_default().to_string_lossy();
        let path: PathBuf = run.path().join(format!("{stem}_predictions.json"));
        write_results(&path, results)?;
        tracing::info!("{} detections in {}", results.len(), path.display());
    }
    Ok(())
}

/// A label file per image. Images of the same name in several folders share one file; the last stays.
fn save_txt(run: &RunDir, dataset: &Dataset, validation: &Validation, with_score: bool) -> Result<()> {
    let mut written: HashMap<String, &Path> = HashMap::new();
    for image in &validation.detections {
        let item = &dataset.items[image.item_idx];
        let stem = item.image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = labels_txt::lines(&image.detections, item, with_score);
        run.write(&format!("labels/{stem}.txt"), text.as_bytes())?;
        if let Some(other) = written.insert(stem.clone(), &item.image) {
            tracing::warn!(
                "{} and {} have the same name, so labels/{stem}.txt holds the detections of the former only",
                item.image.display(),
                other.display()
            );
        }
    }
    Ok(())
}
