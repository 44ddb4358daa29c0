//! From scores to masks: the amount divided over the convolutions, then the smallest scores of each.

use std::borrow::Cow;

use crate::allocation::{self, AllocationError, Budget, Curves, Layer, Limit, Target};
use crate::candidates::{Candidate, allocation_error};
use crate::error::{PruneError, Result};
use crate::mask::Mask;
use crate::measure::Scores;
use crate::method::{Allocation, Unit};
use crate::options::PruneOptions;
use crate::pattern::{self, Structure};
use crate::sensitivity::ErrorCurves;
use crate::time::TimeBudget;

/// The masks of `candidates`, in their order.
///
/// # Errors
/// An amount outside `[0, 1)`, limits that do not allow it or the budget, an allocation that does not know the unit.
pub(crate) fn masks(
    candidates: &[Candidate],
    scores: &Scores,
    options: &PruneOptions,
    curves: Option<&ErrorCurves>,
    time: Option<&TimeBudget>,
) -> Result<Vec<Mask>> {
    let shapes = candidates.iter().map(|candidate| candidate.layer.shape);
    // Means over blocks need magnitudes; single weights are compared without their sign anyway.
    let magnitudes: Vec<Cow<[f32]>> = match options.structure {
        Structure::Block { .. } => scores.iter().map(|s| s.iter().map(|v| v.abs()).collect()).collect(),
        _ => scores.iter().map(|s| Cow::Borrowed(s.as_ref())).collect(),
    };
    let scored: Vec<pattern::Scores> =
        magnitudes.iter().zip(shapes).map(|(values, shape)| pattern::Scores { values, shape }).collect();
    if let Structure::NofM { .. } = options.structure {
        return Ok(pattern::masks(&scored, options.structure, 0)?);
    }
    let is_free = candidates.iter().all(|candidate| candidate.limit == Limit::default());
    let is_competition = options.allocation() == Allocation::Global && options.unit() == Unit::Weights;
    if is_competition && options.structure != Structure::Unstructured && is_free {
        let total: usize = candidates.iter().map(Candidate::weights).sum();
        let count = (options.amount * total as f64).round_ties_even() as usize;
        return Ok(pattern::masks(&scored, options.structure, count)?);
    }
    let counts = counts(candidates, &magnitudes, options, curves, time)?;
    let each = scored.iter().zip(counts);
    each.map(|(scores, count)| Ok(pattern::mask(*scores, options.structure, count)?)).collect()
}

/// How many weights of each candidate go.
fn counts(
    candidates: &[Candidate],
    scores: &[Cow<[f32]>],
    options: &PruneOptions,
    curves: Option<&ErrorCurves>,
    time: Option<&TimeBudget>,
) -> Result<Vec<usize>> {
    let layers: Vec<Layer> = candidates.iter().map(|candidate| candidate.layer).collect();
    let limits: Vec<Limit> = candidates.iter().map(|candidate| candidate.limit).collect();
    let amount = options.amount;
    if options.allocation() == Allocation::Sensitivity {
        let curves = curves.ok_or(PruneError::NeedsImages)?;
        let view = Curves { grid: &curves.grid, errors: &curves.errors };
        let budget = match (time, options.unit()) {
            (Some(time), _) => return time.by_sensitivity(candidates, &layers, &limits, curves),
            (None, Unit::Flops) => Budget::Flops(amount),
            (None, Unit::Weights | Unit::Milliseconds) => Budget::Weights(amount),
        };
        let counts = allocation::by_sensitivity(&layers, &view, &limits, budget);
        return counts.map_err(|error| allocation_error(error, candidates));
    }
    let scores: Vec<Cow<[f32]>> = match options.allocation() {
        Allocation::Lamp => scores.iter().map(|scores| Cow::Owned(allocation::lamp(scores))).collect(),
        _ => scores.iter().map(|scores| Cow::Borrowed(scores.as_ref())).collect(),
    };
    let divided = |target: Target| divided(&layers, &limits, &scores, options.allocation(), target);
    match (time, options.unit()) {
        (Some(time), _) => time.by_amount(candidates, |amount| divided(Target::Weights(amount))),
        (None, Unit::Flops) if matches!(options.allocation(), Allocation::Global | Allocation::Lamp) => {
            // Scores that compete do not take FLOPs into account.
            Err(PruneError::Unit { allocation: options.allocation() })
        }
        (None, Unit::Flops) => {
            divided(Target::Flops(amount)).map_err(|error| allocation_error(error, candidates))
        }
        (None, Unit::Weights | Unit::Milliseconds) => {
            divided(Target::Weights(amount)).map_err(|error| allocation_error(error, candidates))
        }
    }
}

/// A total divided without error curves; `scores` are those of the allocation.
fn divided(
    layers: &[Layer],
    limits: &[Limit],
    scores: &[Cow<[f32]>],
    allocation: Allocation,
    target: Target,
) -> std::result::Result<Vec<usize>, AllocationError> {
    match (allocation, target) {
        (Allocation::Layer, Target::Weights(amount)) => allocation::uniform(layers, limits, amount),
        (Allocation::Erk, _) => allocation::erk(layers, limits, target),
        (Allocation::Flops, _) => allocation::by_flops(layers, limits, target),
        (Allocation::Global | Allocation::Lamp, Target::Weights(amount)) => {
            let scores: Vec<&[f32]> = scores.iter().map(AsRef::as_ref).collect();
            allocation::global(&scores, limits, amount)
        }
        _ => allocation::even(layers, limits, target),
    }
}
