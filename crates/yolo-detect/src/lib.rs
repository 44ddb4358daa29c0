//! From an image to the objects in it: letterbox, network, decoding, suppression.
//!
//! ```text
//! RgbImage ── letterbox ── Detector::upload ── Batch::run ── nms ── boxes
//!                               │                 │
//!                               └──── Executor ───┘   compiled for the processor, or (feature `nn`) on Burn
//! ```
//!
//! [`Detector::detect`] does all of it for one image. Batches take the same steps one by one, so that a caller can time
//! and overlap them: [`Detector::upload`], [`Batch::run`], then `yolo_model::nms`. Test-time augmentation and ensembles
//! are part of [`Batch::run`].
//!
//! [`sources`] lists the images, videos and streams that a name stands for; [`video`] reads and writes videos and streams
//! by the user's own ffmpeg. With the feature `nn`, `feature_maps` shows what the layers of a network make of an image.
//!
//! Without the feature `nn`, this crate compiles no tensor library.
//!
//! ```
//! use rand::SeedableRng;
//! use yolo_detect::{Checkpoint, DetectOptions, Detector, Options, RgbImage};
//! use yolo_model::Architecture;
//!
//! let architecture = Architecture::variant("yolov5n", Some(3))?;
//! let checkpoint = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0))?;
//! let detector = Detector::compiled(checkpoint.fuse()?, Options::default())?;
//! let frame = RgbImage::filled(96, 64, [114; 3]);
//! for found in detector.detect(&frame, &DetectOptions::new((64, 64)))?.boxes {
//!     println!("class {} at {:?}, score {}", found.class, found.bbox, found.score);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod convention;
mod detector;
mod error;
mod executor;
#[cfg(feature = "nn")]
pub mod feature_maps;
mod frame;
mod logits;
mod pass;
pub mod sources;
#[cfg(feature = "nn")]
mod tensor;
pub mod video;

pub use convention::{convention_of, detection_thresholds};
pub use detector::{Batch, Computed, Detector, Launched, Output, RunOptions, check_channels};
pub use error::{DetectError, Result};
pub use executor::{CompiledExecutor, Executor, Images, Pending, Uploaded};
#[cfg(feature = "nn")]
pub use executor::{DeviceExecutor, check_format};
pub use frame::{DetectOptions, Detected, SpeedMs};
pub use logits::Logits;
pub use pass::Pass;
#[cfg(feature = "nn")]
pub use tensor::images;
// What a program that detects on frames needs besides.
pub use yolo_data::image::RgbImage;
pub use yolo_eval::Xyxy;
pub use yolo_eval::metrics::ScoredBox;
pub use yolo_model::{Checkpoint, NmsOptions};
pub use yolo_runtime::Options;
