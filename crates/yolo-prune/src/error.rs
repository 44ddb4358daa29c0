//! What can go wrong while pruning.

use yolo_model::ModelError;
use yolo_model::weights::WeightsError;

use crate::allocation::AllocationError;
use crate::method::Allocation;
use crate::pattern::PatternError;
use crate::reconstruct::ReconstructError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, PruneError>;

/// An error of pruning. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A pattern that matches no convolution, probably a typing error.
    #[error("the pattern {pattern:?} matches no convolution; names look like {example}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The name of some convolution of the network.
        example: String,
    },
    /// Every convolution was excluded.
    #[error("the patterns exclude every convolution, so there is nothing to prune; remove some of them")]
    NothingLeft,
    /// A mask does not belong to the checkpoint.
    #[error("{name}: the mask has {mask} entries but the tensor has {tensor}")]
    MaskLength {
        /// Name of the tensor.
        name: String,
        /// Entries of the mask.
        mask: usize,
        /// Elements of the tensor.
        tensor: usize,
    },
    /// A weight that a mask removed is not zero.
    #[error("{name}: {count} weights that were pruned are not zero")]
    NotZero {
        /// Name of the tensor.
        name: String,
        /// Number of them.
        count: usize,
    },
    /// Two networks that should be the same are not.
    #[error("the two are not the same network: {name}: {reason}; give two files of one network")]
    OtherNetwork {
        /// Name of a convolution.
        name: String,
        /// How it differs.
        reason: String,
    },
    /// The network that zeros are to be taken from has none.
    #[error("no weight of a convolution is zero, so there are no zeros to take over; give the pruned file")]
    NoZeros,
    /// Values that are NaN or infinite, so that they cannot be compared.
    #[error("{name}: {count} weights are NaN or infinite, so the checkpoint is damaged; get it again")]
    NotFinite {
        /// Name of the tensor.
        name: String,
        /// Number of them.
        count: usize,
    },
    /// No convolution has channels that the structure fits.
    #[error("no convolution can be pruned to {structure}: {structure} needs channels in whole groups")]
    NothingFits {
        /// The structure, as text.
        structure: String,
    },
    /// The options measure the network on images, and there are none.
    #[error("this pruning measures the network on images; give a folder of them, without labels")]
    NeedsImages,
    /// The amount cannot be divided over the convolutions.
    #[error("{layer}{error}")]
    Allocation {
        /// The convolution that the error is about, with a colon; empty if it is about all.
        layer: String,
        /// The error.
        error: AllocationError,
    },
    /// An allocation that counts weights only.
    #[error(
        "{allocation:?} divides weights, not FLOPs; use layer, erk, flops or sensitivity for an amount of FLOPs"
    )]
    Unit {
        /// The allocation.
        allocation: Allocation,
    },
    /// Measured times that are invalid, or belong to another network.
    #[error("times: {reason}")]
    Latency {
        /// The problem, and what to do.
        reason: String,
    },
    /// An amount of milliseconds without a table of measured ones.
    #[error("milliseconds need measured times of this network; none were given")]
    NeedsLatency,
    /// Times are measured with single weights at zero.
    #[error("milliseconds are measured with single weights at zero, not {structure}; leave the pattern out")]
    LatencyOfStructure {
        /// The structure, as text.
        structure: String,
    },
    /// No pruning is fast enough.
    #[error(
        "{most:.3} ms are asked for, but {least:.3} are left even if as much is removed as allowed ({dense:.3} without \
         zeros); ask for less, or change the limits and exclusions"
    )]
    TooSlow {
        /// Milliseconds that were asked for.
        most: f64,
        /// The least that can be reached.
        least: f64,
        /// Without zeros.
        dense: f64,
    },
    /// An invalid structure, or scores that do not fit it.
    #[error(transparent)]
    Structure(#[from] PatternError),
    /// A convolution that cannot be reconstructed.
    #[error("{layer}: {error}")]
    Reconstruct {
        /// Its name.
        layer: String,
        /// What is wrong.
        error: ReconstructError,
    },
    /// Images that cannot be used for calibration.
    #[error("calibration: {reason}")]
    Calibration {
        /// Why.
        reason: String,
    },
    /// A plan of channels does not belong to the network, or leaves a group without channels.
    #[error("{group}: {reason}")]
    ChannelPlan {
        /// Name of the group of channels.
        group: String,
        /// What is wrong with the plan, and what to do.
        reason: String,
    },
    /// A target of channel pruning that is invalid or cannot be met.
    #[error("channel pruning: {reason}")]
    ChannelTarget {
        /// The problem, and what to do.
        reason: String,
    },
    /// Channels cannot be scored.
    #[error("{name}: {reason}")]
    ChannelScores {
        /// The convolution, tensor or group of channels.
        name: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Mean activations that do not belong to the network.
    #[error("{name}: {reason}")]
    ChannelMeans {
        /// The convolution.
        name: String,
        /// What is wrong with them, and what to do.
        reason: String,
    },
    /// The checkpoint is not consistent.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The network cannot run on the device.
    #[cfg(feature = "nn")]
    #[error(transparent)]
    Network(#[from] yolo_nn::NnError),
    /// A tensor of the checkpoint is missing or of another type.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
