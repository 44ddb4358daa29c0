//! What can go wrong while a layer is reconstructed.

/// Shorthand for results of the reconstruction.
pub type Result<T> = std::result::Result<T, ReconstructError>;

/// An error of the reconstruction of one layer. Every message is one line; the caller adds the layer's name.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconstructError {
    /// A buffer does not have the size that the layer's shape asks for.
    #[error("{what} must hold {expected} values but holds {found}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// Values that it has to hold.
        expected: usize,
        /// Values that it holds.
        found: usize,
    },
    /// The weights do not fill whole rows.
    #[error("{found} weights do not fill rows of {inputs} inputs")]
    Rows {
        /// Inputs of a row.
        inputs: usize,
        /// Weights given.
        found: usize,
    },
    /// Sums or weights that are not numbers.
    #[error("{count} values of {what} are NaN or infinite; check the checkpoint and the calibration images")]
    NotFinite {
        /// The buffer.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// The matrix of the inputs is not positive, although every sum of squares is.
    #[error("the statistics of the inputs are not positive definite at input {input}; use a larger damping")]
    NotPositive {
        /// The input, counted from 0.
        input: usize,
    },
    /// The damping is not a usable fraction.
    #[error("the damping must be a finite number and at least 0, not {0}; 0.01 is usual")]
    Damping(f64),
    /// More weights are to go than there are.
    #[error("{count} weights are to be pruned but the layer has {weights}")]
    Count {
        /// Weights to prune.
        count: usize,
        /// Weights of the layer.
        weights: usize,
    },
    /// The groups of an n:m pattern do not fit.
    #[error("{n}:{m} needs 0 < n <= m and a multiple of {m} inputs, but the layer has {inputs}")]
    Groups {
        /// Weights that stay in every group.
        n: usize,
        /// Weights of a group.
        m: usize,
        /// Inputs of the layer.
        inputs: usize,
    },
    /// Iterations that cannot run.
    #[error(
        "ADMM needs iterations, a penalty above 0, a growth of at least 1 and a period of at least 1, not {0}"
    )]
    Schedule(String),
}
