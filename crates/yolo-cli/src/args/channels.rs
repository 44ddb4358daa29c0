//! Flags that say which channels go; the same for every command that removes some.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use yolo_prune::channels::{Criterion, Quantity, Scope};

use super::{milliseconds, unit};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum ChannelUnitArg {
    /// Multiply-adds.
    Flops,
    /// Parameters.
    Parameters,
    /// Output channels of all convolutions but the head's.
    Channels,
    /// Milliseconds of the network on this machine, measured.
    Ms,
}

/// What makes a channel worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum ChannelCriterionArg {
    /// The scale of its batch normalisation.
    BnScale,
    /// The magnitudes of the weights that make it, batch normalisation folded in.
    L1,
    /// The root of their squares.
    L2,
    /// What the detections lose without it (looks at images).
    Taylor,
    /// How large it is (looks at images).
    Activation,
}

/// How channels compete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum ScopeArg {
    /// All of them.
    Global,
    /// Those that go together; every group loses the same fraction.
    Group,
}

/// Which channels go, in place of single weights.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default)]
#[command(next_help_heading = "Channels instead of single weights")]
pub(crate) struct ChannelArgs {
    /// Remove channels until this fraction of the network's FLOPs is gone: a smaller dense network.
    #[arg(long, value_name = "FRACTION", value_parser = unit, conflicts_with_all = [
        "amount", "method", "criterion", "allocation", "pattern", "permute", "of", "rank", "min_sparsity",
        "max_sparsity", "limit", "repair", "at_most_ms",
    ])]
    pub(crate) channels: Option<f64>,
    /// What --channels is a fraction of [default: flops].
    #[arg(long, value_enum, value_name = "QUANTITY")]
    pub(crate) channels_of: Option<ChannelUnitArg>,
    /// Remove channels until the network takes at most so many milliseconds per image on this machine, in place of a
    /// fraction.
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with_all = [
        "channels", "channels_of", "amount", "method", "criterion", "allocation", "pattern", "permute", "of", "rank",
        "min_sparsity", "max_sparsity", "limit", "repair", "at_most_ms",
    ])]
    pub(crate) channels_at_most_ms: Option<f64>,
    /// What makes a channel worth keeping [default: taylor; l1 where there are no images].
    #[arg(long, value_enum, value_name = "CRITERION")]
    pub(crate) channel_criterion: Option<ChannelCriterionArg>,
    /// How channels compete [default: global].
    #[arg(long, value_enum)]
    pub(crate) scope: Option<ScopeArg>,
    /// Widths become multiples of this [default: 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) round_to: Option<u32>,
    /// Fraction of the channels of a group that may go at most [default: 0.9].
    #[arg(long, value_name = "FRACTION", value_parser = unit)]
    pub(crate) max_channels: Option<f64>,
    /// Rounds on the way; channels are scored anew in each [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: Option<u32>,
}

impl ChannelArgs {
    /// Whether channels are to go.
    pub(crate) fn is_asked(&self) -> bool {
        self.channels.is_some() || self.channels_at_most_ms.is_some()
    }

    /// The first flag that was given and does nothing without --channels.
    pub(crate) fn without_channels(&self) -> Option<&'static str> {
        let given = [
            (self.channels_of.is_some(), "--channels-of"),
            (self.channel_criterion.is_some(), "--channel-criterion"),
            (self.scope.is_some(), "--scope"),
            (self.round_to.is_some(), "--round-to"),
            (self.max_channels.is_some(), "--max-channels"),
            (self.rounds.is_some(), "--rounds"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }
}

impl From<ChannelUnitArg> for Quantity {
    fn from(unit: ChannelUnitArg) -> Self {
        match unit {
            ChannelUnitArg::Flops => Self::Gflops,
            ChannelUnitArg::Parameters => Self::Parameters,
            ChannelUnitArg::Channels => Self::Channels,
            ChannelUnitArg::Ms => Self::Milliseconds,
        }
    }
}

impl From<ChannelCriterionArg> for Criterion {
    fn from(criterion: ChannelCriterionArg) -> Self {
        match criterion {
            ChannelCriterionArg::BnScale => Self::BnScale,
            ChannelCriterionArg::L1 => Self::L1,
            ChannelCriterionArg::L2 => Self::L2,
            ChannelCriterionArg::Taylor => Self::Taylor,
            ChannelCriterionArg::Activation => Self::Activation,
        }
    }
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Global => Self::Global,
            ScopeArg::Group => Self::Group,
        }
    }
}
