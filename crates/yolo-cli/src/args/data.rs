//! Flags of `data`: look at a data set, and write it in the other layout.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use yolo_data::convert::{CategoryIds, Layout, Placement};
use yolo_data::dataset::Split;

use super::named::{Named, named};
use super::shared::CategoryMapArgs;

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Check images and labels, count classes and sizes, and say what would stop or spoil training.
    Check(DataCheckArgs),
    /// Write a data set in the other layout: YOLO's label files or COCO's JSON.
    Convert(DataConvertArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli data check mine.yaml
  yolo-cli data check mine.yaml --mosaic look.jpg         # some images with their boxes, to look at
  yolo-cli data check coco128 --json > counts.json

Exit code 1 where training would fail.")]
pub(crate) struct DataCheckArgs {
    /// Data set yaml, or a known name: coco, coco128, demo.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Splits to look at [default: all that the yaml has].
    #[arg(long, value_delimiter = ',', value_name = "SPLITS", value_parser = named(&SPLITS))]
    pub(crate) split: Vec<Split>,
    #[command(flatten)]
    pub(crate) categories: CategoryMapArgs,
    /// Long side of the network's input in pixels, by which boxes are called tiny.
    #[arg(long, visible_aliases = ["img", "img-size"], default_value_t = 640, value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: u32,
    /// Write a picture of up to 16 images with their boxes (.jpg or .png).
    #[arg(long, value_name = "FILE")]
    pub(crate) mosaic: Option<PathBuf>,
    /// Show every class and every problem.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Read every label again instead of using the cache.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Print everything as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli data convert annotations/instances_*.json --out coco-yolo    # COCO's JSON → YOLO labels
  yolo-cli data convert export/*/_annotations.coco.json --out mine
  yolo-cli data convert mine.yaml --out mine-coco                      # and the other way
  yolo-cli data convert instances.json --image-dir photos --images copy --out mine

COCO files become YOLO's labels, and a yaml with YOLO's labels becomes COCO files; both with a data.yaml. Classes are \
the categories in order of their ids, so COCO's ids 1 to 90 become 0 to 79, and back. Crowds are left out. Which split \
a COCO file is says its name or its folder. Boxes are converted; outlines of COCO files are not.")]
pub(crate) struct DataConvertArgs {
    /// A data set yaml (or a known name), or one or several COCO files.
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<PathBuf>,
    /// The layout to write [default: the other one].
    #[arg(long, value_parser = named(&LAYOUTS))]
    pub(crate) to: Option<Layout>,
    /// The folder to write; it must not exist.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Folder of the images of COCO files, where they are not at images/SPLIT, SPLIT, images, beside the file or below the root.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) image_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) categories: CategoryMapArgs,
    /// How images get into the folder.
    #[arg(long, default_value = "link", value_parser = named(&PLACEMENTS))]
    pub(crate) images: Placement,
    /// Category ids to write: COCO's own for its 80 names and else from 1, from 1, or from 0.
    #[arg(long, default_value = "auto", value_parser = named(&CATEGORY_IDS))]
    pub(crate) category_ids: CategoryIds,
    /// Read every label again instead of using the cache.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Print what was written as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) const SPLITS: [Named<Split>; 3] =
    [Named(Split::Train, "train", ""), Named(Split::Val, "val", ""), Named(Split::Test, "test", "")];

pub(crate) const LAYOUTS: [Named<Layout>; 2] = [
    Named(Layout::Yolo, "yolo", "A text file per image"),
    Named(Layout::Coco, "coco", "A JSON file per split"),
];

pub(crate) const PLACEMENTS: [Named<Placement>; 3] = [
    Named(Placement::Link, "link", "As links, which take no room"),
    Named(Placement::Copy, "copy", "As copies"),
    Named(Placement::Leave, "leave", "Not at all"),
];

pub(crate) const CATEGORY_IDS: [Named<CategoryIds>; 3] = [
    Named(CategoryIds::Auto, "auto", ""),
    Named(CategoryIds::FromOne, "from-one", ""),
    Named(CategoryIds::FromZero, "from-zero", ""),
];
