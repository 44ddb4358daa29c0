//! What can be typed: flags with YOLOv5's names and defaults. No work is done here.

mod amp;
mod bench;
mod channels;
mod data;
mod detect;
mod device_check;
mod export;
mod finetune;
mod inert;
mod named;
mod pack;
mod pruning;
mod report;
mod shared;
mod sweep;
mod terminal;
mod train;
mod typed;
mod val;
mod yolov5;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use yolo_measure::Stopwatch;
use yolo_model::Checkpoint;

use crate::image_size::fitting;

pub(crate) use amp::AmpArg;
pub(crate) use bench::{BackendArg, BenchArgs};
pub(crate) use channels::ChannelArgs;
pub(crate) use data::{DataArgs, DataCheckArgs, DataCommand, DataConvertArgs};
pub(crate) use detect::DetectArgs;
pub(crate) use device_check::DeviceCheckArgs;
pub(crate) use export::{ExportArgs, ExportFormat};
pub(crate) use finetune::PruneFinetuneArgs;
pub(crate) use named::name_of;
pub(crate) use pack::PackArgs;
pub(crate) use pruning::{METHODS, SelectionArgs};
pub(crate) use report::ReportArgs;
pub(crate) use shared::RunArgs;
pub(crate) use sweep::SweepArgs;
pub(crate) use terminal::{CompletionsArgs, DoctorArgs, LogFormat, ManArgs, TerminalArgs};
pub(crate) use train::TrainArgs;
pub(crate) use typed::{OBEYED_WHEN_RESUMED, Typed, parse};
pub(crate) use val::{ConventionArg, TaskArg, ValArgs};
pub(crate) use yolov5::{CacheArg, FITTING};

/// Prune YOLOv5 detectors, measure what it costs on COCO's own metric, and keep what is left.
#[derive(Debug, Parser)]
#[command(name = "yolo-cli", version, long_version = crate::version::long(), about, max_term_width = 110)]
#[command(after_help = "\
Examples:
  yolo-cli prune-finetune                                  # everything, on an example
  yolo-cli prune-finetune --weights yolov5n.pt --data coco128.yaml --amount 0.5
  yolo-cli detect --weights yolov5n.pt --source photos/
  yolo-cli val --weights yolov5n.pt --data coco128.yaml
  yolo-cli val --weights yolov5n.pt --data coco128.yaml --prune 0.3
  yolo-cli prune --weights yolov5n.pt --amount 0.3 --out pruned.safetensors
  yolo-cli info --weights pruned.safetensors
  yolo-cli export --weights pruned.safetensors --format onnx

Exit codes: 0 done, 1 failed (one line says what and what to do), 2 bad arguments.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) terminal: TerminalArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure a detector on a data set: YOLOv5's own metrics and COCO's twelve figures.
    Val(ValArgs),
    /// Find objects in images, videos and streams, and draw them.
    Detect(Box<DetectArgs>),
    /// Set the smallest weights of a detector to zero and write it, as .safetensors or for YOLOv5.
    Prune(PruneArgs),
    /// Write a detector as .onnx, which other runtimes read, or as .pt for YOLOv5 and PyTorch.
    Export(ExportArgs),
    /// Write a checkpoint without its zeros; it loads like any other. Or expand one.
    Pack(PackArgs),
    /// Evaluate a file of detections against COCO annotations: pycocotools for boxes, without Python.
    CocoEval(CocoEvalArgs),
    /// Time networks side by side, dense and pruned, on one or several back ends.
    Bench(BenchArgs),
    /// Check that a device computes what the processor does, and measure how fast.
    DeviceCheck(DeviceCheckArgs),
    /// Show the layers, sizes and zeros of a checkpoint.
    Info(InfoArgs),
    /// Train a detector, or continue an interrupted run.
    Train(Box<TrainArgs>),
    /// Measure, prune, fine-tune and compare: the whole job. Without flags it does so on a small example.
    PruneFinetune(Box<PruneFinetuneArgs>),
    /// Measure a network at many amounts of pruning, by one or several methods: the curves, as CSV and as a page.
    Sweep(Box<SweepArgs>),
    /// Compare runs of any time on one page: table, curves, mAP over file size and time.
    Report(ReportArgs),
    /// Check a data set, or convert it between YOLO's labels and COCO's JSON.
    Data(DataArgs),
    /// Show what is here and what is missing: back ends, GPUs, vector units, caches, ffmpeg.
    Doctor(DoctorArgs),
    /// Print a script that completes commands and flags in a shell.
    Completions(CompletionsArgs),
    /// Write man pages.
    Man(ManArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli prune --weights yolov5n.pt --amount 0.3 --out pruned.safetensors
  yolo-cli prune --weights yolov5n.pt --amount 0.5 --calibration images/train --out pruned.safetensors
  yolo-cli prune --weights yolov5n.pt --pattern 2:4 --calibration images/train --out pruned.safetensors
  yolo-cli prune --weights yolov5n.pt --amount 0.5 --method global --exclude model.24 --out pruned.safetensors
  yolo-cli prune --weights yolov5n.pt --channels 0.5 --calibration images/train --out small.safetensors
  yolo-cli prune --weights yolov5n.pt --of ms --amount 0.25 --calibration images/train --out faster.safetensors
  yolo-cli prune --weights yolov5n.pt --channels-at-most-ms 20 --calibration images/train --out small.safetensors
  yolo-cli prune --weights yolov5n.pt --amount 0.3 --out pruned.pt          # for YOLOv5's detect.py, val.py, export.py
  yolo-cli prune --weights trained.pt --like pruned.pt --out pruned-again.pt

With --calibration, any folder of images, the weights that stay are fitted to what the dense network computes, which \
keeps far more accuracy; no labels are needed. The file keeps batch normalisation, so it can be fine-tuned. Without \
images, the magnitudes that are compared are those of the fused network, the ones that run, so that it has the same \
zeros as `val --prune`. Milliseconds are those of this machine, measured once and kept. A training in YOLOv5 lets \
pruned zeros grow again; --like puts those of one file back into another of the same network.")]
pub(crate) struct PruneArgs {
    /// Checkpoint (.pt or .safetensors), or the name of a released one.
    #[arg(long)]
    pub(crate) weights: PathBuf,
    /// Fraction that goes, from 0 to below 1; an n:m pattern decides it.
    #[arg(long, value_parser = unit)]
    pub(crate) amount: Option<f64>,
    /// Set the weights to zero that are zero in this file of the same network, and no others.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "amount", "method", "criterion", "allocation", "pattern", "permute", "of", "at_most_ms", "rank", "exclude",
        "min_sparsity", "max_sparsity", "limit", "repair", "calibration", "channels", "channels_at_most_ms",
    ])]
    pub(crate) like: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) channels: ChannelArgs,
    /// Long side of the images that are looked at, in pixels.
    #[arg(long, visible_aliases = ["img", "img-size"], default_value_t = 640, value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: u32,
    /// Where to compute what the network does on images: cpu, flex (Burn's own back end for it), cuda:0, tch, tch:cuda:0.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Fold batch normalisation into the convolutions of the written file.
    #[arg(long)]
    pub(crate) fuse: bool,
    /// Write weights as f16 even where that rounds them [default: f16 where nothing is lost, else f32].
    #[arg(long)]
    pub(crate) half: bool,
    /// The file to write: .safetensors, or .pt for YOLOv5.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Measure milliseconds anew instead of using the cache.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the account as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

impl PruneArgs {
    /// What times networks on images of --imgsz, if a time is asked for.
    pub(crate) fn stopwatch(&self, is_asked: bool, network: &Checkpoint) -> Result<Option<Stopwatch>> {
        if !is_asked {
            if self.selection.threads.is_some() {
                tracing::warn!("--threads has no effect: no milliseconds are asked for");
            }
            return Ok(None);
        }
        let size = fitting(self.imgsz as usize, network.architecture.max_stride());
        Ok(Some(Stopwatch::new(self.selection.threads, size, self.no_cache)?))
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  yolo-cli coco-eval --annotations instances_val2017.json --predictions yolov5n_predictions.json")]
pub(crate) struct CocoEvalArgs {
    /// COCO annotations (instances_*.json).
    #[arg(long, value_name = "FILE")]
    pub(crate) annotations: PathBuf,
    /// Detections in COCO's results format.
    #[arg(long, value_name = "FILE")]
    pub(crate) predictions: PathBuf,
    /// Refuse annotations that pycocotools reads in spite of errors, such as those on images that are not listed.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the twelve figures as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  yolo-cli info --weights yolov5n.pt")]
pub(crate) struct InfoArgs {
    /// Checkpoint (.pt or .safetensors), or the name of a released one.
    #[arg(long)]
    pub(crate) weights: PathBuf,
    /// Fold batch normalisation into the convolutions first, as `val` does.
    #[arg(long)]
    pub(crate) fuse: bool,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print everything as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A name for a folder below the folder of the runs.
fn run_name(text: &str) -> Result<String, String> {
    let plain = |part| matches!(part, std::path::Component::Normal(_));
    if !text.is_empty() && std::path::Path::new(text).components().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("it must be the name of a folder; --project says where".to_owned())
    }
}

/// A path, or nothing.
fn maybe_path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

/// A number in `[0, 1]`.
fn unit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("it must be a number between 0 and 1".to_owned()),
    }
}

/// A time above 0.
fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ms) if ms > 0.0 && ms.is_finite() => Ok(ms),
        _ => Err("it must be a number of milliseconds above 0, as 20".to_owned()),
    }
}

/// A number between 0 and 1, but neither of them.
fn inner_fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x < 1.0 => Ok(x),
        _ => Err("it must be a number above 0 and below 1, as 0.5 for half".to_owned()),
    }
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
