//! Error curves, measured on images.

use super::ErrorCurves;
use crate::allocation::default_grid;
use crate::calibration::{Calibration, Moments, walk};
use crate::candidates::Candidate;
use crate::error::Result;
use crate::fused::Fused;
use crate::mask::Mask;
use crate::measure::Scores;
use crate::pattern::{self, Structure};

/// The squared error of every candidate's output, as a fraction of the output's own variance, with the weights of the
/// smallest scores at zero and biases that make up for the mean.
///
/// # Errors
/// As [`walk`].
pub(crate) fn error_curves(
    fused: &Fused,
    candidates: &[Candidate],
    scores: &Scores,
    calibration: &mut Calibration,
) -> Result<ErrorCurves> {
    let grid = default_grid();
    let mut errors = vec![Vec::new(); candidates.len()];
    let (images, device) = (calibration.images, calibration.device);
    calibration.start("Measuring errors", candidates.len());
    walk(fused, images, device, |visit| {
        let found = candidates.iter().position(|candidate| candidate.conv.name == visit.conv.name);
        let Some(index) = found else { return Ok(None) };
        let moments = Moments::measure(&visit.conv.spec, visit.dense, None)?;
        let weights = fused.weights.f32s(&visit.conv.weight())?;
        let shape = candidates[index].layer.shape;
        errors[index] = curve(&moments, weights, &scores[index], shape, &grid)?;
        calibration.step();
        Ok(None)
    })?;
    Ok(ErrorCurves { grid, errors })
}

fn curve(
    moments: &Moments,
    weights: &[f32],
    scores: &[f32],
    shape: [usize; 4],
    grid: &[f64],
) -> Result<Vec<f64>> {
    let whole = moments.output_variance(weights);
    let error = |fraction: &f64| {
        let count = (fraction * weights.len() as f64).round_ties_even() as usize;
        let scored = pattern::Scores { values: scores, shape };
        let mask: Mask = pattern::mask(scored, Structure::Unstructured, count)?;
        let lost: Vec<f32> =
            weights.iter().enumerate().map(|(i, w)| if mask.keeps(i) { 0.0 } else { *w }).collect();
        Ok(if whole > 0.0 { moments.output_variance(&lost) / whole } else { 0.0 })
    };
    grid.iter().map(error).collect()
}
