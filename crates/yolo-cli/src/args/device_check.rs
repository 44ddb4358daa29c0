//! Flags of `device-check`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli device-check --device cuda:0
  yolo-cli device-check --device tch --quick
  cargo xtask gpu-check                       # builds for CUDA, and puts PyTorch beside it

Computes the same things on the device and on the processor: layers, losses, gradients, training, figures. Speed is \
measured with random weights, from bytes on the host to logits on the host.")]
pub(crate) struct DeviceCheckArgs {
    /// The device to check: cuda:0, tch, tch:cuda:0, flex.
    #[arg(long)]
    pub(crate) device: String,
    /// Small images and one small network: for trying out the check itself, in a minute on a processor.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Weights whose figures are compared; --data has to have their classes.
    #[arg(long, default_value = "demo")]
    pub(crate) weights: PathBuf,
    /// Data set yaml, or a known name, that they are measured on.
    #[arg(long, default_value = "demo")]
    pub(crate) data: PathBuf,
    /// Folder with loss.json and loss_batch.safetensors of a reference for --weights.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) reference: Option<PathBuf>,
    /// A program that measures the same networks: it gets a folder with their architectures, and prints a line of JSON
    /// for each figure.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) peer: Option<String>,
    /// No check begins after this many seconds.
    #[arg(long, default_value_t = 450)]
    pub(crate) seconds: u64,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the rows as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
