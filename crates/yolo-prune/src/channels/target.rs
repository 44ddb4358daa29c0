//! Sizes of networks, and the size to reach.

use serde::{Deserialize, Serialize};
use yolo_model::Layout;
use yolo_model::pruning::RecordedTarget;

use crate::error::{PruneError, Result};
use crate::method::name;

/// Milliseconds of a network, from a table of measurements. Fewer channels must not take longer.
pub type Latency<'a> = &'a dyn Fn(&dyn Layout) -> f64;

/// A measure of a network's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantity {
    /// Output channels of all convolutions except those whose outputs the network returns.
    Channels,
    /// Parameters, as [`Layout::n_parameters`] counts them.
    Parameters,
    /// Billions of operations for one image, as [`Layout::gflops`] counts them.
    #[serde(alias = "flops")]
    Gflops,
    /// Milliseconds, by a [`Latency`].
    #[serde(alias = "ms")]
    Milliseconds,
}

/// The size to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Smaller than the network by a fraction.
    Less {
        /// Of which quantity.
        of: Quantity,
        /// The fraction to remove, in `[0, 1)`: 0.5 leaves half.
        fraction: f64,
    },
    /// Not larger than a limit.
    AtMost {
        /// Of which quantity.
        of: Quantity,
        /// In the quantity's unit.
        limit: f64,
    },
}

/// The size of a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// [`Quantity::Channels`].
    pub channels: usize,
    /// [`Quantity::Parameters`].
    pub parameters: usize,
    /// [`Quantity::Gflops`].
    pub gflops: f64,
    /// [`Quantity::Milliseconds`], if a table was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
}

impl Size {
    /// The size of a network.
    pub fn of(layout: &dyn Layout, latency: Option<Latency>) -> Self {
        Self {
            channels: channels(layout),
            parameters: layout.n_parameters(),
            gflops: layout.gflops(),
            milliseconds: latency.map(|latency| latency(layout)),
        }
    }
}

fn channels(layout: &dyn Layout) -> usize {
    let program = layout.program();
    let returned = program.returned();
    let inner = program.convs().filter(|(index, _)| !returned.contains(&(index + 1)));
    inner.map(|(_, conv)| conv.spec.out_channels).sum()
}

impl Quantity {
    /// Its unit, as written after a number.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Parameters => "parameters",
            Self::Gflops => "GFLOPs",
            Self::Milliseconds => "ms",
        }
    }

    /// The quantity of a network.
    ///
    /// # Errors
    /// Milliseconds without a table, or a table that gives something that is not a number.
    pub(super) fn of(self, layout: &dyn Layout, latency: Option<Latency>) -> Result<f64> {
        match (self, latency) {
            (Self::Channels, _) => Ok(channels(layout) as f64),
            (Self::Parameters, _) => Ok(layout.n_parameters() as f64),
            (Self::Gflops, _) => Ok(layout.gflops()),
            (Self::Milliseconds, None) => {
                Err(target("milliseconds need a table of measured latencies; none was given"))
            }
            (Self::Milliseconds, Some(latency)) => {
                let milliseconds = latency(layout);
                if milliseconds.is_finite() && milliseconds >= 0.0 {
                    return Ok(milliseconds);
                }
                Err(target(format!("the latency table gives {milliseconds} ms; measure it again")))
            }
        }
    }
}

impl Target {
    /// The target that removes a fraction of `of`.
    pub fn less(of: Quantity, fraction: f64) -> Self {
        Self::Less { of, fraction }
    }

    /// What a model remembers of it.
    pub(super) fn record(self) -> RecordedTarget {
        match self {
            Self::Less { of, fraction } => RecordedTarget::Less { of: name(&of), fraction },
            Self::AtMost { of, limit } => RecordedTarget::AtMost { of: name(&of), limit },
        }
    }

    /// What is counted.
    pub fn quantity(self) -> Quantity {
        match self {
            Self::Less { of, .. } | Self::AtMost { of, .. } => of,
        }
    }

    /// The largest size allowed, given the size before.
    ///
    /// # Errors
    /// A fraction outside `[0, 1)`, a limit that is not above zero.
    pub(super) fn limit(self, before: f64) -> Result<f64> {
        match self {
            Self::Less { fraction, .. } if (0.0..1.0).contains(&fraction) => Ok(before * (1.0 - fraction)),
            Self::Less { fraction, .. } => Err(target(format!(
                "the fraction that goes must be at least 0 and below 1, not {fraction}; 0.5 takes half"
            ))),
            Self::AtMost { limit, .. } if limit.is_finite() && limit > 0.0 => Ok(limit),
            Self::AtMost { of, limit } => {
                Err(target(format!("{limit} {} cannot be what is left; ask for more than 0", of.unit())))
            }
        }
    }
}

pub(super) fn target(reason: impl Into<String>) -> PruneError {
    PruneError::ChannelTarget { reason: reason.into() }
}
