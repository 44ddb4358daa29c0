//! Layer-wise reconstruction: which weights of a layer go, and what the others become, so that the layer's output
//! on calibration images changes least.
//!
//! A convolution is a matrix `w0` (rows = output channels, columns = inputs = input channels x taps) that acts on
//! im2col columns `x`. With `G`, the sum of `x x^T` over the calibration images ([`Gram`]), the squared change of a
//! row's output is `(w - w0)^T G (w - w0)`, so no image is needed once `G` is known. Solvers minimise it with
//! `H = G + lambda I` in the place of `G`: the damping draws every survivor towards its value in `w0`.
//!
//! | function | decides the support | cost for `r` rows of `k` inputs |
//! |---|---|---|
//! | [`refit`] | no: exact least squares on a given one | `r k^3 / 12` at half the weights |
//! | [`sparse_gpt`] | block of columns by block, with compensation | `k^3 + r k^2` |
//! | [`admm`] | all at once, by iteration; then [`refit`] | `iterations r k^2` + [`refit`] |
//! | [`obs_scores`] | scores only, for other selections | `k^3` |
//! | [`obs_remove`] | one weight of one row, exactly | `k^2` |
//!
//! Weights come as `f32` and are computed in `f64`. Every result is the same to the bit for any number of threads.

mod admm;
#[cfg(test)]
mod brute_force;
mod cholesky;
mod error;
mod gram;
mod obs;
mod pattern;
mod refit;
mod sparse_gpt;
mod target;

pub use admm::{Schedule, admm};
pub use error::{ReconstructError, Result};
pub use gram::{Gram, OutputError};
pub use obs::{Inverse, obs_remove, obs_scores};
pub use pattern::{Pattern, keep_largest, keep_n_of_m};
pub use refit::refit;
pub use sparse_gpt::sparse_gpt;
pub use target::target;

/// A pruned layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruned {
    /// The weights, [rows, inputs]; zero if they were pruned.
    pub weights: Vec<f32>,
    /// Which weights stay, [rows, inputs]. A survivor may be zero by chance.
    pub keep: Vec<bool>,
}
