//! Pruning of networks: which weights and channels are removed, with exact accounts.
//!
//! Pruning is a plan and its application. [`plan`] ranks the weights of a model and returns a [`PrunePlan`]: one
//! [`Mask`] per convolution, and what was left out and why. [`apply`] is pure: model and plan in, new model out, every masked
//! weight exactly zero. [`Sparsity`] counts the zeros of a model. [`channels`] removes whole channels in the same way.
//!
//! A model is any program with weights ([`yolo_model::Model`]): a detector, or a network of your own
//! ([`yolo_model::program::ProgramModel`]). What needs a forward pass is behind the feature `nn`: criteria and repairs
//! that measure the network on images, and statistics of channels. Without it, no tensor library is compiled.
//!
//! ```
//! use rand::SeedableRng;
//! use yolo_model::{Architecture, Checkpoint};
//! use yolo_prune::{Method, PruneOptions, Sparsity, apply, plan};
//!
//! let architecture = Architecture::variant("yolov5n", Some(80))?;
//! let dense = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0))?.into_fused()?.into_checkpoint();
//! let plan = plan(&dense, &PruneOptions::new(Method::Layer, 0.3))?;
//! let pruned = apply(&dense, &plan)?;
//! assert_eq!(Sparsity::of(&pruned)?.conv_zeros, 558_566);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod allocation;
#[cfg(feature = "nn")]
mod calibration;
mod candidates;
pub mod channels;
mod cost;
mod error;
mod exclude;
#[cfg(feature = "nn")]
mod fit;
mod fused;
#[cfg(feature = "nn")]
mod gradient;
#[cfg(feature = "nn")]
mod image_scores;
mod invalid;
mod latency;
mod like;
mod mask;
mod masks;
pub mod matrix;
mod measure;
mod method;
#[cfg(all(test, feature = "nn"))]
#[path = "../tests/prune/calibrated/networks.rs"]
#[allow(clippy::unwrap_used)]
mod networks;
mod options;
pub mod pattern;
mod permute;
mod plan;
mod planning;
pub mod reconstruct;
#[cfg(feature = "nn")]
mod repair;
mod scores;
mod select;
mod sensitivity;
mod sparsity;
mod time;

pub use allocation::Limit;
#[cfg(feature = "nn")]
pub use calibration::{Calibration, CalibrationImages, ImageBatch, bytes_per_image};
pub use cost::nonzero_gflops;
pub use error::{PruneError, Result};
pub use exclude::Pattern;
pub use invalid::InvalidOption;
pub use latency::{LatencyBudget, LatencyTable};
pub use like::{Rezeroed, zeros_like};
pub use mask::Mask;
pub use method::{Allocation, Criterion, Method, Rank, Repair, Unit};
pub use options::PruneOptions;
pub use pattern::Structure;
#[cfg(feature = "nn")]
pub use permute::permute_calibrated;
pub use permute::{PermuteError, Permuted, PermutedGroup, permute};
pub use plan::{LayerMask, PrunePlan, Skipped, TensorUpdate, apply};
pub use planning::plan;
#[cfg(feature = "nn")]
pub use planning::plan_calibrated;
#[cfg(feature = "nn")]
pub use repair::reestimate_batch_norm;
pub use sparsity::{LayerSparsity, Sparsity};
