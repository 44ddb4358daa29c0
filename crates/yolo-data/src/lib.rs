//! Data for YOLO detectors: images, labels, data sets, batches, and the two detection metrics.
//!
//! ```text
//! data.yaml ─ DatasetConfig ─ Dataset ─ plan_batches ─ Loader ─ Batch        (boxes of labels: Geometry)
//!                                     └ epoch_plans ─ TrainLoader ─ TrainBatch
//! instances.json ─ GroundTruth ─┐
//! predictions ─ Detection ──────┴─ coco::evaluate ─ Summary                  (YOLOv5's own: NativeMetrics)
//! ```
//!
//! Plain Rust: nothing here knows the tensor library, so the crate builds and tests in seconds. Boxes carry
//! their format in their type ([`Xyxy`], [`Cxcywh`], [`Ltwh`]) and their frame in the name of the variable.
//! Bad files of a user's data set are reported with file and line and do not end a run.
//!
//! ```
//! use yolo_data::Ltwh;
//! use yolo_data::coco::{Annotation, Category, Detection, GroundTruth, ImageInfo, Params, evaluate};
//!
//! let bbox = Ltwh { left: 10.0, top: 20.0, w: 50.0, h: 80.0 };
//! let images = vec![ImageInfo { id: 7, width: 640, height: 480, file_name: "7.jpg".to_owned() }];
//! let categories = vec![Category { id: 1, name: "person".to_owned() }];
//! let person = Annotation { id: 1, image_id: 7, category_id: 1, bbox, area: 3000.0, iscrowd: false };
//! let gt = GroundTruth::new("example", images, categories, vec![person])?;
//!
//! let near = Ltwh { left: 12.0, ..bbox };
//! let dt = [Detection { image_id: 7, category_id: 1, bbox: near, score: 0.9 }];
//! let summary = evaluate(&gt, &dt, &Params::coco())?.summary();
//! assert!((summary.ap50 - 1.0).abs() < 1e-9 && (summary.ap - 0.9).abs() < 1e-9);
//! # Ok::<(), yolo_data::DataError>(())
//! ```

pub mod anchors;
pub mod atomic;
pub mod augment;
pub mod boxes;
pub mod coco;
pub mod convert;
pub mod dataset;
pub mod demo;
pub mod error;
pub mod image;
pub mod letterbox;
pub mod loader;
pub mod metrics;
pub mod rect;
pub mod resize;
pub mod spelling;
pub mod train_loader;

pub use boxes::{Cxcywh, Ltwh, Xyxy};
pub use error::{DataError, Result};
