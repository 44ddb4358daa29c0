//! A recipe: how to prune and how to fine-tune, as a yaml.

mod channels;

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use yolo_prune::{
    Allocation, Criterion, Limit, Method, Pattern, PruneOptions, Rank, Repair, Structure, Unit,
};

use crate::distill::DistillationOptions;
use crate::error::{Result, TrainError};
use crate::optimizer::Rule;
use crate::schedule::Decay;

pub use channels::ChannelsRecipe;

/// The content of a recipe yaml. Every key may be left out; an unknown key is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// How to prune.
    pub prune: PruneRecipe,
    /// How to fine-tune.
    pub finetune: FinetuneRecipe,
}

/// Which weights are removed, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneRecipe {
    /// A criterion together with an allocation.
    pub method: Method,
    /// The criterion that ranks weights, in place of the method's.
    pub criterion: Option<Criterion>,
    /// How the amount is divided over the convolutions, in place of the method's.
    pub allocation: Option<Allocation>,
    /// Fraction to remove, 0 up to 1.
    pub amount: f64,
    /// What it is a fraction of: weights, flops or milliseconds.
    pub unit: Unit,
    /// Milliseconds per image that the network may take, in place of an amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most_ms: Option<f64>,
    /// Which weights are removed together: unstructured, n:m, or a block such as 4x1.
    pub structure: Structure,
    /// Whether channels are reordered first, so that n:m loses less; the network computes the same.
    pub permute: bool,
    /// Smallest fraction removed of every convolution.
    pub min_sparsity: f64,
    /// Largest fraction removed of every convolution.
    pub max_sparsity: f64,
    /// Other limits for the convolutions that a pattern matches.
    pub limits: IndexMap<String, Limit>,
    /// How the remaining weights are adjusted, in place of the method's.
    pub repair: Option<Repair>,
    /// Largest number of calibration images; 0 for as many as fit into memory, at most 128.
    pub calibration_images: usize,
    /// Whether magnitudes are compared as stored or after fusing.
    pub rank: Rank,
    /// Convolutions that stay as they are, by name or pattern.
    pub exclude: Vec<String>,
    /// Epochs over which the sparsity rises along a cubic curve; 0 prunes everything before the first.
    pub gradual_epochs: usize,
    /// Channels to remove, in place of single weights; of the keys above, only `exclude` and `calibration_images`
    /// count then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelsRecipe>,
}

/// How the pruned network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneRecipe {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per batch.
    pub batch_size: usize,
    /// Images whose gradients make one step.
    pub nominal_batch_size: usize,
    /// Side of the network's input in pixels; none for 640, or that of the drawn images.
    pub image_size: Option<usize>,
    /// The rule that updates the weights.
    pub optimizer: Rule,
    /// How the learning rate falls.
    pub decay: Decay,
    /// Name or file of the hyper-parameters.
    pub hyp: String,
    /// First learning rate, in place of the one in `hyp`.
    pub lr0: Option<f64>,
    /// Epochs of warm-up, in place of those in `hyp`.
    pub warmup_epochs: Option<f64>,
    /// Epochs without a better result after which training ends; 0 for never.
    pub patience: usize,
    /// Layers whose weights stay as they are.
    pub freeze: Vec<usize>,
    /// Whether batch normalisation keeps to its running statistics while training.
    pub freeze_batch_norm: bool,
    /// Whether batch statistics are re-estimated after pruning and after training, if that is better.
    pub reestimate_batch_norm: bool,
    /// Largest number of training images for the re-estimation.
    pub reestimate_images: usize,
    /// Whether decoded images are kept in memory.
    pub cache: bool,
    /// Distillation from the dense network; `None` to learn from labels only.
    pub distillation: Option<DistillationOptions>,
}

impl Default for PruneRecipe {
    fn default() -> Self {
        Self {
            method: Method::Global,
            criterion: None,
            allocation: None,
            amount: 0.5,
            unit: Unit::Weights,
            at_most_ms: None,
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

impl Default for FinetuneRecipe {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 16,
            nominal_batch_size: 16,
            image_size: None,
            optimizer: Rule::Sgd,
            decay: Decay::Cosine,
            hyp: "finetune".to_owned(),
            lr0: None,
            warmup_epochs: None,
            patience: 0,
            freeze: Vec::new(),
            freeze_batch_norm: false,
            reestimate_batch_norm: true,
            reestimate_images: 1024,
            cache: true,
            distillation: Some(DistillationOptions::default()),
        }
    }
}

/// Checks that a time is valid, if one is given.
fn check_milliseconds(key: &str, time: Option<f64>) -> std::result::Result<(), String> {
    match time {
        Some(ms) if !ms.is_finite() || ms <= 0.0 => {
            Err(format!("{key}: {ms} is no time; it has to be a number of milliseconds above 0"))
        }
        _ => Ok(()),
    }
}

impl Recipe {
    /// Parses the text of a recipe; `file` is only used in messages.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with the line: not a yaml, an unknown key, a value out of range.
    pub fn parse(text: &str, file: &Path) -> Result<Self> {
        let recipe: Self = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map(|at| format!(":{}", at.line())).unwrap_or_default();
            let reason = error.without_snippet().to_string();
            TrainError::Recipe { place: format!("{}{line}", file.display()), reason }
        })?;
        let invalid = |reason: String| TrainError::Recipe { place: file.display().to_string(), reason };
        recipe.check().map_err(invalid)?;
        Ok(recipe)
    }

    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// What does not fit, in one sentence.
    pub fn check(&self) -> std::result::Result<(), String> {
        let (prune, finetune) = (&self.prune, &self.finetune);
        if !(0.0..1.0).contains(&prune.amount) {
            return Err(format!("prune.amount: {} is not from 0 up to, but not including, 1", prune.amount));
        }
        prune.check_time()?;
        if let Some(lr0) = finetune.lr0.filter(|lr0| !lr0.is_finite() || *lr0 < 0.0) {
            return Err(format!(
                "finetune.lr0: {lr0} is not a learning rate; it has to be a number from 0 up"
            ));
        }
        if prune.gradual_epochs > finetune.epochs {
            return Err(format!(
                "prune.gradual_epochs: {} is more than the {} epochs of fine-tuning",
                prune.gradual_epochs, finetune.epochs
            ));
        }
        if let Some(channels) = &prune.channels {
            channels.check()?;
            if prune.gradual_epochs > 0 {
                return Err("prune.gradual_epochs: channels go at once, or in prune.channels.rounds before training; \
                     leave it out"
                    .to_owned());
            }
        }
        if finetune.batch_size == 0 || finetune.nominal_batch_size == 0 {
            return Err("finetune.batch_size and finetune.nominal_batch_size have to be above 0".to_owned());
        }
        Ok(())
    }
}

impl PruneRecipe {
    /// Whether measured milliseconds are needed to decide how much to remove.
    pub fn asks_for_time(&self) -> bool {
        match &self.channels {
            Some(channels) => channels.asks_for_time(),
            None => self.at_most_ms.is_some() || self.unit == Unit::Milliseconds,
        }
    }

    /// Checks that the keys about milliseconds are consistent.
    fn check_time(&self) -> std::result::Result<(), String> {
        check_milliseconds("prune.at_most_ms", self.at_most_ms)?;
        if !self.asks_for_time() || self.channels.is_some() {
            return Ok(());
        }
        if self.structure != Structure::Unstructured {
            let structure = self.structure;
            return Err(format!(
                "prune.structure: milliseconds are measured with single weights at zero, not {structure}; leave it out"
            ));
        }
        if self.gradual_epochs > 0 {
            return Err("prune.gradual_epochs: milliseconds are met at once, before training; leave it out"
                .to_owned());
        }
        Ok(())
    }

    /// The pruning, with `amount` in place of the recipe's. What the network may take is left to whoever measures it.
    pub fn options(&self, amount: f64) -> PruneOptions {
        let patterns = |texts: &[String]| texts.iter().map(|pattern| Pattern::new(pattern)).collect();
        let usual = PruneOptions::new(self.method, amount);
        let limits = self.limits.iter().map(|(pattern, limit)| (Pattern::new(pattern), *limit));
        PruneOptions {
            criterion: self.criterion.unwrap_or(usual.criterion),
            allocation: self.allocation.unwrap_or(usual.allocation),
            rank: if self.method == Method::ScaleFree { Rank::Fused } else { self.rank },
            structure: self.structure,
            unit: if self.at_most_ms.is_some() { Unit::Milliseconds } else { self.unit },
            limit: Limit { least: self.min_sparsity, most: self.max_sparsity },
            limits: limits.collect(),
            exclude: patterns(&self.exclude),
            repair: self.repair.unwrap_or(usual.repair),
            ..usual
        }
    }

    /// The pruning while the sparsity rises during training: by magnitude, since training changes what calibration would
    /// measure, and makes up for what is removed.
    pub fn gradual_options(&self, amount: f64) -> PruneOptions {
        let options = self.options(amount);
        let is_measured = options.allocation == Allocation::Sensitivity;
        PruneOptions {
            criterion: Criterion::Magnitude,
            allocation: if is_measured { Allocation::Global } else { options.allocation },
            repair: Repair::None,
            ..options
        }
    }
}
