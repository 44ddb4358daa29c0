//! Data for YOLO detectors: images, labels, data sets and batches.
//!
//! ```text
//! data.yaml ─ DatasetConfig ─ Dataset ─ plan_batches ─ Loader ─ Batch        (boxes of labels: Geometry)
//!                                     └ epoch_plans ─ TrainLoader ─ TrainBatch
//! ```
//!
//! There is no tensor library here. Box types and the two detection metrics come from [`yolo_eval`]. A bad file in a
//! user's data set is reported with its name and line, and the run continues without it.
//!
//! To read a split:
//!
//! ```no_run
//! use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};
//!
//! let config = DatasetConfig::read("mine.yaml".as_ref())?;
//! let dataset = Dataset::open(&config, Split::Val, &ScanOptions::default(), &|_, _| {})?;
//! for item in &dataset.items {
//!     println!("{}: {} objects", item.image.display(), item.labels.len());
//! }
//! # Ok::<(), yolo_data::DataError>(())
//! ```

pub mod anchors;
pub mod atomic;
pub mod augment;
pub mod convert;
pub mod dataset;
pub mod demo;
pub mod error;
pub mod image;
pub mod letterbox;
pub mod loader;
pub mod nearby;
pub mod rect;
pub mod resize;
pub mod train_loader;
pub mod yaml;

pub use error::{DataError, Result};
