//! Flags of `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use yolo_runtime::Isa;

use super::shared::BranchArgs;

/// What a network runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArg {
    /// Compiled for this processor.
    Runtime,
    /// Burn's own back end for CPUs.
    Flex,
    /// libtorch, where it was built in.
    Tch,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli bench --weights yolov5n.pt
  yolo-cli bench --weights yolov5n.pt pruned.safetensors --batch-size 1,8
  yolo-cli bench --weights pruned.safetensors --explain
  yolo-cli bench --weights yolov5s.pt --backends runtime,flex --threads 1 --json

All of them take turns, so that a busy machine slows every one alike; ratios are against the first line.")]
pub(crate) struct BenchArgs {
    /// Checkpoints (.pt or .safetensors), or names of released ones.
    #[arg(long, num_args = 1.., required = true)]
    pub(crate) weights: Vec<PathBuf>,
    /// Height and width of the images in pixels, or one number for both.
    #[arg(long, visible_aliases = ["img", "img-size"], num_args = 1..=2, default_values_t = [640], value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: Vec<u32>,
    #[command(flatten)]
    pub(crate) branches: BranchArgs,
    /// Images per run, one number or several.
    #[arg(long, visible_alias = "batch", value_delimiter = ',', default_values_t = [1], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) batch_size: Vec<u32>,
    /// Threads of the runtime [default: one per core].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: Option<u32>,
    /// What networks run on.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [BackendArg::Runtime])]
    pub(crate) backends: Vec<BackendArg>,
    /// Vector unit of the runtime: avx512, avx2, neon, portable [default: the best of this processor].
    #[arg(long)]
    pub(crate) isa: Option<Isa>,
    /// A program that runs the first network whenever it is asked, and answers with the milliseconds; words separated by
    /// spaces, or a JSON array of words. Repeatable; peers come first. `cargo xtask bench-peers` has some for ONNX Runtime
    /// and OpenVINO, which are compared with ours before they are timed.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) peer: Vec<String>,
    /// Timed runs of each.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(3..=100_000))]
    pub(crate) repetitions: u32,
    /// Show every convolution: its zeros, the times of the best dense and the best sparse kernel, and the choice.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print everything as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
