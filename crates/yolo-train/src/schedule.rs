//! Schedules as pure functions of the epoch and the batch (§10.5 of YOLOv5's specification, §5.5 of Ultralytics').

use serde::{Deserialize, Serialize};
use yolo_model::Family;

use crate::hyper::Hyperparameters;
use crate::optimizer::Rule;

/// Fewest batches of a warm-up of YOLOv5.
const MIN_WARMUP_BATCHES: usize = 100;

/// How the learning rate falls from its first to its last value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// In equal steps.
    #[default]
    Linear,
    /// Along half a cosine.
    Cosine,
}

impl Decay {
    /// Factor on the first learning rate in `epoch` of `epochs`, from 1 down towards `last`.
    pub fn factor(self, epoch: usize, epochs: usize, last: f64) -> f64 {
        let progress = epoch as f64 / epochs.max(1) as f64;
        match self {
            Self::Linear => (1.0 - progress) * (1.0 - last) + last,
            Self::Cosine => (1.0 - (std::f64::consts::PI * progress).cos()) / 2.0 * (last - 1.0) + 1.0,
        }
    }
}

/// The optimiser's rates at one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Learning rate of biases.
    pub bias_lr: f64,
    /// Learning rate of all other parameters.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
}

/// The schedule of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    hyp: Hyperparameters,
    decay: Decay,
    epochs: usize,
    warmup_batches: usize,
    /// Batches per step for the nominal batch, not rounded.
    nominal_accumulate: f64,
    /// Whether the momentum is the same from the beginning.
    keeps_momentum: bool,
}

impl Schedule {
    /// The schedule of `epochs` epochs with `batches_per_epoch` batches of `batch_size` images, whose gradients
    /// are summed until `nominal_batch_size` images are seen.
    pub fn new(
        hyp: &Hyperparameters,
        decay: Decay,
        epochs: usize,
        batches_per_epoch: usize,
        batch_size: usize,
        nominal_batch_size: usize,
    ) -> Self {
        let warmup = (hyp.warmup_epochs * batches_per_epoch as f64).round_ties_even() as usize;
        let warmup_batches = if hyp.warmup_epochs == 0.0 { 0 } else { warmup.max(MIN_WARMUP_BATCHES) };
        let nominal_accumulate = nominal_batch_size as f64 / batch_size.max(1) as f64;
        Self { hyp: hyp.clone(), decay, epochs, warmup_batches, nominal_accumulate, keeps_momentum: false }
    }

    /// The schedule as the trainer of `family` has it, for `batches_per_epoch` batches and a rule. YOLOv5's is as it was made.
    /// Ultralytics' warm-up has no least number of batches and ends before the last epoch, only rules that have a momentum warm it
    /// up, and a step takes no more batches than the run has.
    #[must_use]
    pub fn of_family(mut self, family: Family, batches_per_epoch: usize, rule: Rule) -> Self {
        if family == Family::Ultralytics {
            let epochs = self.hyp.warmup_epochs.min(self.epochs.saturating_sub(1) as f64);
            self.warmup_batches = (epochs * batches_per_epoch as f64).round_ties_even() as usize;
            self.nominal_accumulate = self.nominal_accumulate.min((batches_per_epoch * self.epochs) as f64);
            self.keeps_momentum = !rule.has_momentum();
        }
        self
    }

    /// The rates at batch `batch` of the run, counted from 0 over all epochs, which lies in `epoch`.
    pub fn rates(&self, batch: usize, epoch: usize) -> Rates {
        let hyp = &self.hyp;
        let lr = hyp.lr0 * self.decay.factor(epoch, self.epochs, hyp.lrf);
        let accumulate = rounded(self.nominal_accumulate);
        // The last batch of the warm-up has the rates of the schedule, not an interpolation that misses them by a bit.
        if batch >= self.warmup_batches {
            return Rates { bias_lr: lr, lr, momentum: hyp.momentum, accumulate };
        }
        let progress = batch as f64 / self.warmup_batches as f64;
        let between = |from: f64, to: f64| from + (to - from) * progress;
        Rates {
            bias_lr: between(hyp.warmup_bias_lr, lr),
            lr: between(0.0, lr),
            momentum: match self.keeps_momentum {
                true => hyp.momentum,
                false => between(hyp.warmup_momentum, hyp.momentum),
            },
            accumulate: rounded(between(1.0, self.nominal_accumulate)),
        }
    }

    /// The sum of the learning rates of all steps from the beginning of epoch `from` to the last, in epochs of
    /// `batches` batches.
    pub fn total_lr(&self, from: usize, batches: usize) -> f64 {
        let rates = |epoch| (0..batches).map(move |batch| self.rates(epoch * batches + batch, epoch));
        (from..self.epochs).flat_map(rates).map(|rates| rates.lr / rates.accumulate as f64).sum()
    }

    /// The weight decay of one step: that of the hyper-parameters times the images of a step over the nominal
    /// batch.
    pub fn weight_decay(&self, batch_size: usize, nominal_batch_size: usize) -> f64 {
        let images = batch_size * rounded(self.nominal_accumulate);
        self.hyp.weight_decay * images as f64 / nominal_batch_size as f64
    }
}

/// At least 1, halves to even.
fn rounded(batches: f64) -> usize {
    batches.round_ties_even().max(1.0) as usize
}

/// The share of the final amount that is pruned at `step` of `steps` (`1 − (1 − t)³`, Zhu & Gupta 2017).
pub fn cubic(step: usize, steps: usize) -> f64 {
    let t = if steps == 0 { 1.0 } else { (step as f64 / steps as f64).min(1.0) };
    1.0 - (1.0 - t).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decays_equal_the_golden_values() {
        let linear = |epoch| Decay::Linear.factor(epoch, 300, 0.01);
        let cosine = |epoch| Decay::Cosine.factor(epoch, 300, 0.01);
        for (got, expected) in [(linear(1), 0.9967), (linear(150), 0.505), (linear(299), 0.0133)] {
            assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        }
        for (got, expected) in [(cosine(1), 0.99997286), (cosine(150), 0.505), (cosine(299), 0.01002714)] {
            assert!((got - expected).abs() < 1e-8, "{got} {expected}");
        }
    }

    #[test]
    fn the_warm_up_leads_to_the_schedule() {
        let hyp = Hyperparameters::default();
        let schedule = Schedule::new(&hyp, Decay::Linear, 100, 50, 16, 64);
        let first = schedule.rates(0, 0);
        assert_eq!(first, Rates { bias_lr: 0.1, lr: 0.0, momentum: 0.8, accumulate: 1 });
        let middle = schedule.rates(75, 1);
        let target = 0.01 * Decay::Linear.factor(1, 100, 0.01);
        assert!((middle.lr - target / 2.0).abs() < 1e-12 && (middle.momentum - 0.8685).abs() < 1e-12);
        assert_eq!(middle.accumulate, 2, "2.5 is rounded to even");
        assert_eq!(schedule.rates(150, 3), Rates { accumulate: 4, ..schedule.rates(151, 3) });
        let short = Schedule::new(&hyp, Decay::Linear, 100, 5, 16, 64);
        assert!(short.rates(100, 20).lr < short.rates(100, 19).lr, "100 batches at least");
        let none = Hyperparameters { warmup_epochs: 0.0, ..hyp };
        assert_eq!(Schedule::new(&none, Decay::Linear, 100, 5, 64, 64).rates(0, 0).lr, 0.01);
    }

    #[test]
    fn the_warm_up_of_ultralytics_is_as_long_as_asked_for() {
        let hyp = Hyperparameters { warmup_bias_lr: 0.0, momentum: 0.9, ..Hyperparameters::default() };
        let schedule = |epochs, rule| {
            Schedule::new(&hyp, Decay::Linear, epochs, 5, 16, 64).of_family(Family::Ultralytics, 5, rule)
        };
        let long = schedule(100, Rule::MuSgd);
        assert_eq!(long.rates(0, 0), Rates { bias_lr: 0.0, lr: 0.0, momentum: 0.8, accumulate: 1 });
        // 3 epochs of 5 batches; the last of them has the rates of its epoch already.
        let full = 0.01 * Decay::Linear.factor(3, 100, 0.01);
        assert_eq!(long.rates(15, 3), Rates { bias_lr: full, lr: full, momentum: 0.9, accumulate: 4 });
        let part = long.rates(9, 1);
        assert!((part.lr - 0.6 * 0.01 * Decay::Linear.factor(1, 100, 0.01)).abs() < 1e-12);
        assert!((part.momentum - 0.86).abs() < 1e-12 && part.accumulate == 3, "2.8 is rounded");
        assert_eq!(schedule(100, Rule::AdamW).rates(0, 0).momentum, 0.9, "β is no momentum");
        // Two epochs: the warm-up is the first. One epoch has none.
        assert!(schedule(2, Rule::Sgd).rates(4, 0).lr < 0.01);
        assert_eq!(schedule(2, Rule::Sgd).rates(5, 1).momentum, 0.9);
        assert_eq!(schedule(1, Rule::Sgd).rates(0, 0).lr, 0.01);
        // Two batches are a whole run: no step would wait for a third.
        let tiny =
            Schedule::new(&hyp, Decay::Linear, 1, 2, 16, 64).of_family(Family::Ultralytics, 2, Rule::Sgd);
        assert_eq!((tiny.rates(1, 0).accumulate, tiny.weight_decay(16, 64)), (2, 0.000_25));
    }

    #[test]
    fn weight_decay_is_that_of_a_nominal_batch() {
        let schedule = |batch| Schedule::new(&Hyperparameters::default(), Decay::Linear, 10, 10, batch, 64);
        assert_eq!(schedule(16).weight_decay(16, 64), 0.0005);
        assert_eq!(schedule(128).weight_decay(128, 64), 0.001);
        assert!((schedule(24).weight_decay(24, 64) - 0.0005 * 72.0 / 64.0).abs() < 1e-15);
    }

    #[test]
    fn the_cubic_schedule_prunes_most_at_first() {
        assert_eq!((cubic(0, 4), cubic(4, 4), cubic(9, 4), cubic(0, 0)), (0.0, 1.0, 1.0, 1.0));
        assert_eq!(cubic(2, 4), 0.875);
    }
}
