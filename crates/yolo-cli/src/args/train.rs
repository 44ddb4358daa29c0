//! Flags of `train`.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use yolo_train::optimizer::Rule;

use super::inert::{InertFlags, TRAIN};
use super::named::{Named, named};
use super::shared::{CategoryMapArgs, ComputeArgs, ResumeArgs, RunArgs, SaveArgs, runs_in, training_workers};
use super::yolov5::{CacheArg, batch_size, period, seed};
use super::{AmpArg, inner_fraction, maybe_path, unit};

/// Which rule updates the weights.
pub(crate) const RULES: [Named<Rule>; 4] = [
    Named(Rule::Sgd, "SGD|sgd", "Nesterov momentum"),
    Named(Rule::Adam, "Adam|adam", "Adam, with the weight decay in the gradient"),
    Named(Rule::AdamW, "AdamW|adamw", "Adam with decoupled weight decay"),
    Named(Rule::MuSgd, "MuSGD|musgd", "SGD after a step along the orthogonalised momentum"),
];

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[command(mut_arg("workers", training_workers))]
#[command(mut_arg("project", runs_in("runs/train")))]
#[command(after_help = "\
Examples:
  yolo-cli train --data mine.yaml --weights yolov5s.pt --epochs 100
  yolo-cli train --data mine.yaml --weights '' --cfg yolov5n --hyp scratch-low --epochs 300
  yolo-cli train --data mine.yaml --weights best.pt --slim 0.5    # then: prune --channels 0.5 --channel-criterion bn-scale
  yolo-cli train --resume runs/train/exp3        # continues, to the same numbers

Writes weights/best.safetensors, weights/last.safetensors and results.csv to runs/train/exp; with --save-pt also \
weights/best.pt for YOLOv5.")]
pub(crate) struct TrainArgs {
    /// First weights: a checkpoint, the name of a released one, or '' for random weights (needs --cfg).
    #[arg(long, default_value = "yolov5s.pt", value_parser = maybe_path)]
    pub(crate) weights: PathBuf,
    /// Model yaml or name of a stock one (yolov5n …), if it is not that of the weights.
    #[arg(long)]
    pub(crate) cfg: Option<String>,
    /// Data set yaml, or a known name: coco, coco128, demo.
    #[arg(long, default_value = "coco128.yaml")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) categories: CategoryMapArgs,
    /// Hyper-parameters: a yaml, or scratch-low (data/hyps/hyp.scratch-low.yaml is that, too), scratch-med, scratch-high,
    /// VOC, finetune, demo, ultralytics (what scratch-low means for YOLOv8, YOLO11 and YOLO26).
    #[arg(long, default_value = "scratch-low")]
    pub(crate) hyp: String,
    /// Passes over the training images.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: u32,
    /// Images per batch; -1 for as many as fit into the free memory.
    #[arg(long, visible_alias = "batch", default_value_t = 16, allow_negative_numbers = true, value_parser = batch_size)]
    pub(crate) batch_size: u32,
    /// Images whose gradients make one step.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) nominal_batch_size: u32,
    /// Side of the network's input in pixels.
    #[arg(long, visible_aliases = ["img", "img-size"], default_value_t = 640, value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: u32,
    /// Batches of images of like shape, without mosaics.
    #[arg(long)]
    pub(crate) rect: bool,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) resume: ResumeArgs,
    /// Write weights after the last epoch only; only Ctrl-C leaves something to resume then.
    #[arg(long)]
    #[serde(default)]
    pub(crate) nosave: bool,
    /// Draw no statistics of the labels and no first batches.
    #[arg(long, alias = "no-plots")]
    #[serde(default)]
    pub(crate) noplots: bool,
    /// Validate the last epoch only.
    #[arg(long)]
    pub(crate) noval: bool,
    /// Keep the anchors even if they do not fit the data.
    #[arg(long)]
    pub(crate) noautoanchor: bool,
    /// Which rule updates the weights [default: SGD; for YOLOv8, YOLO11 and YOLO26, AdamW or MuSGD and their rates by the length of
    /// the run].
    #[arg(long, value_parser = named(&RULES))]
    pub(crate) optimizer: Option<Rule>,
    /// The learning rate falls along a cosine, not a line.
    #[arg(long)]
    pub(crate) cos_lr: bool,
    /// Class targets are 1 − ε/2 and ε/2.
    #[arg(long, value_name = "EPSILON", default_value_t = 0.0, value_parser = unit)]
    pub(crate) label_smoothing: f64,
    /// Weights of the levels in the loss follow their objectness.
    #[arg(long)]
    pub(crate) autobalance: bool,
    /// Every batch has a random size within ±50 %.
    #[arg(long)]
    pub(crate) multi_scale: bool,
    /// Treat all classes as one.
    #[arg(long)]
    pub(crate) single_cls: bool,
    /// Show images with badly found classes more often.
    #[arg(long)]
    pub(crate) image_weights: bool,
    /// Layers to freeze: one number for the first N, several for just those.
    #[arg(long, num_args = 1.., value_name = "LAYER")]
    pub(crate) freeze: Vec<usize>,
    /// Epochs without a better result after which the run ends; 0 for never.
    #[arg(long, default_value_t = 100)]
    pub(crate) patience: u32,
    /// Keep a checkpoint every this many epochs; -1 or 0 for never.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "EPOCHS", value_parser = period)]
    pub(crate) save_period: u32,
    /// Drive the scales of this fraction of all channels to zero while training, so that `prune --channels
    /// --channel-criterion bn-scale` can take them (network slimming; the strength is found on the way).
    #[arg(long, value_name = "FRACTION", value_parser = inner_fraction)]
    pub(crate) slim: Option<f64>,
    /// Fraction of the best fitness that --slim may cost on the way; most of it comes back once the scales are gone.
    #[arg(long, value_name = "FRACTION", requires = "slim", default_value_t = 0.9, value_parser = unit)]
    pub(crate) slim_tolerance: f64,
    /// Decides initial weights, shuffling and augmentation.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: u64,
    /// Keep decoded images between epochs. Alone, it means ram.
    #[arg(long, value_enum, num_args = 0..=1, default_value = "off", default_missing_value = "ram")]
    pub(crate) cache: CacheArg,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Mixed precision: convolutions and activations in half, the rest in single. Alone, it means fp16.
    #[arg(long, value_enum, num_args = 0..=1, default_value = "auto", default_missing_value = "fp16")]
    #[serde(default)]
    pub(crate) amp: AmpArg,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) save: SaveArgs,
    /// Not here: `sweep` compares methods and amounts of pruning.
    #[arg(long, num_args = 0..=1, value_name = "N", hide = true)]
    #[serde(skip)]
    pub(crate) evolve: Option<Option<String>>,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) inert: InertFlags<TRAIN>,
}
