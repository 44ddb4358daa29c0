//! Evaluation of object detectors: COCO's twelve numbers, and YOLOv5's own precision, recall and mAP.
//!
//! | module | content |
//! |---|---|
//! | [`boxes`] | the three box formats of the field as types, and IoU, GIoU, DIoU and CIoU |
//! | [`coco`] | COCO's box evaluation, bit-equal to pycocotools 2.0.11 on valid data; reads and writes COCO's files |
//! | [`metrics`] | the metrics that YOLOv5 v7.0 prints, and its confusion matrix |
//!
//! There are no image codecs and no tensor library here. Boxes carry their format in their type ([`Xyxy`],
//! [`Cxcywh`], [`Ltwh`]); the frame (pixels of the image, fractions of it) is in the name of the variable.
//!
//! # COCO's numbers
//!
//! Read both files, evaluate, and take the numbers or print them as pycocotools does:
//!
//! ```no_run
//! use yolo_eval::coco::{Detections, GroundTruth, Params, evaluate};
//!
//! let gt = GroundTruth::read("instances_val2017.json")?;
//! let dt = Detections::read_for("detections.json", &gt)?;
//! let evaluation = evaluate(&gt, &dt, &Params::coco())?;
//! for line in evaluation.summary().lines() {
//!     println!("{line}");
//! }
//! # Ok::<(), yolo_eval::EvalError>(())
//! ```
//!
//! Neither side has to be a file:
//!
//! ```
//! use yolo_eval::Ltwh;
//! use yolo_eval::coco::{Annotation, Category, Detection, GroundTruth, ImageInfo, Params, evaluate};
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
//! # Ok::<(), yolo_eval::EvalError>(())
//! ```
//!
//! # YOLOv5's numbers
//!
//! Add the images one at a time, those without detections or labels too:
//!
//! ```
//! use yolo_eval::Xyxy;
//! use yolo_eval::metrics::{LabelledBox, NativeMetrics, ScoredBox};
//!
//! let bbox = Xyxy::new(10.0, 20.0, 60.0, 100.0);
//! let mut metrics = NativeMetrics::new();
//! metrics.add_image(&[ScoredBox { bbox, score: 0.9, class: 0 }], &[LabelledBox { bbox, class: 0 }]);
//! metrics.add_image(&[], &[LabelledBox { bbox, class: 0 }]);
//! let report = metrics.finish();
//! assert_eq!(report.per_class[0].instances, 2);
//! assert!((report.recall - 0.5).abs() < 1e-3);
//! ```
//!
//! # Errors
//!
//! What would make a number wrong (an unknown image, a duplicate id, NaN) is an [`EvalError`] that names the file,
//! the place and the fix.

pub mod boxes;
pub mod coco;
mod convention;
pub mod error;
pub mod metrics;

pub use boxes::{Cxcywh, Ltwh, Xyxy};
pub use convention::Convention;
pub use error::{EvalError, Result};
