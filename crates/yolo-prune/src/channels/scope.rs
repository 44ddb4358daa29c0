//! Which channels compete with each other.

use serde::{Deserialize, Serialize};

/// Which channels compete with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Those of a group: every group loses the same fraction.
    Group,
    /// All of them. Scores of different groups should be comparable, see
    /// [`ChannelScores::normalised`](super::ChannelScores::normalised).
    Global,
}
