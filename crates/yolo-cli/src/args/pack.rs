//! Flags of `pack`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli pack --weights pruned.safetensors --out packed.safetensors
  yolo-cli pack --weights pruned.safetensors --int8 --out small.safetensors
  yolo-cli pack --weights packed.safetensors --expand --out plain.safetensors
  yolo-cli pack --weights packed.safetensors --expand --out plain.pt      # for YOLOv5

A packed file holds a bit per weight and the weights that are not zero. It loads wherever a checkpoint loads, and \
expands to the same numbers, bit for bit; --int8 and --half round, and keep every zero and no others.")]
pub(crate) struct PackArgs {
    /// Checkpoint (.pt or .safetensors), or the name of a released one.
    #[arg(long)]
    pub(crate) weights: PathBuf,
    /// Weights of convolutions as 8-bit integers with a scale per output channel: off by half a step at most, a step
    /// being 1/127 of the channel's largest weight (a whole one for weights below half a step, which stay non-zero).
    #[arg(long, conflicts_with = "expand")]
    pub(crate) int8: bool,
    /// Write f16 even where that rounds [default: f16 where nothing is lost, else f32].
    #[arg(long)]
    pub(crate) half: bool,
    /// Write the plain file of a packed one.
    #[arg(long)]
    pub(crate) expand: bool,
    /// The file to write: .safetensors, or, with --expand, .pt for YOLOv5.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the account as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
