//! Flags that say which channels go; the same for every command that removes some.

use clap::Args;
use serde::{Deserialize, Serialize};
use yolo_prune::channels::{Criterion, Quantity, Scope};

use super::named::{Named, named};
use super::{milliseconds, unit};

/// What is counted.
pub(crate) const QUANTITIES: [Named<Quantity>; 4] = [
    Named(Quantity::Gflops, "flops", "Multiply-adds"),
    Named(Quantity::Parameters, "parameters", "Parameters"),
    Named(Quantity::Channels, "channels", "Output channels of all convolutions but the head's"),
    Named(Quantity::Milliseconds, "ms", "Milliseconds of the network on this machine, measured"),
];

/// What makes a channel worth keeping.
pub(crate) const CRITERIA: [Named<Criterion>; 5] = [
    Named(Criterion::BnScale, "bn-scale", "The scale of its batch normalisation"),
    Named(Criterion::L1, "l1", "The magnitudes of the weights that make it, batch normalisation folded in"),
    Named(Criterion::L2, "l2", "The root of their squares"),
    Named(Criterion::Taylor, "taylor", "What the detections lose without it (looks at images)"),
    Named(Criterion::Activation, "activation", "How large it is (looks at images)"),
];

/// How channels compete.
pub(crate) const SCOPES: [Named<Scope>; 2] = [
    Named(Scope::Global, "global", "All of them"),
    Named(Scope::Group, "group", "Those that go together; every group loses the same fraction"),
];

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
    #[arg(long, value_name = "QUANTITY", value_parser = named(&QUANTITIES))]
    pub(crate) channels_of: Option<Quantity>,
    /// Remove channels until the network takes at most this many milliseconds per image on this machine, in place of a
    /// fraction.
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with_all = [
        "channels", "channels_of", "amount", "method", "criterion", "allocation", "pattern", "permute", "of", "rank",
        "min_sparsity", "max_sparsity", "limit", "repair", "at_most_ms",
    ])]
    pub(crate) channels_at_most_ms: Option<f64>,
    /// What makes a channel worth keeping [default: taylor; l1 without images].
    #[arg(long, value_name = "CRITERION", value_parser = named(&CRITERIA))]
    pub(crate) channel_criterion: Option<Criterion>,
    /// How channels compete [default: global].
    #[arg(long, value_parser = named(&SCOPES))]
    pub(crate) scope: Option<Scope>,
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
