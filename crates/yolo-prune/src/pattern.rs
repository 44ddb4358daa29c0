//! Which weights of a convolution are removed together: single ones, n of m, blocks.
//!
//! A [`Structure`] says what a mask may look like, [`masks`] finds the mask that loses the least score,
//! [`holds`] checks a mask, and [`search_permutation`] orders input channels so that n:m loses less.

mod error;
mod permutation;
mod selection;
mod structure;
mod tiles;

pub use error::PatternError;
pub use permutation::{kept_score, search_permutation};
pub use selection::{Scores, mask, masks};
pub use structure::{Structure, holds};
