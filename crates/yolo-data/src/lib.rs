//! Data for YOLO detectors: images, labels, data sets, batches, and the two detection metrics.
//!
//! Plain Rust: nothing here knows the tensor library, so the crate builds and tests in seconds.

pub mod atomic;
pub mod boxes;
pub mod coco;
pub mod dataset;
pub mod error;
pub mod image;
pub mod letterbox;
pub mod loader;
pub mod metrics;
pub mod rect;
pub mod resize;

pub use boxes::{Cxcywh, Ltwh, Xyxy};
pub use error::{DataError, Result};
