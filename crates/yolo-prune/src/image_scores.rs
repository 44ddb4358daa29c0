//! Scores of weights from measurements on images.

use std::borrow::Cow;
use std::collections::HashMap;

use yolo_model::Model;

use crate::calibration::{Calibration, Moments, walk};
use crate::candidates::Candidate;
use crate::error::Result;
use crate::fused::Fused;
use crate::gradient::{Labels, gradients};
use crate::measure::Scores;

/// `|w| · √E[x²]` of fused weights; `x` is what the weight is multiplied with.
pub(crate) fn wanda(
    fused: &Fused,
    candidates: &[Candidate],
    calibration: &mut Calibration,
) -> Result<Scores<'static>> {
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
pub(crate) fn saliencies(
    model: &dyn Model,
    candidates: &[Candidate],
    calibration: &mut Calibration,
    labels: Labels,
    of: impl Fn(f64) -> f64,
) -> Result<Scores<'static>> {
    let names: Vec<String> = candidates.iter().map(|candidate| candidate.conv.weight()).collect();
    let mut sums: HashMap<&str, Vec<f64>> = HashMap::new();
    for (name, candidate) in names.iter().zip(candidates) {
        sums.insert(name, vec![0.0; candidate.weights()]);
    }
    let (images, device) = (calibration.images, calibration.device);
    calibration.start("Gradients", images.batches().len());
    gradients(
        model,
        images,
        device,
        labels,
        |name, gradient| {
            if let Some(sums) = sums.get_mut(name) {
                let weights = model.weights().f32s(name)?;
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
