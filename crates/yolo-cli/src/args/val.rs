//! The flags of `val`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use yolo_prune::Method;

use super::inert::{InertFlags, VAL};
use super::named::named;
use super::pruning::METHODS;
use super::shared::{BranchArgs, ComputeArgs, DatasetArgs, RunArgs, ThresholdArgs, runs_in, usual};
use super::unit;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskArg {
    Train,
    Val,
    Test,
    /// Times at conf 0.25, IoU 0.45, square images; each of several weights on its own.
    Speed,
    /// mAP and time at many image sizes, of each of several weights.
    Study,
}

/// Whose conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConventionArg {
    /// YOLOv5's val.py.
    Yolov5,
    /// The package ultralytics.
    Ultralytics,
}

#[derive(Debug, Args)]
#[command(mut_arg("data", usual("coco128.yaml")))]
#[command(mut_arg("project", runs_in("runs/val")))]
#[command(after_help = "\
Examples:
  yolo-cli val --weights yolov5n.pt --data coco.yaml --iou-thres 0.65
  yolo-cli val --weights yolov5n.pt --data coco.yaml --prune 0.3         # the tutorial's edit of val.py
  yolo-cli val --weights yolov5n.pt --data coco.yaml --augment           # look three times at every image
  yolo-cli val --weights a.pt b.pt --data coco.yaml                      # an ensemble
  yolo-cli val --weights yolov5n.pt yolov5s.pt --data coco.yaml --task study --iou-thres 0.7
  yolo-cli val --weights best.pt --data mine.yaml --task test --json > test.json")]
pub(crate) struct ValArgs {
    /// Checkpoint (.pt or .safetensors), or the name of a released one: yolov5n, yolov5s, … Several run as an ensemble.
    #[arg(long, num_args = 1.., default_value = "yolov5s.pt")]
    pub(crate) weights: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) dataset: DatasetArgs,
    /// Images per batch [default: 32; 16 by the conventions of ultralytics].
    #[arg(long, visible_alias = "batch", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch_size: Option<u32>,
    /// Long side of the images in pixels.
    #[arg(long, visible_aliases = ["img", "img-size"], default_value_t = 640, value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: u32,
    #[command(flatten)]
    pub(crate) thresholds: ThresholdArgs,
    /// Whose conventions to follow [default: those of the network's own family].
    ///
    /// YOLOv5's val.py and the package ultralytics differ in how images are resized (area or linear, rounded down or up),
    /// how boxes are put back, in which frame they are compared with labels, whether a detection whose object is taken may
    /// take another one, and where a curve of precision ends. On ordinary data that is up to 0.003 of mAP; see docs/val.md.
    #[arg(long = "as", value_enum, value_name = "FAMILY")]
    pub(crate) convention: Option<ConventionArg>,
    /// Detections per image at most.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=30000))]
    pub(crate) max_det: u32,
    #[command(flatten)]
    pub(crate) branches: BranchArgs,
    /// Which split of the data set, or `speed`, or `study`.
    #[arg(long, value_enum, default_value = "val")]
    pub(crate) task: TaskArg,
    /// Image sizes of --task study [default: 256 384 … 1536].
    #[arg(long, value_name = "PIXELS", num_args = 1.., value_delimiter = ',', value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) study_sizes: Vec<u32>,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Treat all classes as one.
    #[arg(long)]
    pub(crate) single_cls: bool,
    /// Look at every image three times: as it is, smaller and mirrored, and smaller still. More mAP for twice the time.
    #[arg(long)]
    pub(crate) augment: bool,
    /// Show every class in the table.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Write the detections of each image to labels/*.txt.
    #[arg(long)]
    pub(crate) save_txt: bool,
    /// Let the labels join the detections in --save-txt files, which it implies. The figures are flattered then.
    #[arg(long)]
    pub(crate) save_hybrid: bool,
    /// Add the score to --save-txt lines.
    #[arg(long)]
    pub(crate) save_conf: bool,
    /// Write the detections in COCO's results format.
    #[arg(long)]
    pub(crate) save_json: bool,
    /// Draw no curves, no confusion matrix and no images with boxes.
    #[arg(long, alias = "noplots")]
    pub(crate) no_plots: bool,
    /// Compute in half precision (fp16): GPUs, tch and flex; slow on a processor.
    #[arg(long)]
    pub(crate) half: bool,
    /// Prune this fraction of the fused network's convolution weights first.
    #[arg(long, value_name = "AMOUNT", value_parser = unit)]
    pub(crate) prune: Option<f64>,
    /// Which weights go.
    #[arg(long, requires = "prune", value_parser = named(&METHODS))]
    pub(crate) prune_method: Option<Method>,
    /// Convolutions to leave alone, by name: model.24 (with all below it), '*.cv1'. Repeatable.
    #[arg(long, value_name = "PATTERN", requires = "prune")]
    pub(crate) exclude: Vec<String>,
    /// Images for methods that look at some; no labels are read.
    #[arg(long, value_name = "IMAGE_DIR", requires = "prune")]
    pub(crate) calibration: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print results.json, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) inert: InertFlags<VAL>,
}
