//! `sweep`: mAP over the amount of pruning, point by point.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::ValueEnum;
use yolo_data::dataset::Split;
use yolo_model::{Checkpoint, NmsOptions};
use yolo_prune::{CalibrationImages, PruneOptions, apply};
use yolo_train::ValidationOptions;

use super::info::summary_line;
use super::prune_finetune::{DEMO_IMAGE_SIZE, command_line, remove};
use super::train::fitted_image_size;
use crate::args::{MethodArg, SelectionArgs, SweepArgs};
use crate::console::{Output, progress_bar};
use crate::device::Backend;
use crate::format::utc_now;
use crate::measure::{CocoWishes, Measurement, Yardstick, check_classes, open_split};
use crate::report::{SweepPage, render_sweep};
use crate::resolve::{Weights, absolute, data_config};
use crate::results::{ModelFigures, SCHEMA};
use crate::run_dir::{FLAGS, RunDir, read_flags, resumed_run_by};
use crate::selection::{self, ImageSource, Planned, plan_pruning};
use crate::sweep::{COLUMNS, DENSE, Point, cells, conclusion, from_csv, row, to_csv};
use crate::verdict::{Stock, stock_of};
use crate::{device, interrupt, presets};

/// The points that are measured, in the run's folder.
const POINTS: &str = "sweep.csv";
/// The figures of a run that is done.
const RESULTS: &str = "results.json";
const REPORT: &str = "report.html";

/// `dense` with the fraction `amount` of its convolution weights at zero, those that `method` chooses. The only place
/// where a sweep prunes.
fn prune_point(
    dense: &Checkpoint,
    (method, amount): (MethodArg, f64),
    args: &SweepArgs,
    images: Option<&CalibrationImages>,
    device: &Device,
) -> Result<Checkpoint> {
    let Planned { dense, plan } = plan_pruning(dense, &options(args, method, amount), false, images, device)?;
    Ok(apply(&dense, &plan)?)
}

fn options(args: &SweepArgs, method: MethodArg, amount: f64) -> PruneOptions {
    let flags = SelectionArgs {
        method: Some(method),
        exclude: args.exclude.clone(),
        calibration: args.calibration.clone(),
        rank: args.rank,
        repair: args.repair,
        ..SelectionArgs::default()
    };
    selection::options(&flags, amount)
}

/// Measures every point that is missing, and draws the curves.
pub(crate) fn run(args: &SweepArgs) -> Result<()> {
    let output = Output::new(args.json);
    let resumed = args.resume.as_deref().map(|run| interrupted_run(run, &args.project)).transpose()?;
    let flags = match &resumed {
        Some(run) => SweepArgs {
            device: args.device.clone(),
            workers: args.workers,
            json: args.json,
            ..read_flags(run, "a sweep")?
        },
        None => SweepArgs { command: command_line(), ..args.clone() },
    };
    if let Some(run) = &resumed
        && run.join(RESULTS).is_file()
    {
        bail!("{}: this run is done; there is nothing to resume", run.display());
    }
    let sweep = Sweep::new(flags, resumed.as_deref(), &output)?;
    let _graceful = interrupt::graceful();
    sweep.run(&output)
}

/// The run `run`, or the newest one below `project` that is not done.
fn interrupted_run(run: &Path, project: &Path) -> Result<PathBuf> {
    resumed_run_by(run, project, |folder| {
        // A path that is no file where the run is done.
        if folder.join(RESULTS).is_file() { folder.join(RESULTS).join("done") } else { folder.join(FLAGS) }
    })
}

/// Everything that the points need.
struct Sweep {
    args: SweepArgs,
    backend: Backend,
    weights: Weights,
    /// What methods look at that look at images.
    images: Option<CalibrationImages>,
    validation: ValidationOptions,
    yardstick: Yardstick,
    run: RunDir,
    /// Points of an interrupted run.
    points: Vec<Point>,
}

impl Sweep {
    fn new(args: SweepArgs, resumed: Option<&Path>, output: &Output) -> Result<Self> {
        let backend = Backend::parse(&args.device, args.no_cache)?.alone();
        let weights = Weights::load(&args.weights, args.offline)?;
        // Patterns that match nothing are refused before anything is measured.
        if let Some((_, amount)) = plan_of(&args).first() {
            prune_point(&weights.checkpoint, (MethodArg::Layer, *amount), &args, None, &backend.device)
                .with_context(|| weights.path.display().to_string())?;
        }
        let images = images(&args, &weights.checkpoint)?;
        let points = match resumed {
            Some(folder) => saved_points(&folder.join(POINTS))?,
            None => Vec::new(),
        };
        output.line(summary_line(&*weights.checkpoint.fuse()?))?;
        let dataset = open_split(&data_config(&args.data)?, Split::Val, args.no_cache)?;
        check_classes(&weights.checkpoint, &weights.path, &dataset, &args.data, false)?;
        let wishes =
            CocoWishes { annotations: args.annotations.as_deref(), save_json: false, single_cls: false };
        let yardstick = Yardstick::new(dataset, &wishes)?;
        let validation = validation_options(&args, &weights.checkpoint);
        let run = match resumed {
            Some(folder) => RunDir::reopen(folder),
            None => RunDir::create(&args.project, &args.name, args.exist_ok)?,
        };
        if resumed.is_none() {
            for leftover in [POINTS, RESULTS, REPORT] {
                remove(&run.path().join(leftover))?;
            }
            run.write(FLAGS, serde_saphyr::to_string(&portable(&args))?.as_bytes())?;
        }
        Ok(Self { args, backend, weights, images, validation, yardstick, run, points })
    }

    fn run(mut self, output: &Output) -> Result<()> {
        let stock = stock_of(&self.weights.checkpoint.architecture);
        let wanted: Vec<(String, f64, Option<MethodArg>)> = std::iter::once((DENSE.to_owned(), 0.0, None))
            .chain(
                plan_of(&self.args).into_iter().map(|(method, amount)| (name(method), amount, Some(method))),
            )
            .collect();
        let images = self.yardstick.dataset.items.len() as u64;
        let bar = progress_bar("Sweeping", images * wanted.len() as u64);
        let mut points: Vec<Point> = Vec::with_capacity(wanted.len());
        bar.suspend(|| output.line(row(&COLUMNS)))?;
        for (name, amount, method) in wanted {
            bar.set_position(points.len() as u64 * images);
            let saved = self.points.iter().find(|point| point.method == name && point.amount == amount);
            match saved {
                Some(point) => points.push(point.clone()),
                None => {
                    if interrupt::requested() {
                        bar.finish_and_clear();
                        let place = self.run.path().display();
                        bail!("interrupted and saved; `yolo-cli sweep --resume {place}` goes on");
                    }
                    let before = bar.position();
                    let progress = |done| bar.set_position(before + done as u64);
                    points.push(self.measure(name, amount, method, progress)?);
                    self.run.write(POINTS, to_csv(&points).as_bytes())?;
                }
            }
            if let (Some(dense), Some(point)) = (points.first(), points.last()) {
                bar.suspend(|| output.line(row(&cells(point, dense, stock))))?;
            }
        }
        bar.finish_and_clear();
        self.points = points;
        self.finish(stock, output)
    }

    /// Prunes and measures one point.
    fn measure(
        &self,
        name: String,
        amount: f64,
        method: Option<MethodArg>,
        progress: impl FnMut(usize),
    ) -> Result<Point> {
        let start = Instant::now();
        let place = || format!("{}: {name} {amount}", self.weights.path.display());
        let dense = &self.weights.checkpoint;
        let network = match method {
            None => dense.fuse()?,
            Some(method) => {
                let (point, images) = ((method, amount), self.images.as_ref());
                prune_point(dense, point, &self.args, images, &self.backend.device)
                    .with_context(place)?
                    .into_fused()?
            }
        };
        let Measurement { validation, coco, .. } = self
            .yardstick
            .measure_with(&network, &self.backend, &self.validation, progress)
            .with_context(place)?;
        if method.is_none() {
            self.yardstick.report_skipped(&validation);
        }
        let figures = ModelFigures::of(&network, &self.weights.path, self.weights.file_bytes)?;
        let native = &validation.native;
        let point = Point {
            method: name,
            amount,
            sparsity: figures.conv_sparsity,
            zeros: figures.conv_zeros,
            map: native.map,
            map50: native.map50,
            precision: native.precision,
            recall: native.recall,
            coco_ap: coco.map(|coco| coco.values()[0]).filter(|ap| *ap >= 0.0),
            gflops_nonzero: figures.gflops_nonzero,
            seconds: start.elapsed().as_secs_f64(),
        };
        Ok(point.rounded())
    }

    /// `report.html`, `results.json`, and where they are.
    fn finish(&self, stock: Option<&'static Stock>, output: &Output) -> Result<()> {
        let lines = conclusion(&self.points, stock);
        for line in &lines {
            output.line(line)?;
        }
        let name = self.weights.path.file_stem().unwrap_or_default().to_string_lossy();
        let titles = COLUMNS.map(str::to_owned).to_vec();
        let dense = self.points.first();
        let rows = dense
            .into_iter()
            .flat_map(|dense| self.points.iter().map(|point| cells(point, dense, stock).to_vec()));
        let page = render_sweep(&SweepPage {
            title: format!("{name}: mAP and sparsity"),
            subtitle: format!(
                "{} on {} images of {}, {} px, {}",
                self.weights.path.display(),
                self.yardstick.dataset.items.len(),
                self.args.data.display(),
                self.validation.image_size,
                self.args.device
            ),
            points: &self.points,
            stock,
            rows: std::iter::once(titles).chain(rows).collect(),
            conclusion: lines.clone(),
            command: self.args.command.clone(),
            created: utc_now(),
        });
        let page = self.run.write(REPORT, page.as_bytes())?;
        let results = serde_json::json!({
            "schema": SCHEMA,
            "weights": self.weights.path.display().to_string(),
            "images": self.yardstick.dataset.items.len(),
            "imgsz": self.validation.image_size,
            "stock": stock.map(|stock| stock.name),
            "points": self.points,
            "conclusion": lines,
        });
        self.run.write(RESULTS, serde_json::to_string_pretty(&results)?.as_bytes())?;
        output.line(format!("Points: {}", self.run.path().join(POINTS).display()))?;
        output.line(format!("Report: {}", page.display()))?;
        output.json(&results)
    }
}

/// The points after the dense one: methods in the order in which they were named, amounts rising.
fn plan_of(args: &SweepArgs) -> Vec<(MethodArg, f64)> {
    let mut methods = args.methods.clone();
    let mut seen = Vec::new();
    methods.retain(|method| {
        let is_first = !seen.contains(method);
        seen.push(*method);
        is_first
    });
    methods.iter().flat_map(|method| args.amounts.0.iter().map(|amount| (*method, *amount))).collect()
}

/// A method as it is typed.
fn name(method: MethodArg) -> String {
    method.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The points that an interrupted run has measured; a run that was stopped early has none.
fn saved_points(file: &Path) -> Result<Vec<Point>> {
    match std::fs::read_to_string(file) {
        Ok(text) => from_csv(&text).with_context(|| file.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

/// The images of --calibration, where a method looks at some.
fn images(args: &SweepArgs, checkpoint: &Checkpoint) -> Result<Option<CalibrationImages>> {
    let looks = |method: &&MethodArg| options(args, **method, 0.0).needs_images();
    if let Some(folder) = args.calibration.as_deref().filter(|folder| !folder.is_dir()) {
        bail!("{}: no such folder of images; check --calibration", folder.display());
    }
    match (args.methods.iter().find(looks), &args.calibration) {
        (None, None) => Ok(None),
        (None, Some(_)) => {
            tracing::warn!("--calibration has no effect: none of these methods looks at images");
            Ok(None)
        }
        (Some(method), None) => {
            bail!("the method {} has to see images; give a folder of them with --calibration", name(*method))
        }
        (Some(_), Some(folder)) => {
            let size = image_size(args, checkpoint);
            selection::load_images(&ImageSource::Folder(folder), 0, checkpoint, size).map(Some)
        }
    }
}

fn image_size(args: &SweepArgs, checkpoint: &Checkpoint) -> usize {
    let usual = if args.data == Path::new(presets::DEMO) { DEMO_IMAGE_SIZE } else { 640 };
    let wanted = args.imgsz.map_or(usual, |size| size as usize);
    fitted_image_size(wanted, checkpoint.architecture.max_stride())
}

fn validation_options(args: &SweepArgs, checkpoint: &Checkpoint) -> ValidationOptions {
    ValidationOptions {
        batch_size: args.batch_size as usize,
        nms: NmsOptions {
            score_threshold: args.conf_thres as f32,
            iou_threshold: args.iou_thres as f32,
            ..NmsOptions::validation()
        },
        workers: device::loader_threads(args.workers),
        ..ValidationOptions::new(image_size(args, checkpoint))
    }
}

/// The flags with paths that mean the same from every folder.
fn portable(args: &SweepArgs) -> SweepArgs {
    SweepArgs {
        weights: absolute(&args.weights),
        data: absolute(&args.data),
        calibration: args.calibration.as_deref().map(absolute),
        annotations: args.annotations.as_deref().map(absolute),
        ..args.clone()
    }
}
