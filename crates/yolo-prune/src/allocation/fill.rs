//! Water-filling: one number sets how much every layer loses, and is raised until the total is reached.

use super::error::AllocationError;
use super::layer::{Bounds, Layer, Limit, bounds, check_amount, weights};

/// The amount to remove from all layers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// This fraction of the weights, 0 up to 1: exactly `amount · total`, rounded, halves to even.
    Weights(f64),
    /// At least this fraction of the FLOPs, 0 up to 1, and less beyond it than one weight saves where a
    /// weight saves most. FLOPs of a layer shrink with its weights.
    Flops(f64),
}

impl Target {
    /// FLOPs or weights to remove, and those that one weight of each layer counts for.
    pub(super) fn goal(self, layers: &[Layer]) -> Result<Goal, AllocationError> {
        let total: usize = layers.iter().map(Layer::weights).sum();
        match self {
            Self::Weights(amount) => {
                check_amount(amount)?;
                let asked = (amount * total as f64).round_ties_even();
                Ok(Goal { asked, each: vec![1.0; layers.len()], unit: "weights" })
            }
            Self::Flops(amount) => {
                check_amount(amount)?;
                let asked = amount * layers.iter().map(|layer| layer.flops as f64).sum::<f64>();
                let each = layers.iter().map(Layer::flops_per_weight).collect();
                Ok(Goal { asked, each, unit: "FLOPs" })
            }
        }
    }
}

/// A total to reach.
pub(super) struct Goal {
    pub(super) asked: f64,
    /// What one weight of each layer counts.
    pub(super) each: Vec<f64>,
    pub(super) unit: &'static str,
}

impl Goal {
    /// The quantity removed when each layer loses these numbers of weights.
    pub(super) fn removed(&self, counts: &[usize]) -> f64 {
        counts.iter().zip(&self.each).map(|(count, each)| *count as f64 * each).sum()
    }

    /// Checks that the goal lies between the least and the most that can go.
    pub(super) fn check(&self, least: &[usize], most: &[usize]) -> Result<(), AllocationError> {
        let (least, most) = (self.removed(least), self.removed(most));
        if (least..=most).contains(&self.asked) {
            return Ok(());
        }
        Err(AllocationError::Unreachable { asked: self.asked, least, most, unit: self.unit })
    }
}

/// Counts `wanted(layer, level)`, kept within the limits, at the lowest level that reaches the target.
///
/// `wanted` must not fall when the level rises from 0 to [`f64::MAX`]. Where several layers lose more at the
/// same level, the first do. So the result is exact, and monotone in the target: largest-remainder rounding
/// is not.
pub(super) fn fill(
    layers: &[Layer],
    limits: &[Limit],
    target: Target,
    wanted: impl Fn(usize, f64) -> f64,
) -> Result<Vec<usize>, AllocationError> {
    let bounds = bounds(&weights(layers), limits)?;
    let goal = target.goal(layers)?;
    // Levels are not negative, so they order like their bits.
    let at = |level: u64| -> Vec<usize> {
        let count = |(layer, bounds): (usize, &Bounds)| {
            bounds.clamp(wanted(layer, f64::from_bits(level)).round_ties_even() as usize)
        };
        bounds.iter().enumerate().map(count).collect()
    };
    let (mut low, mut high) = (0, f64::MAX.to_bits());
    goal.check(&at(low), &at(high))?;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if goal.removed(&at(middle)) <= goal.asked { low = middle } else { high = middle }
    }
    Ok(raise(at(low), &at(high), &goal))
}

/// Raises `counts` towards `most`, layer by layer, just until the goal is reached.
pub(super) fn raise(mut counts: Vec<usize>, most: &[usize], goal: &Goal) -> Vec<usize> {
    for layer in 0..counts.len() {
        let missing = goal.asked - goal.removed(&counts);
        if missing <= 0.0 {
            break;
        }
        // Raising a layer that counts nothing would change nothing.
        if goal.each[layer] > 0.0 {
            let needed = (missing / goal.each[layer] - 1e-9).ceil() as usize;
            counts[layer] += needed.min(most[layer] - counts[layer]);
        }
    }
    counts
}
