//! Training: validation of a detector, its training, and the fine-tuning of a pruned network.
//!
//! ```text
//! Dataset ── plan_batches ── Loader ── images ── Detector ── decode ── nms ── Validation
//! Dataset ── epoch_plans ── TrainLoader ── images ── Yolo::forward ── DetectionLoss ── gradients
//!                                                                                        │
//!      best, last, results.csv ── validation ── Ema ◄── Optimizer ◄── clip ◄── Masks ◄───┘
//! ```
//!
//! [`validate`] is YOLOv5's `val.py` as a function, [`train::train`] its `train.py`; [`finetune::finetune`] picks the
//! best of a pruned network, the same with re-estimated batch statistics, and every epoch of training. They print
//! nothing; training reports to a [`train::Observer`]. [`CocoTask`] turns detections into COCO's twelve figures.
//!
//! ```
//! use burn::tensor::Device;
//! use yolo_data::dataset::Dataset;
//! use yolo_detect::Detector;
//! use yolo_model::Checkpoint;
//! use yolo_train::{ValidationOptions, validate};
//!
//! /// mAP50-95 of a checkpoint at 640 pixels.
//! fn measure(checkpoint: &Checkpoint, dataset: &Dataset, device: &Device) -> yolo_train::Result<f64> {
//!     let detector = Detector::on_device(&checkpoint.fuse()?, device, 2)?;
//!     let done = |images| eprintln!("{images} images");
//!     Ok(validate(&detector, dataset, &ValidationOptions::new(640), done)?.native.map)
//! }
//! ```

pub mod batch_norm;
pub mod calibration;
mod coco;
pub mod device_check;
pub mod distill;
pub mod ema;
mod error;
pub mod finetune;
pub mod hyper;
pub mod loss;
pub mod masks;
pub mod memory;
pub mod narrow;
pub mod optimizer;
pub mod precision;
pub mod recipe;
pub mod schedule;
pub mod slim;
pub mod train;
mod validate;

pub use coco::CocoTask;
pub use error::{Result, TrainError};
pub use validate::{
    Compile, ImageDetections, SkippedImage, ValidatedBatch, Validation, ValidationLoss, ValidationOptions,
    validate, validate_watched,
};
