//! Network slimming while training: every step of the optimiser is followed by one that moves the scales of batch
//! normalisation towards zero, with a strength that follows from their progress.
//!
//! [`yolo_prune::channels`] decides which scales move how far; this module applies it to weights and steps.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use yolo_model::Checkpoint;
use yolo_model::weights::StateDict;
use yolo_prune::Pattern;
use yolo_prune::channels::{SlimEpoch, SlimProgress, Slimming, Strength};

use crate::error::{Result, TrainError};

/// How scales are driven to zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlimOptions {
    /// Fraction of all channels whose scales should be zero in the end, between 0 and 1.
    pub fraction: f64,
    /// Largest fraction of a group of channels that may be removed.
    pub max_fraction: f64,
    /// Fraction of the best fitness that may be lost meanwhile; beyond it the strength falls.
    pub tolerance: f64,
    /// Groups of channels that are left alone, by the names of their convolutions.
    pub exclude: Vec<String>,
}

impl SlimOptions {
    /// `fraction` of the channels, at most 0.9 of a group, as long as a tenth of the fitness is left on the way. Most
    /// of it comes back once the scales are gone.
    pub fn new(fraction: f64) -> Self {
        Self { fraction, max_fraction: 0.9, tolerance: 0.9, exclude: Vec::new() }
    }

    /// The options with the convolutions of some layers left alone as well.
    pub fn without_layers(mut self, layers: &[usize], checkpoint: &Checkpoint) -> Self {
        let convs = checkpoint.architecture.convs();
        let names = layers.iter().map(|layer| format!("model.{layer}"));
        let has_convs = |name: &String| convs.iter().any(|conv| Pattern::new(name).matches(&conv.name));
        self.exclude.extend(names.filter(has_convs));
        self
    }
}

/// The state of slimming, and its reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlimState {
    slimming: Slimming,
    strength: Strength,
    fraction: f64,
    /// Sum of the learning rates of this epoch's steps.
    steps_done: f64,
}

impl SlimState {
    /// The state before the first step on `checkpoint`, with `steps_left`, the sum of the learning rates of all
    /// steps to come.
    ///
    /// # Errors
    /// Nothing that can be slimmed, a pattern that matches nothing, or fractions that make no sense.
    pub fn new(checkpoint: &Checkpoint, options: &SlimOptions, steps_left: f64) -> Result<Self> {
        let patterns: Vec<Pattern> = options.exclude.iter().map(Pattern::new).collect();
        let slimming = Slimming::new(checkpoint, options.max_fraction, &patterns)?;
        let strength = Strength::new(options.tolerance, None)?;
        let mut state = Self { slimming, strength, fraction: options.fraction, steps_done: 0.0 };
        state.look_back(&checkpoint.weights, steps_left, None)?;
        Ok(state)
    }

    /// One step with learning rate `lr`: `γ ← sign(γ) · max(|γ| − lr · strength · s, 0)` with the mean scale `s` of
    /// the convolution at the start (the proximal step of an L1 penalty, which stops at zero).
    ///
    /// # Errors
    /// Scales that are missing.
    pub fn step(&mut self, weights: &mut StateDict, lr: f64) -> Result<()> {
        let scales = self.scales(weights)?;
        for (name, gradients) in self.slimming.gradients(&scales, self.strength.value())? {
            let Some(tensor) = weights.get_mut(&name) else { return Err(missing(&name)) };
            for (gamma, gradient) in tensor.f32s_mut()?.iter_mut().zip(gradients) {
                let step = (lr * f64::from(gradient)) as f32;
                *gamma = if step.abs() >= gamma.abs() && step != 0.0 { 0.0 } else { *gamma - step };
            }
        }
        self.steps_done += lr;
        Ok(())
    }

    /// Ends an epoch: measures the scales and sets the strength for those to come, whose learning rates sum up
    /// to `steps_left`. `fitness` is that of the epoch, if it was measured.
    ///
    /// # Errors
    /// Scales that are missing, a fraction outside `(0, 1)`.
    pub fn look_back(
        &mut self,
        weights: &StateDict,
        steps_left: f64,
        fitness: Option<f64>,
    ) -> Result<SlimProgress> {
        let progress = self.slimming.progress(&self.scales(weights)?, self.fraction)?;
        self.strength.update(&SlimEpoch { progress, steps_done: self.steps_done, steps_left, fitness });
        self.steps_done = 0.0;
        Ok(progress)
    }

    fn scales(&self, weights: &StateDict) -> Result<HashMap<String, Vec<f32>>> {
        let scale = |name: &str| -> Result<(String, Vec<f32>)> {
            let tensor = weights.get(name).ok_or_else(|| missing(name))?;
            Ok((name.to_owned(), tensor.f32s()?.to_vec()))
        };
        self.slimming.tensors().map(scale).collect()
    }
}

fn missing(name: &str) -> TrainError {
    TrainError::State { reason: format!("{name}: the scales to slim are missing") }
}
