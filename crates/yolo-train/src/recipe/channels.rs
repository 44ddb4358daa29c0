//! The part of a recipe that removes channels.

use serde::{Deserialize, Serialize};
use yolo_prune::Pattern;
use yolo_prune::channels::{ChannelOptions, Criterion, Quantity, Scope, Target};

use super::check_milliseconds;

/// Which channels are removed. The result is a smaller dense network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelsRecipe {
    /// Fraction of `of` to remove, 0 up to 1.
    pub amount: f64,
    /// What it is a fraction of: flops, parameters, channels or milliseconds.
    pub of: Quantity,
    /// Milliseconds per image that the network may take, in place of `amount` and `of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most_ms: Option<f64>,
    /// The criterion that ranks channels.
    pub criterion: Criterion,
    /// Whether channels of the whole network compete, or every group loses the same fraction.
    pub scope: Scope,
    /// Widths become multiples of this.
    pub round_to: usize,
    /// Largest fraction of a group that may be removed.
    pub max_fraction: f64,
    /// Number of rounds; channels are scored again in each.
    pub rounds: usize,
    /// Whether the means of removed channels are measured on images and added to the biases of their readers.
    pub compensate: bool,
}

impl Default for ChannelsRecipe {
    fn default() -> Self {
        Self {
            amount: 0.5,
            of: Quantity::Gflops,
            at_most_ms: None,
            criterion: Criterion::Taylor,
            scope: Scope::Global,
            round_to: 8,
            max_fraction: 0.9,
            rounds: 1,
            compensate: true,
        }
    }
}

impl ChannelsRecipe {
    /// The choice of channels, leaving out what `exclude` matches.
    pub fn options(&self, exclude: &[String]) -> ChannelOptions {
        ChannelOptions {
            scope: self.scope,
            round_to: self.round_to,
            max_fraction: self.max_fraction,
            exclude: exclude.iter().map(|pattern| Pattern::new(pattern)).collect(),
            ..ChannelOptions::new(self.target())
        }
    }

    /// The size that the network should have.
    pub fn target(&self) -> Target {
        match self.at_most_ms {
            Some(limit) => Target::AtMost { of: Quantity::Milliseconds, limit },
            None => Target::less(self.of, self.amount),
        }
    }

    /// Whether measured milliseconds are needed to decide how much to remove.
    pub fn asks_for_time(&self) -> bool {
        self.target().quantity() == Quantity::Milliseconds
    }

    /// Whether images are needed to score the channels.
    pub fn scores_need_images(&self) -> bool {
        matches!(self.criterion, Criterion::Taylor | Criterion::Activation)
    }

    /// Whether images are needed at all.
    pub fn needs_images(&self) -> bool {
        self.compensate || self.scores_need_images()
    }

    /// Checks that the parts are valid.
    ///
    /// # Errors
    /// What is not valid, in one sentence.
    pub fn check(&self) -> std::result::Result<(), String> {
        if !(0.0..1.0).contains(&self.amount) {
            return Err(format!(
                "prune.channels.amount: {} is not from 0 up to, but not including, 1; 0.5 takes half",
                self.amount
            ));
        }
        if !(0.0..=1.0).contains(&self.max_fraction) {
            return Err(format!(
                "prune.channels.max_fraction: {} is not between 0 and 1; 0.9 leaves a tenth of a group",
                self.max_fraction
            ));
        }
        if self.round_to == 0 || self.rounds == 0 {
            return Err("prune.channels.round_to and prune.channels.rounds have to be above 0".to_owned());
        }
        check_milliseconds("prune.channels.at_most_ms", self.at_most_ms)
    }
}
