//! How to prune: the one definition that recipes, flags and programs share.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::allocation::Limit;
use crate::channels::ChannelsRecipe;
use crate::exclude::Pattern;
use crate::invalid::{InvalidOption, check_amount, check_milliseconds, invalid};
use crate::latency::LatencyBudget;
use crate::method::{Allocation, Criterion, Method, Rank, Repair, Unit};
use crate::pattern::Structure;

/// How to prune. In a file, every key may be left out; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneOptions {
    /// A criterion together with an allocation.
    pub method: Method,
    /// The criterion that ranks weights, in place of the method's.
    pub criterion: Option<Criterion>,
    /// How the amount is divided over the convolutions, in place of the method's.
    pub allocation: Option<Allocation>,
    /// Fraction to remove, 0 up to 1. With n:m, the structure decides it.
    pub amount: f64,
    /// What it is a fraction of: weights, flops or milliseconds.
    pub unit: Unit,
    /// Milliseconds per image that the network may take, in place of an amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most_ms: Option<f64>,
    /// The measured times behind [`Unit::Milliseconds`], and what the network may take; not part of files.
    #[serde(skip)]
    pub latency: Option<LatencyBudget>,
    /// Which weights are removed together: unstructured, n:m, or a block such as 4x1.
    pub structure: Structure,
    /// Whether channels are to be reordered first ([`crate::permute`]), so that n:m loses less; the network computes the
    /// same.
    pub permute: bool,
    /// Smallest fraction removed of every convolution.
    pub min_sparsity: f64,
    /// Largest fraction removed of every convolution.
    pub max_sparsity: f64,
    /// Other limits for the convolutions that a pattern matches; the last match counts.
    pub limits: IndexMap<Pattern, Limit>,
    /// How the remaining weights are adjusted, in place of the method's.
    pub repair: Option<Repair>,
    /// Largest number of calibration images; 0 for as many as fit into memory, at most 128.
    pub calibration_images: usize,
    /// Whether magnitudes are compared as stored or after fusing. Makes no difference to a fused network, nor to other
    /// criteria; [`Method::ScaleFree`] always compares them after fusing.
    pub rank: Rank,
    /// Convolutions that stay as they are, by name or pattern.
    pub exclude: Vec<Pattern>,
    /// Epochs of training over which the sparsity rises along a cubic curve; 0 prunes everything before the first.
    pub gradual_epochs: usize,
    /// Channels to remove, in place of single weights; of the keys above, only `exclude` and `calibration_images`
    /// count then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelsRecipe>,
}

impl Default for PruneOptions {
    /// Half of all weights, the smallest of the network as they are stored.
    fn default() -> Self {
        Self {
            method: Method::Global,
            criterion: None,
            allocation: None,
            amount: 0.5,
            unit: Unit::Weights,
            at_most_ms: None,
            latency: None,
            structure: Structure::Unstructured,
            permute: false,
            min_sparsity: 0.0,
            max_sparsity: 1.0,
            limits: IndexMap::new(),
            repair: None,
            calibration_images: 0,
            rank: Rank::Stored,
            exclude: Vec::new(),
            gradual_epochs: 0,
            channels: None,
        }
    }
}

impl PruneOptions {
    /// Options of a method that exclude nothing. Magnitudes are compared after fusing, unless images decide.
    pub fn new(method: Method, amount: f64) -> Self {
        let is_reconstruction = method.parts().0 == Criterion::Reconstruction;
        let rank = if is_reconstruction { Rank::Stored } else { Rank::Fused };
        Self { method, amount, rank, ..Self::default() }
    }

    /// The same with another amount.
    #[must_use]
    pub fn with_amount(&self, amount: f64) -> Self {
        Self { amount, ..self.clone() }
    }

    /// The pruning while the sparsity rises during training: by magnitude and without repair, since training changes the
    /// statistics of images and repairs the loss itself.
    #[must_use]
    pub fn during_training(&self, amount: f64) -> Self {
        let allocation = match self.allocation() {
            Allocation::Sensitivity => Allocation::Global,
            allocation => allocation,
        };
        Self {
            criterion: Some(Criterion::Magnitude),
            allocation: Some(allocation),
            repair: Some(Repair::None),
            ..self.with_amount(amount)
        }
    }

    /// The criterion that ranks weights.
    pub fn criterion(&self) -> Criterion {
        self.criterion.unwrap_or(self.method.parts().0)
    }

    /// How the amount is divided over the convolutions.
    pub fn allocation(&self) -> Allocation {
        self.allocation.unwrap_or(self.method.parts().1)
    }

    /// How the remaining weights are adjusted.
    pub fn repair(&self) -> Repair {
        let of_method = match self.method.parts().0 {
            Criterion::Reconstruction => Repair::Reconstruct,
            _ => Repair::None,
        };
        self.repair.unwrap_or(of_method)
    }

    /// Whether magnitudes are compared as stored or after fusing.
    pub fn rank(&self) -> Rank {
        if self.method == Method::ScaleFree { Rank::Fused } else { self.rank }
    }

    /// What the amount is a fraction of; milliseconds if a time is given instead of an amount.
    pub fn unit(&self) -> Unit {
        if self.at_most_ms.is_some() { Unit::Milliseconds } else { self.unit }
    }

    /// Limits of the convolution called `name`.
    pub fn limit_of(&self, name: &str) -> Limit {
        let matching = self.limits.iter().rev().find(|(pattern, _)| pattern.matches(name));
        let usual = Limit { least: self.min_sparsity, most: self.max_sparsity };
        matching.map_or(usual, |(_, limit)| *limit)
    }

    /// Whether images are needed to choose the weights to remove, or to adjust the others.
    pub fn needs_images(&self) -> bool {
        self.criterion().needs_images()
            || self.allocation() == Allocation::Sensitivity
            || self.repair() != Repair::None
    }

    /// Whether measured milliseconds are needed to decide how much to remove.
    pub fn asks_for_time(&self) -> bool {
        match &self.channels {
            Some(channels) => channels.asks_for_time(),
            None => self.unit() == Unit::Milliseconds,
        }
    }

    /// Checks that every value makes sense, and that they fit each other.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), InvalidOption> {
        check_amount("amount", self.amount, "")?;
        check_milliseconds("at_most_ms", self.at_most_ms)?;
        if let Some(channels) = &self.channels {
            let prefixed = |error: InvalidOption| invalid(&format!("channels.{}", error.key), error.reason);
            return channels.check().map_err(prefixed);
        }
        if !self.asks_for_time() {
            return Ok(());
        }
        if self.structure != Structure::Unstructured {
            let structure = self.structure;
            let reason = format!(
                "milliseconds are measured with single weights at zero, not {structure}; leave it out"
            );
            return Err(invalid("structure", reason));
        }
        if self.gradual_epochs > 0 {
            let reason = "milliseconds are met at once, before training; leave it out";
            return Err(invalid("gradual_epochs", reason));
        }
        Ok(())
    }
}
