//! Planning: which weights to remove.

use yolo_model::Model;

#[cfg(feature = "nn")]
use crate::calibration::Calibration;
use crate::candidates::{Candidate, candidates};
use crate::error::{PruneError, Result};
#[cfg(feature = "nn")]
use crate::fit::fit;
use crate::fused::Fused;
use crate::mask::Mask;
use crate::masks::masks;
use crate::measure::Measure;
#[cfg(feature = "nn")]
use crate::method::Repair;
use crate::method::{Allocation, Rank};
use crate::options::PruneOptions;
use crate::pattern::Structure;
use crate::plan::{LayerMask, PrunePlan};
use crate::scores::scores;
use crate::time::TimeBudget;

/// Plans which weights of every convolution to remove, without images.
///
/// [`Allocation::Layer`] takes `round(amount · n)` of the `n` weights of each convolution; the other allocations
/// take that many of all weights together. Halves are rounded to even; of equal scores the first are
/// removed.
///
/// # Errors
/// An amount outside `[0, 1)`, a pattern that matches nothing, patterns that match everything, limits that do not
/// allow the amount, weights that are not numbers; options that need images.
pub fn plan(model: &dyn Model, options: &PruneOptions) -> Result<PrunePlan> {
    if options.needs_images() {
        return Err(PruneError::NeedsImages);
    }
    let fused = folds(options).then(|| Fused::of(model)).transpose()?;
    plan_masks(model, fused.as_ref(), options, None)
}

/// Plans which weights of every convolution to remove and how to adjust the others, by measurements on calibration
/// images.
///
/// # Errors
/// As [`plan`]; a device that does not return its results; statistics that are not finite.
#[cfg(feature = "nn")]
pub fn plan_calibrated(
    model: &dyn Model,
    options: &PruneOptions,
    calibration: &mut Calibration,
) -> Result<PrunePlan> {
    let fused = folds(options).then(|| Fused::of(model)).transpose()?;
    let mut plan = plan_masks(model, fused.as_ref(), options, Some(calibration))?;
    if let Some(fused) = fused.filter(|_| options.repair() != Repair::None) {
        fit(model, &fused, &mut plan, options, calibration)?;
    }
    Ok(plan)
}

/// Whether the plan uses fused weights.
fn folds(options: &PruneOptions) -> bool {
    options.needs_images() || options.rank() == Rank::Fused
}

fn plan_masks(
    model: &dyn Model,
    fused: Option<&Fused>,
    options: &PruneOptions,
    mut measure: Option<&mut dyn Measure>,
) -> Result<PrunePlan> {
    let (candidates, skipped) = candidates(model.layout(), options)?;
    let time = TimeBudget::new(model, &candidates, options)?;
    let scores = scores(model, fused, &candidates, options, reborrow(&mut measure))?;
    let curves = match (options.allocation(), fused, measure) {
        (Allocation::Sensitivity, Some(fused), Some(measure)) => {
            Some(measure.error_curves(fused, &candidates, &scores)?)
        }
        _ => None,
    };
    let masks = masks(&candidates, &scores, options, curves.as_ref(), time.as_ref())?;
    let total: usize = candidates.iter().map(Candidate::weights).sum();
    let gone: usize = masks.iter().map(Mask::pruned).sum();
    let is_fixed = matches!(options.structure, Structure::NofM { .. });
    let layers = candidates.iter().zip(masks);
    Ok(PrunePlan {
        criterion: options.criterion(),
        allocation: options.allocation(),
        amount: if is_fixed { gone as f64 / total.max(1) as f64 } else { options.amount },
        unit: options.unit(),
        rank: options.rank(),
        structure: options.structure,
        repair: options.repair(),
        masks: layers.map(|(candidate, mask)| LayerMask { tensor: candidate.conv.weight(), mask }).collect(),
        updates: Vec::new(),
        skipped,
    })
}

/// The same, to be used twice.
fn reborrow<'a>(measure: &'a mut Option<&mut dyn Measure>) -> Option<&'a mut dyn Measure> {
    match measure {
        Some(measure) => Some(&mut **measure),
        None => None,
    }
}
