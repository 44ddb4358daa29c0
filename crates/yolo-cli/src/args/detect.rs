//! What can be typed after `detect`.

use std::path::PathBuf;

use clap::{Arg, Args};
use yolo_report::detections::BoxFormat;

use super::inert::{DETECT, InertFlags};
use super::named::{Named, named};
use super::shared::{BranchArgs, RunArgs, ThresholdArgs, runs_in, usual};

/// How boxes are written in text files.
const BOX_FORMATS: [Named<BoxFormat>; 2] = [
    Named(BoxFormat::Cxcywh, "0|xywh", "Centre x, centre y, width, height: YOLO's labels"),
    Named(BoxFormat::Xyxy, "1|xyxy", "Left, top, right, bottom"),
];

/// The help of `--iou-thres`.
fn detection_overlap(arg: Arg) -> Arg {
    arg.help(
        "Overlap above which the weaker of two boxes goes [default: 0.45; 0.7 for networks of the Ultralytics family]",
    )
}

#[derive(Debug, Args)]
#[command(mut_arg("conf_thres", usual("0.25")), mut_arg("iou_thres", detection_overlap))]
#[command(mut_arg("project", runs_in("runs/detect")))]
#[command(after_help = "\
Examples:
  yolo-cli detect                                                # on drawn shapes that come with the program
  yolo-cli detect --weights yolov5s --source bus.jpg             # downloads the weights
  yolo-cli detect --weights pruned.safetensors --source photos/ --classes person dog --save-crop
  yolo-cli detect --weights best.pt --source 'photos/*.png' --save-txt --save-conf --nosave
  yolo-cli detect --weights best.pt --source clip.mp4 --vid-stride 2
  yolo-cli detect --weights best.pt --source rtsp://camera/1     # until Ctrl-C; 0 is the first webcam
  yolo-cli detect --weights best.pt --source photos/ --json > found.json

Images are jpg, png, bmp, webp and tif; they are written in the format they came in. Videos and streams are read and \
written by ffmpeg, which has to be installed.")]
pub(crate) struct DetectArgs {
    /// Checkpoint (.pt or .safetensors), or the name of a released one; several are an ensemble [default: yolov5s; the
    /// example's for the example].
    #[arg(long, num_args = 1..)]
    pub(crate) weights: Vec<PathBuf>,
    /// Image, video, folder, 'pattern*.jpg', list file (.txt, .streams), URL of an image, stream (rtsp://…), number of a webcam, or demo
    /// [default: data/images, or the example where neither it nor --weights is there].
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Data set yaml whose class names are shown instead of those in the checkpoint.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Long side of the images in pixels, or height and width.
    #[arg(long, visible_aliases = ["img", "img-size"], num_args = 1..=2, default_value = "640",
        value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: Vec<u32>,
    /// Pad images to the whole of --imgsz instead of as little as the network's strides allow.
    #[arg(long)]
    pub(crate) square: bool,
    #[command(flatten)]
    pub(crate) thresholds: ThresholdArgs,
    /// Detections per image at most [default: 1000; 300 for networks of the Ultralytics family].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=30000))]
    pub(crate) max_det: Option<u32>,
    #[command(flatten)]
    pub(crate) branches: BranchArgs,
    /// Where to compute: cpu, flex (Burn's own back end for it), cuda:0, tch, tch:cuda:0.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Only these classes, by number or name; commas separate them, too.
    #[arg(long, num_args = 1.., value_name = "CLASS")]
    pub(crate) classes: Vec<String>,
    /// Boxes of different classes suppress each other.
    #[arg(long)]
    pub(crate) agnostic_nms: bool,
    /// Look at every image three times: as it is, smaller and mirrored, and smaller still. Finds more in twice the time.
    #[arg(long)]
    pub(crate) augment: bool,
    /// Write the detections of each image to labels/*.txt.
    #[arg(long)]
    pub(crate) save_txt: bool,
    /// How --save-txt writes boxes, as fractions of the image.
    #[arg(long, default_value = "0", requires = "save_txt", value_parser = named(&BOX_FORMATS))]
    pub(crate) save_format: BoxFormat,
    /// Add the score to --save-txt lines.
    #[arg(long)]
    pub(crate) save_conf: bool,
    /// Cut every detection out, into crops/CLASS/*.jpg.
    #[arg(long)]
    pub(crate) save_crop: bool,
    /// Write all detections to predictions.csv.
    #[arg(long)]
    pub(crate) save_csv: bool,
    /// Do not write images and videos with boxes.
    #[arg(long)]
    pub(crate) nosave: bool,
    /// Pixels across the lines of boxes [default: 3, more on large images].
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) line_thickness: Option<u32>,
    /// Draw boxes without labels.
    #[arg(long)]
    pub(crate) hide_labels: bool,
    /// Labels without scores.
    #[arg(long)]
    pub(crate) hide_conf: bool,
    /// Look at every n-th frame of videos; what is written has the frames that were looked at.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10000))]
    pub(crate) vid_stride: u32,
    /// Seconds for which a stream that was lost is connected to again; 0 for not at all.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86400))]
    pub(crate) reconnect: u32,
    /// Show what the layers make of every image, as pictures and as .npy arrays, in features/NAME.
    #[arg(long)]
    pub(crate) visualize: bool,
    /// Compute in half precision (fp16): GPUs, tch and flex; slow on a processor.
    #[arg(long)]
    pub(crate) half: bool,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print all detections as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// Has no effect but a line that says how to view the pictures: no window is opened.
    #[arg(long, help_heading = "Flags of YOLOv5 without effect")]
    pub(crate) view_img: bool,
    #[command(flatten)]
    pub(crate) inert: InertFlags<DETECT>,
}
