//! What can be typed after `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shared::BranchArgs;

/// The formats that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Open Neural Network Exchange, .onnx.
    Onnx,
    /// A whole network as YOLOv5 saves it, .pt.
    Pt,
    /// The tensors alone under PyTorch's names, .pt.
    StateDict,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli export --weights yolov5n.pt                                   # writes yolov5n.onnx
  yolo-cli export --weights pruned.safetensors --format onnx --out pruned.onnx --imgsz 480 640
  yolo-cli export --weights yolov5n.pt --dynamic --out any-size.onnx     # any batch, height and width
  yolo-cli export --weights yolov5n.pt --raw --batch-size 8 --opset 17
  yolo-cli export --weights yolov5n.pt --include onnx --imgsz 640,480 --opset 12 --half
  yolo-cli export --weights pruned.safetensors --format pt --out pruned.pt                # for YOLOv5
  yolo-cli export --weights pruned.safetensors --format state-dict --out tensors.pt       # for load_state_dict

ONNX: The input is `images` [N, 3, H, W], RGB in 0…1; sides are multiples of the stride (32). The output is `output0` \
[N, boxes, 5 + classes]: centre x, centre y, width, height in pixels, objectness, scores, as YOLOv5's own export \
has it, without non-maximum suppression. With --raw it is one map of logits per level, [N, anchors, H / stride, \
W / stride, 5 + classes]. --dynamic leaves batch, height and width open for either. Batch normalisation is folded \
in. --half stores weights, images and outputs in half precision; boxes beyond 512 pixels are then rounded to half a \
pixel. Pruned weights are stored as zeros: the file is as large as the dense one. onnxruntime and OpenCV's DNN module \
from 4.5.5 read every form, half precision from 4.7.

pt: YOLOv5's detect.py, val.py, export.py and hub load the file, dense, pruned, or with fewer channels; its train.py does \
what docs/yolov5.md says. state-dict: torch.load(FILE, weights_only=True) gives what load_state_dict takes. Both are in \
half precision where nothing is lost or --half asks for it, else in single; a network whose values are beyond half \
precision is in single.")]
pub(crate) struct ExportArgs {
    /// Checkpoint (.pt or .safetensors), or the name of a released one.
    #[arg(long)]
    pub(crate) weights: PathBuf,
    /// Model yaml or name of a stock one, for weights that are tensors alone (a state dict).
    #[arg(long)]
    pub(crate) cfg: Option<String>,
    #[command(flatten)]
    pub(crate) branches: BranchArgs,
    /// The format to write.
    #[arg(long, visible_alias = "include", value_enum, default_value = "onnx")]
    pub(crate) format: ExportFormat,
    /// The file to write [default: the name of the weights with .onnx, .pt or -state-dict.pt, in the current folder].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Side of the images in pixels, or height and width (640 480 or 640,480); for ONNX without --dynamic.
    #[arg(long, visible_aliases = ["img", "img-size"], num_args = 1..=2, value_delimiter = ',', default_value = "640",
        value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: Vec<u32>,
    /// Images per batch; for ONNX without --dynamic.
    #[arg(long, visible_alias = "batch", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch_size: u32,
    /// Take any batch, height and width (ONNX).
    #[arg(long)]
    pub(crate) dynamic: bool,
    /// Return the head's logits instead of boxes (ONNX).
    #[arg(long)]
    pub(crate) raw: bool,
    /// Version of ONNX's operators, 12 to 20; the graph is the same in each.
    #[arg(long, default_value_t = 13, value_parser = clap::value_parser!(u32).range(12..=20))]
    pub(crate) opset: u32,
    /// Store weights in half precision; in ONNX also images and outputs.
    #[arg(long)]
    pub(crate) half: bool,
    /// Write weights that have zeros as the pairs weight_orig and weight_mask of torch.nn.utils.prune (pt, state-dict).
    #[arg(long)]
    pub(crate) with_masks: bool,
    /// Changes nothing: the file is made from the weights, and nothing is computed on a device.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Changes nothing: the graph is written with nothing left to simplify.
    #[arg(long)]
    pub(crate) simplify: bool,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the account as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
