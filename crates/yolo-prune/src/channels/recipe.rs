//! How to remove channels, as recipes and flags say it.

use serde::{Deserialize, Serialize};

use super::scope::Scope;
use super::scores::Criterion;
use super::select::ChannelOptions;
use super::target::{Quantity, Target};
use crate::exclude::Pattern;
use crate::invalid::{InvalidOption, check_amount, check_milliseconds, invalid};

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
    pub fn options(&self, exclude: &[Pattern]) -> ChannelOptions {
        ChannelOptions {
            scope: self.scope,
            round_to: self.round_to,
            max_fraction: self.max_fraction,
            exclude: exclude.to_vec(),
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

    /// Checks that every value makes sense.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), InvalidOption> {
        check_amount("amount", self.amount, "; 0.5 takes half")?;
        if !(0.0..=1.0).contains(&self.max_fraction) {
            let reason =
                format!("{} is not between 0 and 1; 0.9 leaves a tenth of a group", self.max_fraction);
            return Err(invalid("max_fraction", reason));
        }
        for (key, value) in [("round_to", self.round_to), ("rounds", self.rounds)] {
            if value == 0 {
                return Err(invalid(key, "it has to be above 0"));
            }
        }
        check_milliseconds("at_most_ms", self.at_most_ms)
    }
}
