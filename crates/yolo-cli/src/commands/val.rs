//! `val`: YOLOv5's `val.py`, with the tutorial's pruning as a flag.

mod files;
mod networks;
mod study;

use anyhow::{Context, Result};
use yolo_data::dataset::Split;
use yolo_data::image::{Encoding, encode};
use yolo_device::{Backend, DeviceName};
use yolo_eval::Convention;
use yolo_eval::coco::{Detection, ImageId, Summary};
use yolo_measure::batch_sheets::BatchSheets;
use yolo_measure::figures::{self, Measurement};
use yolo_model::NmsOptions;
use yolo_report::json_layout::pretty;
use yolo_report::plots::{self, Scene};
use yolo_report::results::{Results, SCHEMA, SpeedRuns};
use yolo_report::table;
use yolo_train::{ValidatedBatch, Validation, ValidationOptions};

use networks::Networks;

use crate::args::{TaskArg, ValArgs};
use crate::console::Output;
use crate::device::alone;
use crate::image_size::fitted;
use crate::measure::{CocoOptions, EvaluationSet, open_split};
use crate::resolve::data_config;
use crate::run_dir::RunDir;

/// Most classes for which the table has a line each without `--verbose`.
const SHOWN_CLASSES: usize = 50;

/// Validates checkpoints on a data set and writes `results.json`.
pub(crate) fn run(args: &ValArgs) -> Result<()> {
    let backend = alone(args.compute.backend()?).with_half(args.half)?;
    warn_about_flags(args);
    let output = Output::new(args.json);
    let is_ensemble = !matches!(args.task, TaskArg::Speed | TaskArg::Study);
    let groups = args.weights.chunks(if is_ensemble { args.weights.len().max(1) } else { 1 });
    let groups = groups.map(|files| Networks::load(args, files, &backend, &output));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let split = match args.task {
        TaskArg::Train => Split::Train,
        TaskArg::Val | TaskArg::Speed | TaskArg::Study => Split::Val,
        TaskArg::Test => Split::Test,
    };
    let coco = args.dataset.coco_options()?;
    let config = data_config(&args.dataset.data)?;
    let dataset = open_split(&config, split, args.compute.no_cache, coco.category_map.as_ref())?;
    groups.iter().try_for_each(|networks| networks.check_classes(args, &dataset))?;
    let network_names = groups.first().map(|networks| networks.class_names(args));
    let coco = CocoOptions { save_json: args.save_json, single_cls: args.single_cls, network_names, ..coco };
    let evaluation_set = EvaluationSet::new(dataset, &coco)?;
    let run = RunDir::create(&args.run)?;
    let session = Session { args, backend, output, evaluation_set, run };
    match (args.task, groups.as_slice()) {
        (TaskArg::Study, groups) => study::run(&session, groups),
        (_, [networks]) => session.validate(networks),
        (_, groups) => session.speed(groups),
    }
}

fn warn_about_flags(args: &ValArgs) {
    args.inert.warn();
    if args.thresholds.conf_thres > 0.001 && args.task != TaskArg::Speed {
        tracing::warn!(
            "--conf-thres {} is above 0.001, so low scores are missing from the metrics",
            args.thresholds.conf_thres
        );
    }
    if args.half && DeviceName::parse(&args.compute.device) == Ok(DeviceName::Cpu) {
        tracing::warn!("--half has no effect on --device cpu: computing in f32");
    }
    if args.save_hybrid {
        tracing::warn!("--save-hybrid counts the labels as detections, so all figures are too good");
    }
    if args.save_conf && !args.save_txt && !args.save_hybrid {
        tracing::warn!("--save-conf has no effect without --save-txt");
    }
    if !args.study_sizes.is_empty() && args.task != TaskArg::Study {
        tracing::warn!("--study-sizes has no effect without --task study");
    }
}

/// What all measurements of a call share.
struct Session<'a> {
    args: &'a ValArgs,
    backend: Backend,
    output: Output,
    evaluation_set: EvaluationSet,
    run: RunDir,
}

/// What a measurement found, after it was printed.
struct Measured {
    validation: Validation,
    /// Detections in COCO's format, where they are needed.
    detections: Vec<(ImageId, Detection)>,
    figures: Results,
}

impl Session<'_> {
    /// Measures one network, or several as one, and writes all that was asked for.
    fn validate(&self, networks: &Networks) -> Result<()> {
        let args = self.args;
        let names = networks.class_names(args);
        let has_plots = !args.no_plots && args.task != TaskArg::Speed;
        let mut sheets = BatchSheets::new(&self.evaluation_set.dataset, &names, args.single_cls);
        let mut drawn = Ok(());
        let watch = |seen: &ValidatedBatch| {
            if has_plots && drawn.is_ok() {
                drawn = sheets.add(seen);
            }
        };
        let options = options(args, networks, args.imgsz);
        let Measured { validation, detections, figures } = self.measure(networks, &options, watch)?;
        drawn?;
        if has_plots {
            for (name, jpeg) in sheets.files() {
                self.run.write(name, jpeg)?;
            }
            for (name, scene) in plots::validation(&validation.native, &validation.confusion, &names) {
                write_plot(&self.run, name, &scene)?;
            }
        }
        if args.save_txt || args.save_hybrid {
            files::save_txt(&self.run, &self.evaluation_set.dataset, &validation, args.save_conf)?;
        }
        if args.save_json || (is_coco_yaml(args) && !detections.is_empty()) {
            files::save_json(&self.run, &networks.stem(), &detections)?;
        }
        self.run.write("results.json", pretty(&figures)?.as_bytes())?;
        for line in networks.advice(args, &figures.model) {
            self.output.line(line)?;
        }
        self.output.line(format!("Results saved to {}", self.run.path().display()))?;
        self.output.json(&figures)
    }

    /// Measures each network on its own.
    fn speed(&self, groups: &[Networks]) -> Result<()> {
        let mut runs = Vec::new();
        for networks in groups {
            self.output.line(format!("{}:", networks.name()))?;
            let options = options(self.args, networks, self.args.imgsz);
            runs.push(self.measure(networks, &options, |_| {})?.figures);
        }
        let runs = SpeedRuns { schema: SCHEMA, runs };
        self.run.write("results.json", pretty(&runs)?.as_bytes())?;
        self.output.line(format!("Results saved to {}", self.run.path().display()))?;
        self.output.json(&runs)
    }

    /// Measures, and prints the tables.
    fn measure(
        &self,
        networks: &Networks,
        options: &ValidationOptions,
        watch: impl FnMut(&ValidatedBatch),
    ) -> Result<Measured> {
        let args = self.args;
        let detector = networks.detector(&self.backend)?;
        if options.convention == Convention::Ultralytics {
            self.output.line(format!(
                "Conventions: ultralytics (IoU {} for suppression; --as yolov5 for the other)",
                options.nms.iou_threshold
            ))?;
        }
        let Measurement { validation, results: detections, coco, .. } = self
            .evaluation_set
            .measure_detector(&detector, &self.backend, options, watch)
            .with_context(|| networks.name())?;
        let names = networks.class_names(args);
        let every_class = args.verbose || names.len() < SHOWN_CLASSES;
        for line in figures::class_table(&validation, &names, every_class && names.len() > 1) {
            self.output.line(line)?;
        }
        self.output.line(table::speed_line(&figures::speed_figures(&validation.speed)))?;
        for line in coco.iter().flat_map(Summary::lines) {
            self.output.line(line)?;
        }
        let model = networks.figures()?;
        let figures = figures::results(model, &validation, &names, options.image_size, coco)
            .with_confusion(&validation.confusion, &names);
        Ok(Measured { validation, detections, figures })
    }
}

/// Writes `name.svg` and `name.png`.
fn write_plot(run: &RunDir, name: &str, scene: &Scene) -> Result<()> {
    run.write(&format!("{name}.svg"), scene.svg().as_bytes())?;
    run.write(&format!("{name}.png"), &encode(&scene.image(), Encoding::Png)?)?;
    Ok(())
}

/// Whether YOLOv5 would write the detections in COCO's format without being asked.
fn is_coco_yaml(args: &ValArgs) -> bool {
    let name = args.dataset.data.to_string_lossy();
    !args.single_cls && args.task != TaskArg::Speed && (name.ends_with("coco.yaml") || name == "coco")
}

/// How to validate `networks` at `asked` pixels.
fn options(args: &ValArgs, networks: &Networks, asked: u32) -> ValidationOptions {
    let [image_size] = fitted([asked as usize], networks.max_stride());
    let convention = networks.convention(args);
    let speed = args.task == TaskArg::Speed;
    let usual = ValidationOptions::by(convention, image_size);
    let nms = match speed {
        true => NmsOptions { score_threshold: 0.25, iou_threshold: 0.45, ..usual.nms },
        false => args.thresholds.nms(usual.nms),
    };
    ValidationOptions {
        batch_size: args.batch_size.map_or(usual.batch_size, |images| images as usize),
        rect: !speed,
        nms: NmsOptions {
            max_detections: args.max_det as usize,
            multi_label: true,
            class_agnostic: args.single_cls,
            ..nms
        },
        workers: args.compute.loader_threads(),
        single_class: args.single_cls,
        augment: args.augment,
        hybrid: args.save_hybrid,
        ..usual
    }
}
