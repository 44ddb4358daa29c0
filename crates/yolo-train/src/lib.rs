//! Models meet data here: validation of a detector on a data set.
//!
//! ```text
//! Dataset ── plan_batches ── Loader ── tensor::images ── Yolo::forward ── decode ── nms
//!                                                                                    │
//!           Validation { native metrics, confusion matrix, detections, times } ── original pixels
//! ```
//!
//! [`validate`] is YOLOv5's `val.py` as a function. It prints nothing and writes nothing; [`coco_evaluation`] turns
//! its detections into COCO's twelve figures.
//!
//! ```
//! use burn::tensor::Device;
//! use yolo_data::dataset::Dataset;
//! use yolo_model::{Checkpoint, Yolo};
//! use yolo_train::{ValidationOptions, validate};
//!
//! /// mAP50-95 of a checkpoint at 640 pixels.
//! fn measure(checkpoint: &Checkpoint, dataset: &Dataset, device: &Device) -> yolo_train::Result<f64> {
//!     let model = Yolo::from_checkpoint(&checkpoint.fuse()?, device)?;
//!     let done = |images| eprintln!("{images} images");
//!     Ok(validate(&model, dataset, device, &ValidationOptions::new(640), done)?.native.map)
//! }
//! ```

pub mod batch_norm;
mod coco;
pub mod distill;
pub mod ema;
mod error;
pub mod finetune;
pub mod hyper;
pub mod loss;
pub mod masks;
pub mod optimizer;
pub mod recipe;
pub mod schedule;
mod tensor;
pub mod train;
mod validate;

pub use coco::{CocoTask, coco_evaluation};
pub use error::{Result, TrainError};
pub use tensor::images;
pub use validate::{ImageDetections, SkippedImage, SpeedMs, Validation, ValidationOptions, validate};
