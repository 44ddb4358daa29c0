//! Data for YOLO detectors: images, labels, data sets and batches.
//!
//! ```text
//! data.yaml ─ DatasetConfig ─ Dataset ─ plan_batches ─ Loader ─ Batch        (boxes of labels: Geometry)
//!                                     └ epoch_plans ─ TrainLoader ─ TrainBatch
//! ```
//!
//! Nothing here knows the tensor library. Boxes and the two detection metrics are those of [`yolo_eval`].
//! Bad files of a user's data set are reported with file and line and do not end a run.
//!
//! Reading a split:
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
pub mod rect;
pub mod resize;
pub mod train_loader;

pub use error::{DataError, Result};
