//! `sweep`: mAP over the amount of pruning, point by point.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use yolo_data::dataset::Split;
use yolo_detect::convention_of;
use yolo_device::Backend;
use yolo_measure::figures::{Measurement, model_figures};
use yolo_model::Checkpoint;
use yolo_prune::{CalibrationImages, Method, PruneOptions, apply};
use yolo_report::network::summary_line;
use yolo_report::published::Stock;
use yolo_report::results::SCHEMA;
use yolo_report::sweep::{
    COLUMNS, DENSE, Point, SweepPage, SweepResults, cells, conclusion, from_csv, render, row, to_csv,
};
use yolo_train::ValidationOptions;

use crate::args::{METHODS, OBEYED_WHEN_RESUMED, SelectionArgs, SweepArgs, Typed, name_of};
use crate::clock::utc_minutes;
use crate::console::{Output, progress_bar};
use crate::device::alone;
use crate::image_size::fitted_training;
use crate::measure::{EvaluationSet, check_classes, open_split};
use crate::resolve::{Weights, absolute, absolute_weights, data_config};
use crate::run_dir::{FLAGS, RunDir, command_line, read_flags, remove, resumed_run_by};
use crate::selection::{self, ImageSource, Planned, plan_pruning};
use crate::{interrupt, presets};

/// The points that are measured, in the run's folder.
const POINTS: &str = "sweep.csv";
/// The figures of a run that is done.
const RESULTS: &str = "results.json";
const REPORT: &str = "report.html";

/// `dense` with the fraction `amount` of its convolution weights at zero, those that `method` chooses. The only place
/// where a sweep prunes.
fn prune_point(
    dense: &Checkpoint,
    (method, amount): (Method, f64),
    args: &SweepArgs,
    images: Option<&CalibrationImages>,
    device: &Device,
) -> Result<Checkpoint> {
    let Planned { dense, plan } = plan_pruning(dense, &options(args, method, amount), false, images, device)?;
    Ok(apply(&dense, &plan)?)
}

fn options(args: &SweepArgs, method: Method, amount: f64) -> PruneOptions {
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
pub(crate) fn run(args: &SweepArgs, typed: &Typed) -> Result<()> {
    let output = Output::new(args.json);
    let resumed =
        args.resume.resume.as_deref().map(|run| interrupted_run(run, &args.run.project)).transpose()?;
    let flags = match &resumed {
        Some(run) => {
            let saved: SweepArgs = read_flags(run, "a sweep")?;
            typed.warn_ignored(&portable(args), &saved, &OBEYED_WHEN_RESUMED, run)?;
            SweepArgs { compute: args.compute.resuming(saved.compute), json: args.json, ..saved }
        }
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
        // A path that does not exist if the run is done.
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
    evaluation_set: EvaluationSet,
    run: RunDir,
    /// Points of an interrupted run.
    points: Vec<Point>,
}

impl Sweep {
    fn new(args: SweepArgs, resumed: Option<&Path>, output: &Output) -> Result<Self> {
        let backend = alone(args.compute.backend()?);
        let weights = Weights::load(&args.weights, args.compute.offline)?;
        // Patterns that match nothing are refused before anything is measured.
        if let Some((_, amount)) = plan_of(&args).first() {
            prune_point(&weights.checkpoint, (Method::Layer, *amount), &args, None, &backend.device)
                .with_context(|| weights.path.display().to_string())?;
        }
        let images = images(&args, &weights.checkpoint)?;
        let points = match resumed {
            Some(folder) => saved_points(&folder.join(POINTS))?,
            None => Vec::new(),
        };
        output.line(summary_line(&weights.checkpoint.fuse()?.architecture))?;
        let coco = args.dataset.coco_options()?;
        let config = data_config(&args.dataset.data)?;
        let dataset = open_split(&config, Split::Val, args.compute.no_cache, coco.category_map.as_ref())?;
        check_classes(&weights.checkpoint, &weights.path, &dataset, &args.dataset.data, false)?;
        let evaluation_set = EvaluationSet::new(dataset, &coco.of(&weights.checkpoint))?;
        let validation = validation_options(&args, &weights.checkpoint);
        let run = match resumed {
            Some(folder) => RunDir::reopen(folder),
            None => RunDir::create(&args.run)?,
        };
        if resumed.is_none() {
            for leftover in [POINTS, RESULTS, REPORT] {
                remove(&run.path().join(leftover))?;
            }
            run.write(FLAGS, serde_saphyr::to_string(&portable(&args))?.as_bytes())?;
        }
        Ok(Self { args, backend, weights, images, validation, evaluation_set, run, points })
    }

    fn run(mut self, output: &Output) -> Result<()> {
        let stock = Stock::of(&self.weights.checkpoint.architecture);
        let wanted: Vec<(String, f64, Option<Method>)> = std::iter::once((DENSE.to_owned(), 0.0, None))
            .chain(
                plan_of(&self.args)
                    .into_iter()
                    .map(|(method, amount)| (name_of(&METHODS, &method).to_owned(), amount, Some(method))),
            )
            .collect();
        let images = self.evaluation_set.dataset.items.len() as u64;
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
                        bail!("interrupted and saved; `yolo-cli sweep --resume {place}` continues it");
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
        method: Option<Method>,
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
        let detector = self.backend.detector(network.borrowed())?;
        let Measurement { validation, coco, .. } = self
            .evaluation_set
            .measure_quietly(&detector, &self.backend, &self.validation, progress, |_| {})
            .with_context(place)?;
        if method.is_none() {
            self.evaluation_set.report_skipped(&validation);
        }
        let figures = model_figures(&network, &self.weights.path, self.weights.file_bytes)?;
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
            gflops_nonzero: figures.nonzero_gflops(),
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
        let page = render(&SweepPage {
            title: format!("{name}: mAP and sparsity"),
            subtitle: format!(
                "{} on {} images of {}, {} px, {}",
                self.weights.path.display(),
                self.evaluation_set.dataset.items.len(),
                self.args.dataset.data.display(),
                self.validation.image_size,
                self.args.compute.device
            ),
            points: &self.points,
            stock,
            conclusion: &lines,
            command: self.args.command.clone(),
            created: utc_minutes(),
        });
        let page = self.run.write(REPORT, page.as_bytes())?;
        let results = SweepResults {
            schema: SCHEMA,
            weights: self.weights.path.display().to_string(),
            images: self.evaluation_set.dataset.items.len(),
            imgsz: self.validation.image_size,
            stock: stock.map(|stock| stock.name.to_owned()),
            points: self.points.clone(),
            conclusion: lines,
        };
        self.run.write(RESULTS, serde_json::to_string_pretty(&results)?.as_bytes())?;
        output.line(format!("Points: {}", self.run.path().join(POINTS).display()))?;
        output.line(format!("Report: {}", page.display()))?;
        output.json(&results)
    }
}

/// The points after the dense one: methods in the order in which they were named, amounts rising.
fn plan_of(args: &SweepArgs) -> Vec<(Method, f64)> {
    let mut methods = args.methods.clone();
    let mut seen = Vec::new();
    methods.retain(|method| {
        let is_first = !seen.contains(method);
        seen.push(*method);
        is_first
    });
    methods.iter().flat_map(|method| args.amounts.0.iter().map(|amount| (*method, *amount))).collect()
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
    let looks = |method: &&Method| options(args, **method, 0.0).needs_images();
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
            bail!(
                "the method {} has to see images; give a folder of them with --calibration",
                name_of(&METHODS, method)
            )
        }
        (Some(_), Some(folder)) => {
            let size = image_size(args, checkpoint);
            selection::load_images(&ImageSource::Folder(folder), 0, checkpoint, size).map(Some)
        }
    }
}

fn image_size(args: &SweepArgs, checkpoint: &Checkpoint) -> usize {
    let usual = presets::usual_image_size(&args.dataset.data);
    let wanted = args.imgsz.map_or(usual, |size| size as usize);
    fitted_training(wanted, checkpoint.architecture.max_stride())
}

fn validation_options(args: &SweepArgs, checkpoint: &Checkpoint) -> ValidationOptions {
    let usual = ValidationOptions::by(convention_of(&checkpoint.architecture), image_size(args, checkpoint));
    ValidationOptions {
        batch_size: args.batch_size as usize,
        nms: args.thresholds.nms(usual.nms),
        workers: args.compute.loader_threads(),
        ..usual
    }
}

/// The flags with paths that mean the same from every folder.
fn portable(args: &SweepArgs) -> SweepArgs {
    SweepArgs {
        weights: absolute_weights(&args.weights),
        dataset: args.dataset.portable(),
        calibration: args.calibration.as_deref().map(absolute),
        ..args.clone()
    }
}
