//! The options of a training run.

use serde::{Deserialize, Serialize};
use yolo_data::train_loader::CachePlace;
use yolo_model::Family;
use yolo_nn::HalfFormat;

use crate::distill::DistillationOptions;
use crate::hyper::Hyperparameters;
use crate::optimizer::{Automatic, Rule, automatic, short_run};
use crate::schedule::Decay;
use crate::slim::SlimOptions;

/// How to train. Together with the data set, the first weights and the device it determines every number of a run,
/// except for `workers` and `cache`, which only affect speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per batch.
    pub batch_size: usize,
    /// Images whose gradients make one step.
    pub nominal_batch_size: usize,
    /// Side of the network input in pixels, a multiple of the largest stride.
    pub image_size: usize,
    /// Rates, gains and augmentation.
    pub hyp: Hyperparameters,
    /// Which rule updates the weights.
    pub rule: Rule,
    /// How the learning rate falls.
    pub decay: Decay,
    /// Class targets are `1 − ε/2` and `ε/2`.
    pub label_smoothing: f64,
    /// Whether the weights of the levels follow their objectness losses.
    pub auto_balance: bool,
    /// Whether every batch has a random size within ±50 % of `image_size`.
    pub multi_scale: bool,
    /// Layers whose weights stay as they are.
    pub freeze: Vec<usize>,
    /// Whether batch normalisation keeps to its running statistics.
    pub freeze_batch_norm: bool,
    /// Whether batches have images of similar shape, without mosaics.
    pub rect: bool,
    /// All classes count as one.
    pub single_class: bool,
    /// Whether images with poorly detected classes are drawn more often.
    pub image_weights: bool,
    /// Epochs without a better result after which the run ends; 0 for never.
    pub patience: usize,
    /// Seed of shuffling and augmentation.
    pub seed: u64,
    /// Threads that decode and augment images.
    pub workers: usize,
    /// Where decoded images are kept between epochs, if there is room for them.
    pub cache: Option<CachePlace>,
    /// A checkpoint is kept every this many epochs; 0 for never.
    pub save_period: usize,
    /// Whether weights and state are written after every epoch, or only after the last.
    pub save_every_epoch: bool,
    /// Whether every epoch is validated, or only the last.
    pub validate_every_epoch: bool,
    /// Distillation from the dense network; needs a teacher.
    pub distillation: Option<DistillationOptions>,
    /// Scales of batch normalisation that are driven to zero.
    pub slim: Option<SlimOptions>,
    /// Mixed precision: the format of convolutions and activations; weights, batch normalisation and the loss stay in
    /// single precision.
    #[serde(default)]
    pub amp: Option<HalfFormat>,
}

impl TrainOptions {
    /// The defaults of `train.py`, for `epochs` epochs.
    pub fn new(epochs: usize, batch_size: usize, image_size: usize) -> Self {
        Self {
            epochs,
            batch_size,
            nominal_batch_size: 64,
            image_size,
            hyp: Hyperparameters::default(),
            rule: Rule::Sgd,
            decay: Decay::Linear,
            label_smoothing: 0.0,
            auto_balance: false,
            multi_scale: false,
            freeze: Vec::new(),
            freeze_batch_norm: false,
            rect: false,
            single_class: false,
            image_weights: false,
            patience: 100,
            seed: 0,
            workers: 2,
            cache: None,
            save_period: 0,
            save_every_epoch: true,
            validate_every_epoch: true,
            distillation: None,
            slim: None,
            amp: None,
        }
    }

    /// The options with the rule and its first rates chosen as the Ultralytics family does if none is asked for, for `n_images`
    /// training images and a network of `num_classes` classes. `lr0` and `warmup_bias_lr` are replaced, and for AdamW also
    /// `momentum`.
    #[must_use]
    pub fn with_automatic_rule(self, n_images: usize, num_classes: usize) -> Self {
        let chosen = automatic(n_images, self.batch_size, self.nominal_batch_size, self.epochs, num_classes);
        self.with_rule(chosen)
    }

    /// The options with the rule and its first rates with which a network of `num_classes` classes of `family` is fine-tuned if
    /// none is asked for: SGD at the rates of the hyper-parameters for YOLOv5; the rule of a short run for Ultralytics, with the
    /// replacements of [`TrainOptions::with_automatic_rule`].
    #[must_use]
    pub fn with_finetuning_rule(self, family: Family, num_classes: usize) -> Self {
        match family {
            Family::Yolov5 => Self { rule: Rule::Sgd, ..self },
            Family::Ultralytics => self.with_rule(short_run(num_classes)),
        }
    }

    fn with_rule(mut self, chosen: Automatic) -> Self {
        self.rule = chosen.rule;
        (self.hyp.lr0, self.hyp.warmup_bias_lr) = (chosen.lr0, chosen.warmup_bias_lr);
        self.hyp.momentum = chosen.momentum.unwrap_or(self.hyp.momentum);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_automatic_rule_replaces_its_rates_only() {
        let given = TrainOptions { decay: Decay::Cosine, ..TrainOptions::new(20, 8, 256) };
        let short = given.clone().with_automatic_rule(320, 5);
        assert_eq!((short.rule, short.decay), (Rule::AdamW, Decay::Cosine));
        let hyp = &short.hyp;
        assert_eq!((hyp.lr0, hyp.momentum, hyp.warmup_bias_lr, hyp.lrf), (0.001_111, 0.9, 0.0, 0.01));
        let long = given.with_automatic_rule(100_000, 80);
        // The warm-up of MuSGD ends at the momentum of the hyper-parameters.
        assert_eq!((long.rule, long.hyp.lr0, long.hyp.momentum), (Rule::MuSgd, 0.01, 0.937));
    }

    #[test]
    fn fine_tuning_keeps_to_the_rule_of_the_family() {
        let given = TrainOptions::new(1000, 8, 256);
        let yolov5 = given.clone().with_finetuning_rule(Family::Yolov5, 80);
        assert_eq!((yolov5.rule, yolov5.hyp.lr0), (Rule::Sgd, given.hyp.lr0));
        let newer = given.with_finetuning_rule(Family::Ultralytics, 80);
        assert_eq!(
            (newer.rule, newer.hyp.lr0, newer.hyp.momentum),
            (Rule::AdamW, 0.000_119, 0.9),
            "however long"
        );
    }
}
