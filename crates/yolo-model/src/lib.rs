//! YOLO detectors as data.
//!
//! ```text
//! yolov5s.pt ─┐
//! .safetensors ┼─ Checkpoint ── fuse ── an executor ── decode ── nms ── Detection
//! model yaml ──┘  (architecture, weights, names)
//! ```
//!
//! A [`Checkpoint`] is plain data on the host: an [`Architecture`] with explicit channel counts and a state
//! dict under PyTorch's names. Fusing, pruning and summaries work on it. `yolo-runtime` and `yolo-nn` run it. Images are `[N, 3, H, W]`, RGB in `[0, 1]`; boxes are pixels of that input.
//!
//! ```
//! use rand::SeedableRng;
//! use yolo_model::{Architecture, Checkpoint};
//!
//! let architecture = Architecture::variant("yolov5n", Some(80))?;
//! let checkpoint = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0))?;
//! let summary = checkpoint.fuse()?.architecture.summary();
//! assert_eq!((summary.layers, summary.parameters), (213, 1_867_405));
//! # Ok::<(), yolo_model::ModelError>(())
//! ```

pub mod architecture;
mod checkpoint;
mod error;
mod fuse;
mod heads;
mod init;
mod layout;
pub mod modules;
mod nms;
pub mod onnx;
mod predictions;
pub mod program;
pub mod pruning;
mod summary;
mod transfer;
mod unfuse;
pub mod weights;

pub use architecture::Architecture;
pub use checkpoint::{Checkpoint, TorchOptions, TorchSummary};
pub use error::{ModelError, Result};
pub use fuse::{FusedCheckpoint, fused_weights};
pub use heads::{Channel, Family, Head, LevelChannels, LossTerm, RawMap, Selection, Side};
pub use layout::{Answers, Layout, Model, Prunable, Widths};
pub use nms::{Detection, NmsOptions, nms, select, top_k};
pub use predictions::{Cxcywh, Predictions, Xyxy, best_class};
pub use pruning::PruningRecord;
pub use summary::{LayerSummary, Summary};
