//! One module per command: resolve the arguments, call a library, show the result.

pub(crate) mod bench;
pub(crate) mod coco_eval;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod detect;
pub(crate) mod device_check;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod export_torch;
pub(crate) mod info;
pub(crate) mod pack;
pub(crate) mod prune;
pub(crate) mod prune_channels;
pub(crate) mod prune_finetune;
pub(crate) mod prune_like;
pub(crate) mod report;
pub(crate) mod sweep;
pub(crate) mod train;
pub(crate) mod val;
