//! Channel pruning: a smaller dense network of the same type.
//!
//! ```text
//! Checkpoint ─ ChannelScores ─ select ─ ChannelPlan ─ (compensate) ─ remove ─ smaller Checkpoint
//! ```
//!
//! A channel cannot be removed alone: shortcuts add the outputs of several convolutions, concatenations shift the
//! channels that later convolutions read. [`Coupling`] derives these dependencies from the program. [`select`] turns
//! scores and a target into a [`ChannelPlan`], which is plain data; [`remove`] applies it and is pure. [`Slimming`]
//! prepares a network for it in training.
//!
//! ```
//! use rand::SeedableRng;
//! use yolo_model::{Architecture, Checkpoint};
//! use yolo_prune::channels::{ChannelOptions, ChannelScores, Quantity, Target, remove, select};
//!
//! let architecture = Architecture::variant("yolov5n", Some(80))?;
//! let dense = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0))?;
//! let scores = ChannelScores::l2(&dense, false)?.normalised();
//! let options = ChannelOptions { round_to: 8, ..ChannelOptions::new(Target::less(Quantity::Gflops, 0.5)) };
//! let plan = select(&dense.architecture, &scores, &options, None)?;
//! let pruned = remove(&dense, &plan)?;
//! let (before, after) = (dense.architecture.summary(), pruned.architecture.summary());
//! assert!(after.gflops <= 0.5 * before.gflops);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compensate;
mod coupling;
#[cfg(feature = "nn")]
mod measure;
mod narrow;
mod plan;
mod recipe;
mod remove;
mod rounds;
mod scope;
mod scores;
mod search;
mod select;
mod slimming;
mod target;

pub use compensate::{ChannelMeans, compensate};
pub use coupling::{ChannelGroup, Consumer, ConvInput, Coupling, InputSlice, Passage, PassageKind};
#[cfg(feature = "nn")]
pub use measure::{ChannelStatistics, taylor_scores};
pub use plan::{Adjusted, Adjustment, ChannelPlan, Choice, KeptChannels, SkippedGroup};
pub use recipe::ChannelsRecipe;
pub use remove::remove;
pub use rounds::{in_rounds, round_targets};
pub use scope::Scope;
pub use scores::{ChannelScores, Criterion, TaylorOf};
pub use select::{ChannelOptions, select};
pub use slimming::{SMALL_SCALE, SlimEpoch, SlimProgress, Slimming, Strength};
pub use target::{Latency, Quantity, Size, Target};
