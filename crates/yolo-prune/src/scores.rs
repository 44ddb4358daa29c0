//! What every weight is worth by a criterion.

use std::borrow::Cow;
use std::collections::HashMap;

use yolo_model::Checkpoint;

use crate::calibration::{Calibration, Moments, walk};
use crate::candidates::Candidate;
use crate::error::{PruneError, Result};
use crate::gradient::{Labels, gradients};
use crate::options::{Criterion, PruneOptions, Rank};

/// One score per weight of every candidate, whose sign does not count; larger is more important.
pub(crate) type Scores<'a> = Vec<Cow<'a, [f32]>>;

/// The scores of `candidates`.
///
/// # Errors
/// Weights or gradients that are not finite, a criterion that needs images without any.
pub(crate) fn scores<'a>(
    checkpoint: &'a Checkpoint,
    fused: &'a Checkpoint,
    candidates: &[Candidate],
    options: &PruneOptions,
    calibration: Option<&mut Calibration>,
) -> Result<Scores<'a>> {
    let stored = options.rank == Rank::Stored || checkpoint.architecture.fused;
    let magnitudes = values(if stored { checkpoint } else { fused }, candidates)?;
    match (options.criterion, calibration) {
        // Reconstruction decides inside of every convolution, when it sees what is left before it.
        (Criterion::Magnitude | Criterion::Reconstruction, _) => {
            Ok(magnitudes.into_iter().map(Cow::Borrowed).collect())
        }
        (_, None) => Err(PruneError::NeedsImages),
        (Criterion::Wanda, Some(calibration)) => wanda(fused, candidates, calibration),
        (Criterion::Snip, Some(calibration)) => {
            saliencies(checkpoint, candidates, calibration, Labels::Pseudo, |product| product.abs())
        }
        (Criterion::Taylor, Some(calibration)) => {
            saliencies(checkpoint, candidates, calibration, Labels::Drawn, |product| product * product)
        }
    }
}

/// The weights of every candidate.
fn values<'a>(checkpoint: &'a Checkpoint, candidates: &[Candidate]) -> Result<Vec<&'a [f32]>> {
    let finite = |candidate: &Candidate| {
        let name = candidate.conv.weight();
        let values = checkpoint.weights.f32s(&name)?;
        match values.iter().filter(|value| !value.is_finite()).count() {
            0 => Ok(values),
            count => Err(PruneError::NotFinite { name, count }),
        }
    };
    candidates.iter().map(finite).collect()
}

/// `|w| · √E[x²]` of fused weights; `x` is what the weight is multiplied with.
fn wanda<'a>(
    fused: &Checkpoint,
    candidates: &[Candidate],
    calibration: &mut Calibration,
) -> Result<Scores<'a>> {
    let mut norms: HashMap<String, Vec<f64>> = HashMap::new();
    let images = calibration.images;
    let device = calibration.device;
    calibration.start("Measuring inputs", candidates.len());
    walk(fused, images, device, |visit| {
        if candidates.iter().any(|candidate| candidate.conv.name == visit.conv.name) {
            let moments = Moments::measure(&visit.conv.spec, visit.dense, None)?;
            let roots = moments.mean_squares().into_iter().map(f64::sqrt).collect();
            norms.insert(visit.conv.name.clone(), roots);
            calibration.step();
        }
        Ok(None)
    })?;
    let score = |candidate: &Candidate| {
        let weights = fused.weights.f32s(&candidate.conv.weight())?;
        let norms = norms.get(&candidate.conv.name).map(Vec::as_slice).unwrap_or_default();
        let scores = weights.iter().zip(norms.iter().cycle());
        Ok(Cow::Owned(scores.map(|(weight, norm)| (f64::from(weight.abs()) * norm) as f32).collect()))
    };
    candidates.iter().map(score).collect()
}

/// The sum over batches of `of(w · ∂loss/∂w)`. The product is the same for stored and for fused weights.
fn saliencies<'a>(
    checkpoint: &Checkpoint,
    candidates: &[Candidate],
    calibration: &mut Calibration,
    labels: Labels,
    of: impl Fn(f64) -> f64,
) -> Result<Scores<'a>> {
    let names: Vec<String> = candidates.iter().map(|candidate| candidate.conv.weight()).collect();
    let mut sums: HashMap<&str, Vec<f64>> = HashMap::new();
    for (name, candidate) in names.iter().zip(candidates) {
        sums.insert(name, vec![0.0; candidate.weights()]);
    }
    let (images, device) = (calibration.images, calibration.device);
    calibration.start("Gradients", images.batches().len());
    gradients(
        checkpoint,
        images,
        device,
        labels,
        |name, gradient| {
            if let Some(sums) = sums.get_mut(name) {
                let weights = checkpoint.weights.f32s(name)?;
                for ((sum, weight), slope) in sums.iter_mut().zip(weights).zip(gradient) {
                    *sum += of(f64::from(*weight) * f64::from(*slope));
                }
            }
            Ok(())
        },
        || calibration.step(),
    )?;
    let score = |name: &String| {
        let sums = sums.remove(name.as_str()).unwrap_or_default();
        Cow::Owned(sums.into_iter().map(|sum| sum as f32).collect())
    };
    Ok(names.iter().map(score).collect())
}

#[cfg(test)]
mod tests;
