//! How a total amount of pruning is divided over layers.
//!
//! Pure functions on plain data. Each returns how many weights every layer loses, in the order of the layers.
//!
//! | function | divides by | total |
//! |---|---|---|
//! | [`uniform`] | the same fraction, rounded in each layer on its own | not exact |
//! | [`even`] | the same fraction | exact |
//! | [`erk`] | width and kernel size | exact |
//! | [`by_flops`] | FLOPs per weight | exact |
//! | [`global`] | scores that compete; with [`lamp`] first, LAMP | exact |
//! | [`by_marginal_error`] | error curves, equal slope | exact |
//! | [`by_sensitivity`] | error curves, dynamic programme over their grid | exact, or within a budget |
//!
//! Every function but the last is monotone: a larger amount takes no fewer weights from any layer.

mod competition;
mod curves;
mod error;
mod fill;
mod formula;
mod hull;
mod layer;
mod programme;
mod sensitivity;

pub use competition::{global, lamp};
pub(crate) use curves::interpolate;
pub use curves::{Curves, default_grid, geometric_grid};
pub use error::AllocationError;
pub use fill::Target;
pub use formula::{by_flops, erk, even, uniform};
pub use hull::by_marginal_error;
pub use layer::{Layer, Limit};
pub use programme::{Choice, choose};
pub use sensitivity::{Budget, by_sensitivity};
