//! SGD with Nesterov momentum, Adam, AdamW and MuSGD, on the host.
//!
//! The trained weights are on the host in single precision and are copied to the device before every step, which is
//! little compared to a detector's activations. In return a step is plain arithmetic in a fixed order, a masked weight is
//! exactly zero, and a checkpoint holds everything that a resumed run needs.

mod automatic;
mod orthogonal;

use indexmap::IndexMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use yolo_model::weights::StateDict;
use yolo_prune::Mask;

pub use automatic::{Automatic, automatic, short_run};
pub use orthogonal::orthogonalized;

use crate::error::{Result, TrainError};
use crate::masks::Masks;
use crate::schedule::Rates;

/// Largest norm of the gradient of all parameters together.
const MAX_GRADIENT_NORM: f64 = 10.0;
/// Decay of Adam's mean of squared gradients.
const BETA2: f64 = 0.999;
/// Keeps Adam's quotient finite.
const EPSILON: f64 = 1e-8;
/// Share of the learning rate for MuSGD's orthogonal step.
const ORTHOGONAL_SHARE: f64 = 0.2;
/// Factor on the learning rate of [`Optimizer::fast`] parameters under MuSGD.
const FAST: f64 = 3.0;

/// The rule that updates the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Stochastic gradient descent with Nesterov momentum; the decay is part of the gradient.
    #[default]
    #[serde(rename = "SGD")]
    Sgd,
    /// Adam; the decay is part of the gradient (Kingma & Ba 2015).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
    /// SGD as above, after a step along the orthogonalised momentum (Muon, Jordan et al. 2024) for the matrices.
    #[serde(rename = "MuSGD")]
    MuSgd,
}

impl Rule {
    /// Whether its momentum is a rate of the schedule; the β of Adam and AdamW are fixed for the Ultralytics family.
    pub fn has_momentum(self) -> bool {
        matches!(self, Self::Sgd | Self::MuSgd)
    }
}

/// Parameters that are treated alike (§10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Biases, those of batch normalisation included: no decay, a separate learning rate in the warm-up.
    Bias,
    /// Weights of convolutions: decay.
    Weight,
    /// Scales of batch normalisation: no decay.
    Norm,
}

impl Group {
    /// The group of a parameter, by name and number of dimensions.
    pub fn of(name: &str, dims: usize) -> Self {
        match (name.ends_with(".bias"), dims) {
            (true, _) => Self::Bias,
            (false, 1) => Self::Norm,
            (false, _) => Self::Weight,
        }
    }
}

/// One value per element of a parameter, by its name.
pub type PerParameter = IndexMap<String, Vec<f32>>;

/// An optimiser with its state.
#[derive(Clone, Debug)]
pub struct Optimizer {
    /// The rule.
    pub rule: Rule,
    /// Decay of convolution weights in one step.
    pub weight_decay: f64,
    /// Beginnings of the names of parameters that learn three times as fast under MuSGD. It follows from the network.
    pub fast: Vec<String>,
    /// Momentum of SGD and MuSGD, mean gradient of Adam and AdamW; empty before the first step.
    pub first: PerParameter,
    /// Mean squared gradient of Adam and AdamW, momentum of MuSGD's orthogonal step; empty for SGD.
    pub second: PerParameter,
    /// Steps so far.
    pub steps: u64,
}

/// One parameter in a step.
struct Slot<'a> {
    value: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    group: Group,
    dims: Vec<usize>,
    mask: Option<&'a Mask>,
    /// Factor on the learning rate.
    speed: f64,
}

impl Optimizer {
    /// An optimiser that has not stepped yet.
    pub fn new(rule: Rule, weight_decay: f64) -> Self {
        let (first, second) = (PerParameter::new(), PerParameter::new());
        Self { rule, weight_decay, fast: Vec::new(), first, second, steps: 0 }
    }

    /// Updates the parameters of `weights` that have a gradient.
    ///
    /// # Errors
    /// A gradient without a parameter of the same length.
    pub fn step(&mut self, weights: &mut StateDict, gradients: &PerParameter, rates: &Rates) -> Result<()> {
        self.step_masked(weights, gradients, rates, &Masks::default())
    }

    /// [`Optimizer::step`] for weights of which `masks` hold some at zero. Their gradients are zero already; what is left to a
    /// mask here are steps that mix the gradients of several weights.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn step_masked(
        &mut self,
        weights: &mut StateDict,
        gradients: &PerParameter,
        rates: &Rates,
        masks: &Masks,
    ) -> Result<()> {
        let is_first = self.steps == 0;
        self.steps += 1;
        for (name, gradient) in gradients {
            self.first.entry(name.clone()).or_insert_with(|| vec![0.0; gradient.len()]);
            let n_second = if self.rule == Rule::Sgd { 0 } else { gradient.len() };
            self.second.entry(name.clone()).or_insert_with(|| vec![0.0; n_second]);
        }
        let mut slots = Vec::with_capacity(gradients.len());
        let moments = self.first.iter_mut().zip(self.second.values_mut());
        let mut moments: IndexMap<&str, _> = moments.map(|((n, f), s)| (n.as_str(), (f, s))).collect();
        for (name, tensor) in weights.iter_mut() {
            let Some(gradient) = gradients.get(name) else { continue };
            let group = Group::of(name, tensor.shape.len());
            let is_fast = self.rule == Rule::MuSgd && self.fast.iter().any(|start| name.starts_with(start));
            let (dims, speed) = (tensor.shape.clone(), if is_fast { FAST } else { 1.0 });
            let mask = masks.get(name).filter(|mask| mask.len() == gradient.len());
            let value = tensor.f32s_mut()?;
            let moments = moments.swap_remove(name);
            let Some((first, second)) = moments.filter(|(first, _)| first.len() == value.len()) else {
                return Err(TrainError::State {
                    reason: format!("{name}: its optimiser state does not fit"),
                });
            };
            slots.push(Slot { value, gradient, first, second, group, dims, mask, speed });
        }
        let decay = |group| if group == Group::Weight { self.weight_decay } else { 0.0 };
        let lr = |group| if group == Group::Bias { rates.bias_lr } else { rates.lr };
        let steps = self.steps;
        slots.into_par_iter().for_each(|slot| {
            let (lr, decay) = (lr(slot.group) * slot.speed, decay(slot.group));
            match self.rule {
                Rule::Sgd => sgd(slot, lr, rates.momentum, decay, is_first),
                Rule::MuSgd => mu_sgd(slot, lr, rates.momentum, decay, is_first),
                Rule::Adam => {
                    adam(slot, lr, rates.momentum, AdamDecay { coupled: decay, decoupled: 0.0 }, steps)
                }
                Rule::AdamW => {
                    adam(slot, lr, rates.momentum, AdamDecay { coupled: 0.0, decoupled: decay }, steps);
                }
            }
        });
        Ok(())
    }
}

/// `g ← g + λp; b ← μb + g (the first b is g); p ← p − η(g + μb)`.
fn sgd(slot: Slot, lr: f64, momentum: f64, decay: f64, is_first: bool) {
    let (lr, momentum, decay) = (lr as f32, momentum as f32, decay as f32);
    for ((p, g), b) in slot.value.iter_mut().zip(slot.gradient).zip(slot.first) {
        let g = g + decay * *p;
        *b = if is_first { g } else { momentum * *b + g };
        *p -= lr * (g + momentum * *b);
    }
}

/// For matrices and kernels first `m ← μm + (1 − μ)g; p ← p − 0.2·η·O(μm + (1 − μ)g)` with the orthogonalisation `O`; then a step
/// of [`sgd`].
fn mu_sgd(slot: Slot, lr: f64, momentum: f64, decay: f64, is_first: bool) {
    if matches!(slot.dims.len(), 2 | 4) {
        let (keep, rest) = (momentum as f32, (1.0 - momentum) as f32);
        let mut direction = Vec::with_capacity(slot.gradient.len());
        for (m, &g) in slot.second.iter_mut().zip(slot.gradient) {
            *m = keep * *m + rest * g;
            direction.push(keep * *m + rest * g);
        }
        let mut step = orthogonalized(direction, &slot.dims);
        // The product mixes weights, so a removed one would come back.
        if let Some(mask) = slot.mask {
            mask.apply(&mut step);
        }
        let lr = (ORTHOGONAL_SHARE * lr) as f32;
        slot.value.iter_mut().zip(&step).for_each(|(p, step)| *p -= lr * step);
    }
    sgd(slot, lr, momentum, decay, is_first);
}

/// Weight decay, by where it enters a step of Adam.
struct AdamDecay {
    /// λ, part of the gradient.
    coupled: f64,
    /// λ', which shrinks the weight itself.
    decoupled: f64,
}

/// `g ← g + λp; p ← p(1 − ηλ') − η·m̂/(√v̂ + ε)` with bias-corrected means.
fn adam(slot: Slot, lr: f64, beta1: f64, decay: AdamDecay, steps: u64) {
    let steps = i32::try_from(steps).unwrap_or(i32::MAX);
    let step_size = (lr / (1.0 - beta1.powi(steps))) as f32;
    let root_correction = (1.0 - BETA2.powi(steps)).sqrt() as f32;
    let (keep, decay) = ((1.0 - lr * decay.decoupled) as f32, decay.coupled as f32);
    // In single precision, 1 − 0.999 would be off by 5·10⁻⁵.
    let (rest1, rest2) = ((1.0 - beta1) as f32, (1.0 - BETA2) as f32);
    let (beta1, beta2, epsilon) = (beta1 as f32, BETA2 as f32, EPSILON as f32);
    let moments = slot.first.iter_mut().zip(slot.second);
    for ((p, g), (m, v)) in slot.value.iter_mut().zip(slot.gradient).zip(moments) {
        let g = g + decay * *p;
        *p *= keep;
        *m = beta1 * *m + rest1 * g;
        *v = beta2 * *v + rest2 * g * g;
        *p -= step_size * *m / (v.sqrt() / root_correction + epsilon);
    }
}

/// Scales `gradients` so that their norm over all parameters is at most 10, and returns the norm that they had.
///
/// `g ← g · min(1, 10 / (‖g‖ + 10⁻⁶))`.
pub fn clip(gradients: &mut PerParameter) -> f64 {
    // Sums per parameter, then in order: the result does not depend on the number of threads.
    let slices: Vec<&Vec<f32>> = gradients.values().collect();
    let squares: Vec<f64> =
        slices.par_iter().map(|g| g.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>()).collect();
    let norm = squares.iter().sum::<f64>().sqrt();
    let factor = MAX_GRADIENT_NORM / (norm + 1e-6);
    if factor < 1.0 {
        let factor = factor as f32;
        gradients.values_mut().for_each(|g| g.iter_mut().for_each(|v| *v *= factor));
    }
    norm
}

/// Adds `more` to `sum`; parameters that `sum` does not have are inserted.
pub fn accumulate(sum: &mut PerParameter, more: Vec<(String, Vec<f32>)>) {
    for (name, gradient) in more {
        match sum.get_mut(&name) {
            Some(sum) => sum.iter_mut().zip(&gradient).for_each(|(sum, value)| *sum += value),
            None => {
                sum.insert(name, gradient);
            }
        }
    }
}
