//! Groups of flags that several commands have.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, Args};
use serde::{Deserialize, Serialize};
use yolo_device::Backend;
use yolo_eval::coco::classes::CategoryMap;
use yolo_model::NmsOptions;

use super::{maybe_path, run_name, unit};
use crate::measure::CocoOptions;
use crate::resolve::{absolute, absolute_data, category_map};

/// The folder of a run. Each command says where its runs are, by [`runs_in`].
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct RunArgs {
    /// Folder of the runs.
    #[arg(long)]
    pub(crate) project: PathBuf,
    /// Name of this run; numbered when it exists: exp, exp2, …
    #[arg(long, default_value = "exp", value_parser = run_name)]
    pub(crate) name: String,
    /// Write into an existing run.
    #[arg(long)]
    pub(crate) exist_ok: bool,
}

/// What a training writes besides its own files.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct SaveArgs {
    /// Write the network that the run ends with for YOLOv5 as well, beside it, as .pt (see docs/yolov5.md).
    #[arg(long)]
    #[serde(default)]
    pub(crate) save_pt: bool,
}

/// Which branches of a head answer.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct BranchArgs {
    /// Answer without suppression, by the one-to-one branches of a head that has both kinds (YOLO26); without this flag it
    /// is the one-to-many branches and suppression, which find more.
    #[arg(long)]
    pub(crate) end2end: bool,
}

/// Gives `--project` its default.
pub(super) fn runs_in(folder: &'static str) -> impl Fn(Arg) -> Arg {
    usual(folder)
}

/// Gives a flag of a group the default of its command.
pub(super) fn usual(value: &'static str) -> impl Fn(Arg) -> Arg {
    move |arg| arg.required(false).default_value(value)
}

/// Which class each COCO category is.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
pub(crate) struct CategoryMapArgs {
    /// Classes of COCO categories whose names do not tell: a yaml of `category: class`; no class leaves it out.
    #[arg(long, value_name = "FILE")]
    #[serde(default)]
    category_map: Option<PathBuf>,
}

impl CategoryMapArgs {
    /// The map of the file, where one is named.
    pub(crate) fn read(&self) -> Result<Option<CategoryMap>> {
        self.category_map.as_deref().map(category_map).transpose()
    }

    /// The same with a path that means the same from every folder.
    pub(crate) fn portable(&self) -> Self {
        Self { category_map: self.category_map.as_deref().map(absolute) }
    }
}

/// What the images are, and what they are measured against.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct DatasetArgs {
    /// Data set yaml, or a known name: coco, coco128, demo.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// COCO annotations, if they are not at annotations/instances_SPLIT.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) annotations: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) categories: CategoryMapArgs,
    /// Leave images that the annotations do not have out of COCO's figures instead of failing.
    #[arg(long)]
    #[serde(default)]
    pub(crate) allow_missing: bool,
}

impl DatasetArgs {
    /// What was asked for about COCO's metric.
    pub(crate) fn coco_options(&self) -> Result<CocoOptions<'_>> {
        Ok(CocoOptions {
            annotations: self.annotations.as_deref(),
            category_map: self.categories.read()?,
            allow_missing: self.allow_missing,
            ..CocoOptions::default()
        })
    }

    /// The same with paths that mean the same from every folder.
    pub(crate) fn portable(&self) -> Self {
        Self {
            data: absolute_data(&self.data),
            annotations: self.annotations.as_deref().map(absolute),
            categories: self.categories.portable(),
            allow_missing: self.allow_missing,
        }
    }
}

/// What computes, and what it may use.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct ComputeArgs {
    /// Where to compute: cpu, flex (Burn's own back end for it), cuda:0, tch, tch:cuda:0.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Threads that decode images [default: one per core, at most 8].
    #[arg(long)]
    pub(crate) workers: Option<usize>,
    /// Read every label again instead of using the cache.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Never download weights.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// The help of `--workers` of a command that trains.
pub(super) fn training_workers(arg: Arg) -> Arg {
    arg.help("Threads that decode and augment images [default: one per core, at most 8]")
}

impl ComputeArgs {
    /// The back end that was named.
    pub(crate) fn backend(&self) -> Result<Backend> {
        Ok(Backend::open(&self.device, !self.no_cache)?)
    }

    /// Threads that decode images.
    pub(crate) fn loader_threads(&self) -> usize {
        yolo_device::loader_threads(self.workers)
    }

    /// What a resumed run computes with: the machine may be another, the rest is as `saved`.
    pub(crate) fn resuming(&self, saved: Self) -> Self {
        Self { device: self.device.clone(), workers: self.workers, ..saved }
    }
}

/// Which boxes count.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct ThresholdArgs {
    /// Detections need a score above this.
    #[arg(long, visible_alias = "conf", default_value_t = 0.001, value_parser = unit)]
    pub(crate) conf_thres: f64,
    /// Overlap above which the weaker of two boxes goes [default: 0.6; 0.7 by the conventions of ultralytics].
    #[arg(long, visible_alias = "iou", value_parser = unit)]
    #[serde(default)]
    pub(crate) iou_thres: Option<f64>,
}

impl ThresholdArgs {
    /// `options` with these thresholds.
    pub(crate) fn nms(&self, options: NmsOptions) -> NmsOptions {
        let iou_threshold = self.iou_thres.map_or(options.iou_threshold, |iou| iou as f32);
        NmsOptions { score_threshold: self.conf_thres as f32, iou_threshold, ..options }
    }
}

/// The run to continue.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ResumeArgs {
    /// Continue an interrupted run: its folder, or the newest below --project if none is named.
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "RUN", value_parser = maybe_path)]
    pub(crate) resume: Option<PathBuf>,
}
