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

mod coco;
mod error;
mod tensor;
mod validate;

pub use coco::{CocoTask, coco_evaluation};
pub use error::{Result, TrainError};
pub use tensor::images;
pub use validate::{ImageDetections, SkippedImage, SpeedMs, Validation, ValidationOptions, validate};
