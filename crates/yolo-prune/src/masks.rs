//! From scores to masks: the amount divided over the convolutions, then the smallest scores of each.

use std::borrow::Cow;

use crate::allocation::{self, Budget, Curves, Layer, Limit, Target};
use crate::candidates::Candidate;
use crate::error::{PruneError, Result};
use crate::mask::Mask;
use crate::options::{Allocation, PruneOptions, Unit};
use crate::pattern::{self, Structure};
use crate::scores::Scores;
use crate::sensitivity::ErrorCurves;

/// The masks of `candidates`, in their order.
///
/// # Errors
/// An amount outside `[0, 1)`, limits that do not allow it, an allocation that does not know the unit.
pub(crate) fn masks(
    candidates: &[Candidate],
    scores: &Scores,
    options: &PruneOptions,
    curves: Option<&ErrorCurves>,
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
    if options.allocation == Allocation::Global && options.structure != Structure::Unstructured && is_free {
        check_weights(options)?;
        let total: usize = candidates.iter().map(Candidate::weights).sum();
        let count = (options.amount * total as f64).round_ties_even() as usize;
        return Ok(pattern::masks(&scored, options.structure, count)?);
    }
    let counts = counts(candidates, &magnitudes, options, curves)?;
    let each = scored.iter().zip(counts);
    each.map(|(scores, count)| Ok(pattern::mask(*scores, options.structure, count)?)).collect()
}

/// How many weights of each candidate go.
fn counts(
    candidates: &[Candidate],
    scores: &[Cow<[f32]>],
    options: &PruneOptions,
    curves: Option<&ErrorCurves>,
) -> Result<Vec<usize>> {
    let layers: Vec<Layer> = candidates.iter().map(|candidate| candidate.layer).collect();
    let limits: Vec<Limit> = candidates.iter().map(|candidate| candidate.limit).collect();
    let amount = options.amount;
    let target = match options.unit {
        Unit::Weights => Target::Weights(amount),
        Unit::Flops => Target::Flops(amount),
    };
    let counted = match (options.allocation, curves) {
        (Allocation::Layer, _) if options.unit == Unit::Weights => {
            allocation::uniform(&layers, &limits, amount)
        }
        (Allocation::Layer, _) => allocation::even(&layers, &limits, target),
        (Allocation::Erk, _) => allocation::erk(&layers, &limits, target),
        (Allocation::Flops, _) => allocation::by_flops(&layers, &limits, target),
        (Allocation::Global, _) => {
            check_weights(options)?;
            let scores: Vec<&[f32]> = scores.iter().map(AsRef::as_ref).collect();
            allocation::global(&scores, &limits, amount)
        }
        (Allocation::Lamp, _) => {
            check_weights(options)?;
            let scores: Vec<Vec<f32>> = scores.iter().map(|scores| allocation::lamp(scores)).collect();
            let scores: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
            allocation::global(&scores, &limits, amount)
        }
        (Allocation::Sensitivity, Some(curves)) => {
            let view = Curves { grid: &curves.grid, errors: &curves.errors };
            let budget = match options.unit {
                Unit::Weights => Budget::Weights(amount),
                Unit::Flops => Budget::Flops(amount),
            };
            allocation::by_sensitivity(&layers, &view, &limits, budget)
        }
        (Allocation::Sensitivity, None) => return Err(PruneError::NeedsImages),
    };
    counted.map_err(|error| PruneError::allocation(error, candidates))
}

/// Scores that compete know no FLOPs.
fn check_weights(options: &PruneOptions) -> Result<()> {
    match options.unit {
        Unit::Weights => Ok(()),
        Unit::Flops => Err(PruneError::Unit { allocation: options.allocation }),
    }
}
