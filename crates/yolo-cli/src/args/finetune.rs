//! Flags of `prune-finetune`.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use yolo_report::verdict::StockTime;

use super::shared::{
    ComputeArgs, DatasetArgs, ResumeArgs, RunArgs, SaveArgs, ThresholdArgs, runs_in, training_workers, usual,
};
use super::yolov5::seed;
use super::{AmpArg, ChannelArgs, SelectionArgs, unit};

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[command(mut_arg("data", usual("demo")))]
#[command(mut_arg("workers", training_workers))]
#[command(mut_arg("project", runs_in("runs/prune-finetune")))]
#[command(after_help = "\
Examples:
  yolo-cli prune-finetune                                   # a small network on drawn shapes, in minutes
  yolo-cli prune-finetune --weights yolov5n.pt --data coco128.yaml --amount 0.5 --epochs 10
  yolo-cli prune-finetune --weights best.pt --data mine.yaml --recipe gradual-70
  yolo-cli prune-finetune --weights best.pt --data mine.yaml --of ms --amount 0.3
  yolo-cli prune-finetune --channels 0.5                    # a smaller dense network instead of zeros
  yolo-cli prune-finetune --resume runs/prune-finetune/exp2

Measures the network, prunes it, fine-tunes what is left with the pruned weights held at zero, and compares. \
Flags win over the recipe. The run's folder holds report.html, summary.json and weights/finetuned.safetensors.")]
pub(crate) struct PruneFinetuneArgs {
    /// Checkpoint, or the name of a released one; `demo` is the small network that comes with the program.
    #[arg(long, default_value = "demo")]
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) dataset: DatasetArgs,
    /// How to prune and fine-tune: a yaml, or the name of one of configs/recipes.
    #[arg(long)]
    pub(crate) recipe: Option<String>,
    /// Fraction that goes, from 0 to below 1.
    #[arg(long, value_parser = unit)]
    pub(crate) amount: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) channels: ChannelArgs,
    /// Passes over the training images; 0 only prunes (and re-estimates batch normalisation).
    #[arg(long)]
    pub(crate) epochs: Option<u32>,
    /// Epochs over which the sparsity rises, along a cubic curve; 0 prunes at once.
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) gradual: Option<u32>,
    /// First learning rate.
    #[arg(long)]
    pub(crate) lr0: Option<f64>,
    /// Hyper-parameters: a yaml, or scratch-low, scratch-med, scratch-high, VOC, finetune, demo,
    /// ultralytics.
    #[arg(long)]
    pub(crate) hyp: Option<String>,
    /// Images per batch.
    #[arg(long, visible_alias = "batch", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch_size: Option<u32>,
    /// Side of the network's input in pixels.
    #[arg(long, visible_aliases = ["img", "img-size"], value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: Option<u32>,
    /// Learn from labels only, not from the dense network as well.
    #[arg(long)]
    pub(crate) no_distill: bool,
    /// Keep the dense network's batch statistics after pruning.
    #[arg(long)]
    pub(crate) no_reestimate: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) thresholds: ThresholdArgs,
    /// Milliseconds per image of released networks as this program runs them here, for the comparison with a dense
    /// network that takes as long: yolov5n=25.7,yolov5s=85.3.
    #[arg(long, value_name = "NAME=MS", value_delimiter = ',')]
    #[serde(default)]
    pub(crate) latency: Vec<StockTime>,
    /// Decides shuffling and augmentation.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: u64,
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
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) resume: ResumeArgs,
    /// Print summary.json, alone, on stdout.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}
