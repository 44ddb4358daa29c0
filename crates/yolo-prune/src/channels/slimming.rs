//! Network slimming: training that drives the scales of unneeded channels to zero (Liu et al. 2017), with a
//! strength that adapts itself.
//!
//! [`Slimming`] gives the gradient to add to the scales `γ` of batch normalisation; [`Strength`] sets its size
//! after every epoch. Both are pure; the trainer calls them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use yolo_model::Model;
use yolo_model::architecture::ConvRef;

use super::coupling::Coupling;
use super::scores::scores_error;
use super::select::check_patterns;
use super::target::target;
use crate::error::Result;
use crate::exclude::Pattern;

/// A scale below this fraction of its convolution's mean at the start counts as gone.
pub const SMALL_SCALE: f64 = 0.05;

/// The scales that are driven to zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slimming {
    groups: Vec<SlimGroup>,
}

/// The scales of one group of channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlimGroup {
    channels: usize,
    /// Channels that are left alone, the largest.
    spared: usize,
    scales: Vec<Scale>,
}

/// The scale of one producer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    /// Name of its tensor.
    tensor: String,
    /// How often it has every channel of the group.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    copies: usize,
    /// Mean of its magnitudes at the start.
    start: f64,
}

fn one() -> usize {
    1
}

fn is_one(copies: &usize) -> bool {
    *copies == 1
}

impl Slimming {
    /// Slimming of every group that can lose channels, whose producers all have batch normalisation, and none of which
    /// `exclude` matches. The largest
    /// channels of a group, of which at most `max_fraction` (in `[0, 1]`) is removed, are left alone, at least one.
    ///
    /// # Errors
    /// A fused network, a fraction that makes no sense, a pattern that matches nothing, nothing left to slim, scales
    /// that are all zero.
    pub fn new(model: &dyn Model, max_fraction: f64, exclude: &[Pattern]) -> Result<Self> {
        if model.layout().is_fused() {
            return Err(target(
                "a fused network has no scales to slim; start from the checkpoint before fusing",
            ));
        }
        if !(0.0..=1.0).contains(&max_fraction) {
            return Err(target(format!(
                "the largest fraction of a group must be between 0 and 1, not {max_fraction}; 0.9 leaves a tenth"
            )));
        }
        check_patterns(model.layout(), exclude)?;
        let mut groups = Vec::new();
        for group in Coupling::of(model.layout()).groups {
            let excluded = |pattern: &Pattern| group.producers.iter().any(|conv| pattern.matches(&conv.name));
            let has_scales = group.producers.iter().all(|conv| !conv.is_bare);
            if group.fixed.is_some() || !has_scales || exclude.iter().any(excluded) {
                continue;
            }
            let scale = |conv: &ConvRef| -> Result<Scale> {
                let (tensor, copies) = (conv.bn("weight"), group.copies(conv));
                let start = mean_magnitude(model.weights().f32s(&tensor)?);
                match start.is_finite() && start > 0.0 {
                    true => Ok(Scale { tensor, copies, start }),
                    false => Err(scores_error(&tensor, format!("the mean of its magnitudes is {start}"))),
                }
            };
            let kept = group.channels as f64 * (1.0 - max_fraction) - 1e-9;
            groups.push(SlimGroup {
                channels: group.channels,
                spared: (kept.ceil() as usize).max(1),
                scales: group.producers.iter().map(scale).collect::<Result<_>>()?,
            });
        }
        match groups.is_empty() {
            true => Err(target("no group of channels is left to slim; lift some of the exclusions")),
            false => Ok(Self { groups }),
        }
    }

    /// Names of the scales.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| &group.scales).map(|scale| scale.tensor.as_str())
    }

    /// The gradient to add to every scale, by the name of its tensor: `strength · s · sign(γ)`, where `s` is the convolution's mean scale at
    /// the start, so that every convolution loses the same fraction of its scale per step. The spared channels
    /// of a group get none.
    ///
    /// # Errors
    /// Scales that are missing or of another length.
    pub fn gradients(
        &self,
        scales: &HashMap<String, Vec<f32>>,
        strength: f64,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        let mut gradients = Vec::new();
        for group in &self.groups {
            let relative = group.relative(scales)?;
            let mut order: Vec<usize> = (0..group.channels).collect();
            order.sort_by(|&a, &b| relative[b].total_cmp(&relative[a]).then(a.cmp(&b)));
            for scale in &group.scales {
                let values = scale.values(scales, group.channels)?;
                let mut gradient = vec![0.0; values.len()];
                for &channel in &order[group.spared.min(group.channels)..] {
                    for row in (channel..values.len()).step_by(group.channels) {
                        let gamma = values[row];
                        let sign = if gamma == 0.0 { 0.0 } else { f64::from(gamma.signum()) };
                        gradient[row] = (strength * scale.start * sign) as f32;
                    }
                }
                gradients.push((scale.tensor.clone(), gradient));
            }
        }
        Ok(gradients)
    }

    /// Progress of the smallest `fraction` of all channels.
    ///
    /// # Errors
    /// Scales that are missing or of another length, a fraction outside `(0, 1)`.
    pub fn progress(&self, scales: &HashMap<String, Vec<f32>>, fraction: f64) -> Result<SlimProgress> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(target(format!("the fraction to slim must be between 0 and 1, not {fraction}")));
        }
        let mut all = Vec::new();
        for group in &self.groups {
            all.extend(group.relative(scales)?);
        }
        all.sort_by(f64::total_cmp);
        let small = all.partition_point(|scale| *scale < SMALL_SCALE) as f64 / all.len() as f64;
        let rank = ((fraction * all.len() as f64).ceil() as usize).clamp(1, all.len()) - 1;
        Ok(SlimProgress { small, quantile: all[rank] })
    }
}

impl SlimGroup {
    /// Scales of the channels as fractions of what was the mean at the start, averaged over the producers.
    fn relative(&self, scales: &HashMap<String, Vec<f32>>) -> Result<Vec<f64>> {
        let mut relative = vec![0.0; self.channels];
        let copies: usize = self.scales.iter().map(|scale| scale.copies).sum();
        for scale in &self.scales {
            let weight = 1.0 / (scale.start * copies as f64);
            for (row, gamma) in scale.values(scales, self.channels)?.iter().enumerate() {
                relative[row % self.channels] += weight * f64::from(gamma.abs());
            }
        }
        Ok(relative)
    }
}

impl Scale {
    fn values<'a>(&self, scales: &'a HashMap<String, Vec<f32>>, channels: usize) -> Result<&'a [f32]> {
        match scales.get(&self.tensor) {
            Some(values) if values.len() == self.copies * channels => Ok(values),
            Some(values) => {
                let reason = format!("{} scales for {} channels", values.len(), self.copies * channels);
                Err(scores_error(&self.tensor, reason))
            }
            None => {
                Err(scores_error(&self.tensor, "its scales are missing; give those of every convolution"))
            }
        }
    }
}

fn mean_magnitude(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(value.abs())).sum::<f64>() / values.len().max(1) as f64
}

/// Progress of slimming. Scales are fractions of the mean at the start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlimProgress {
    /// Fraction of the channels with a scale below [`SMALL_SCALE`].
    pub small: f64,
    /// The largest scale among the fraction of the channels that is to be removed.
    pub quantile: f64,
}

/// An epoch of slimming that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlimEpoch {
    /// The progress after it.
    pub progress: SlimProgress,
    /// Sum of the learning rates of its steps for the scales (over `1 − momentum` if the gradients go through
    /// one). 0 before the first epoch.
    pub steps_done: f64,
    /// The same sum over the epochs to come.
    pub steps_left: f64,
    /// The network's score, such as mAP; `None` if it was not measured.
    pub fitness: Option<f64>,
}

/// The strength of slimming, set anew after every epoch.
///
/// A scale falls by `(strength − pull) · steps`, where the pull is what the loss holds against it; it is learned
/// from every epoch. So the strength that brings the quantile `q` down to [`SMALL_SCALE`] in the steps that are
/// left is `pull + (q − 0.05) / steps_left`. When the fitness falls below `1 − tolerance` of its best, the
/// strength is halved until it recovers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strength {
    /// The strength for the coming epoch.
    value: f64,
    /// What the loss holds against the fall, at least 0.
    pull: f64,
    /// Share of what is needed that the fitness allows.
    share: f64,
    /// The fitness that counts as unharmed.
    best_fitness: Option<f64>,
    /// The quantile before the epoch.
    quantile: Option<f64>,
    tolerance: f64,
}

/// The strength at most doubles from epoch to epoch.
const MAX_GROWTH: f64 = 2.0;
/// Least share, for a network that loses fitness.
const MIN_SHARE: f64 = 1.0 / 64.0;
/// Growth of the share per epoch of good fitness.
const RECOVERY: f64 = 1.5;

impl Strength {
    /// No strength yet; `tolerance`, in `[0, 1)`, is the fraction of the best fitness that may be lost on the
    /// way, and `fitness` that of the network at the start.
    ///
    /// # Errors
    /// A tolerance outside `[0, 1)`.
    pub fn new(tolerance: f64, fitness: Option<f64>) -> Result<Self> {
        if !(0.0..1.0).contains(&tolerance) {
            let reason =
                format!("the tolerated loss of fitness must be at least 0 and below 1, not {tolerance}");
            return Err(target(reason));
        }
        Ok(Self { value: 0.0, pull: 0.0, share: 1.0, best_fitness: fitness, quantile: None, tolerance })
    }

    /// The strength for the coming epoch.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Looks back on an epoch (or on the start, with no steps done) and gives the strength for the next.
    pub fn update(&mut self, epoch: &SlimEpoch) -> f64 {
        self.learn_pull(epoch);
        self.guard_fitness(epoch.fitness);
        self.quantile = Some(epoch.progress.quantile);
        let gap = (epoch.progress.quantile - SMALL_SCALE).max(0.0);
        // What is there already must not come back, so the pull counts without a gap too.
        let needed = if epoch.steps_left > 0.0 { self.pull + gap / epoch.steps_left } else { 0.0 };
        let limit = if self.value > 0.0 { MAX_GROWTH * self.value } else { f64::INFINITY };
        self.value = (self.share * needed).min(limit);
        self.value
    }

    fn learn_pull(&mut self, epoch: &SlimEpoch) {
        if let (Some(before), true) = (self.quantile, epoch.steps_done > 0.0) {
            let fall = (before - epoch.progress.quantile) / epoch.steps_done;
            self.pull = (self.value - fall).max(0.0);
        }
    }

    fn guard_fitness(&mut self, fitness: Option<f64>) {
        let Some(fitness) = fitness.filter(|fitness| fitness.is_finite()) else { return };
        let best = self.best_fitness.map_or(fitness, |best| best.max(fitness));
        self.best_fitness = Some(best);
        let harmed = fitness < (1.0 - self.tolerance) * best;
        let share = if harmed { 0.5 * self.share } else { RECOVERY * self.share };
        self.share = share.clamp(MIN_SHARE, 1.0);
    }
}
