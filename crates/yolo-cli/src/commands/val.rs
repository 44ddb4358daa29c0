//! `val`: YOLOv5's `val.py`, with the tutorial's pruning as a flag.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use yolo_data::coco::{Detection, ImageId, Summary, write_results};
use yolo_data::dataset::{Dataset, Split};
use yolo_model::{Checkpoint, NmsOptions};
use yolo_prune::{Sparsity, apply};
use yolo_train::{Validation, ValidationOptions};

use super::info::summary_line;
use super::prune::pruning_line;
use crate::args::{SelectionArgs, TaskArg, ValArgs};
use crate::console::Output;
use crate::device::{Backend, DeviceName};
use crate::measure::{CocoWishes, Measurement, Yardstick, check_classes, open_split};
use crate::resolve::{Weights, data_config};
use crate::results::{ModelFigures, Results};
use crate::run_dir::RunDir;
use crate::selection::{self, Planned, plan_pruning};
use crate::verdict::before_measuring;
use crate::{device, labels_txt, table};

/// Most classes for which the table has a line each without `--verbose`.
const SHOWN_CLASSES: usize = 50;

/// Validates a checkpoint on a data set and writes `results.json`.
pub(crate) fn run(args: &ValArgs) -> Result<()> {
    let backend = Backend::parse(&args.device, args.no_cache)?.with_half(args.half)?;
    warn_about_flags(args);
    let output = Output::new(args.json);
    let weights = Weights::load(&args.weights, args.offline)?;
    let network = network(args, &weights, &backend.device, &output)?;
    let split = match args.task {
        TaskArg::Train => Split::Train,
        TaskArg::Val | TaskArg::Speed => Split::Val,
        TaskArg::Test => Split::Test,
    };
    let dataset = open_split(&data_config(&args.data)?, split, args.no_cache)?;
    check_classes(&weights.checkpoint, &weights.path, &dataset, &args.data, args.single_cls)?;
    let wishes = CocoWishes {
        annotations: args.annotations.as_deref(),
        save_json: args.save_json,
        single_cls: args.single_cls,
    };
    let yardstick = Yardstick::new(dataset, &wishes)?;
    let run = RunDir::create(&args.project, &args.name, args.exist_ok)?;

    let options = validation_options(args, &network);
    let Measurement { validation, results, coco, .. } = yardstick
        .measure(&network, &backend, &options)
        .with_context(|| weights.path.display().to_string())?;
    let names = class_names(&network, args);
    let every_class = args.verbose || names.len() < SHOWN_CLASSES;
    for line in table::class_table(&validation, &names, every_class && names.len() > 1) {
        output.line(line)?;
    }
    output.line(table::speed_line(&validation.speed))?;

    for line in coco.iter().flat_map(Summary::lines) {
        output.line(line)?;
    }
    save(args, &run, &weights.path, &yardstick.dataset, &validation, &results)?;
    let model = ModelFigures::of(&network, &weights.path, weights.file_bytes)?;
    let figures = Results::new(model, &validation, &names, options.image_size, coco);
    run.write("results.json", serde_json::to_string_pretty(&figures)?.as_bytes())?;
    if args.prune.is_some() {
        for line in before_measuring(&weights.checkpoint, &figures.model) {
            output.line(line)?;
        }
    }
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
    if args.half && DeviceName::parse(&args.device) == Ok(DeviceName::Cpu) {
        tracing::warn!("--half has no effect on --device cpu: computing in f32");
    }
}

/// The network that is measured: fused, and pruned where asked.
fn network(args: &ValArgs, weights: &Weights, device: &Device, output: &Output) -> Result<Checkpoint> {
    let fused = weights.checkpoint.fuse()?;
    output.line(summary_line(&fused))?;
    let Some(amount) = args.prune else { return Ok(fused) };
    let flags = SelectionArgs {
        method: args.prune_method,
        exclude: args.exclude.clone(),
        calibration: args.calibration.clone(),
        ..SelectionArgs::default()
    };
    let options = selection::options(&flags, selection::amount(Some(amount), None)?);
    let dense = &weights.checkpoint;
    let images = selection::images(&flags, &options, dense, args.imgsz as usize)?;
    let Planned { dense, plan } = plan_pruning(dense, &options, false, images.as_ref(), device)
        .with_context(|| weights.path.display().to_string())?;
    let pruned = apply(&dense, &plan)?.fuse()?;
    output.line(pruning_line(&plan, &Sparsity::of(&pruned)?))?;
    for skipped in &plan.skipped {
        tracing::info!("{} was not pruned: {}", skipped.tensor, skipped.reason);
    }
    Ok(pruned)
}

fn validation_options(args: &ValArgs, network: &Checkpoint) -> ValidationOptions {
    let stride = network.architecture.max_stride();
    let image_size = (args.imgsz as usize).next_multiple_of(stride);
    if image_size != args.imgsz as usize {
        tracing::warn!("--imgsz {} is not a multiple of the stride {stride}: using {image_size}", args.imgsz);
    }
    let speed = args.task == TaskArg::Speed;
    let (conf, iou) = if speed { (0.25, 0.45) } else { (args.conf_thres, args.iou_thres) };
    ValidationOptions {
        batch_size: args.batch_size as usize,
        rect: !speed,
        nms: NmsOptions {
            score_threshold: conf as f32,
            iou_threshold: iou as f32,
            max_detections: args.max_det as usize,
            multi_label: true,
            class_agnostic: args.single_cls,
        },
        workers: device::loader_threads(args.workers),
        single_class: args.single_cls,
        augment: args.augment,
        ..ValidationOptions::new(image_size)
    }
}

fn class_names(network: &Checkpoint, args: &ValArgs) -> Vec<String> {
    if args.single_cls { vec!["item".to_owned()] } else { network.class_names.clone() }
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
