//! The error of a convolution's output as more and more of its weights are removed.

#[cfg(feature = "nn")]
mod measured;

#[cfg(feature = "nn")]
pub(crate) use measured::error_curves;

/// Errors of every candidate at a grid of pruned fractions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ErrorCurves {
    /// Pruned fractions, from 0.
    pub(crate) grid: Vec<f64>,
    /// `[candidate][point]`.
    pub(crate) errors: Vec<Vec<f64>>,
}
