//! A recipe: how to prune and how to fine-tune, as a yaml.

use std::path::Path;

use serde::{Deserialize, Serialize};
use yolo_data::yaml;
use yolo_prune::PruneOptions;

use crate::distill::DistillationOptions;
use crate::error::{Result, TrainError};
use crate::optimizer::Rule;
use crate::schedule::Decay;

/// The content of a recipe yaml. Every key may be left out; an unknown key is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// How to prune.
    pub prune: PruneOptions,
    /// How to fine-tune.
    pub finetune: FinetuneRecipe,
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
    /// The rule that updates the weights; none for the one of the network's family
    /// ([`TrainOptions::with_finetuning_rule`](crate::train::TrainOptions::with_finetuning_rule)).
    pub optimizer: Option<Rule>,
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

impl Default for FinetuneRecipe {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 16,
            nominal_batch_size: 16,
            image_size: None,
            optimizer: None,
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

impl Recipe {
    /// Parses the text of a recipe; `file` is only used in messages.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with the line: not a yaml, an unknown key, a value out of range.
    pub fn parse(text: &str, file: &Path) -> Result<Self> {
        let recipe: Self = serde_saphyr::from_str(text).map_err(|error| TrainError::Recipe {
            place: yaml::place(file, &error),
            reason: yaml::reason(&error),
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
        prune.check().map_err(|error| format!("prune.{error}"))?;
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
        if prune.channels.is_some() && prune.gradual_epochs > 0 {
            return Err(
                "prune.gradual_epochs: channels go at once, or in prune.channels.rounds before training; \
                 leave it out"
                    .to_owned(),
            );
        }
        if finetune.batch_size == 0 || finetune.nominal_batch_size == 0 {
            return Err("finetune.batch_size and finetune.nominal_batch_size have to be above 0".to_owned());
        }
        Ok(())
    }
}
