//! The binary, end to end: what it prints, what it writes, and what it says about bad input.
//!
//! Most tests make a tiny detector and a few small images in a folder of their own. Those on real weights and
//! images use `../shared` and say when they are skipped.
#![allow(clippy::unwrap_used)]

mod bad_coco;
mod bad_data;
mod bad_images;
mod bad_labels;
mod bad_models;
mod bench;
mod channels;
mod coco_eval;
mod coco_matching;
mod data;
mod demo;
mod detect;
mod detect_video;
mod devices;
#[cfg(unix)]
mod documented;
mod downloads;
mod export;
mod families;
mod golden;
mod info;
#[cfg(unix)]
mod interruption;
#[cfg(feature = "tch")]
mod libtorch;
mod milliseconds;
mod modules;
mod no_labels;
#[path = "../../crates/yolo-nn/tests/nn/onnxruntime.rs"]
mod onnxruntime;
mod pack;
mod prune;
mod prune_finetune;
mod real;
mod reference_networks;
mod report;
#[cfg(unix)]
mod resume;
mod shell;
mod snapshots;
mod support;
mod sweep;
mod terminal;
mod train;
mod training_support;
mod val;
mod val_ensemble;
mod val_outputs;
mod val_plots;
mod val_study;
mod verdict;
mod yolov5_files;
mod yolov5_flags;
