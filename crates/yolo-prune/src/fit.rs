//! Fitting what stays to what the dense network computes, one convolution after the other.
//!
//! A convolution behind pruned ones sees other inputs `x̂` than the dense one, `x`. With the moments of both, the
//! weights `W*` that come nearest to the dense outputs `W x` from `x̂` are known in closed form, and the weights that
//! stay are the least-squares solution around `W*` on their support. The bias makes up for the means.

use rayon::prelude::*;
use yolo_model::Checkpoint;
use yolo_model::weights::FloatFormat;

use crate::calibration::{Calibration, ConvValues, ConvVisit, Moments, walk};
use crate::error::{PruneError, Result};
use crate::mask::Mask;
use crate::options::{Criterion, PruneOptions, Repair};
use crate::pattern;
use crate::plan::{PrunePlan, TensorUpdate};
use crate::reconstruct::{Gram, ReconstructError, Schedule, admm, refit, target};
use crate::repair::stored_tensors;

/// Fits the weights that `plan` keeps and puts them into its updates. With [`Criterion::Reconstruction`] the masks
/// are chosen anew inside of every convolution; how many weights it loses stays.
///
/// # Errors
/// Statistics that are not finite, or a device that does not return its results.
pub(crate) fn fit(
    checkpoint: &Checkpoint,
    plan: &mut PrunePlan,
    options: &PruneOptions,
    calibration: &mut Calibration,
) -> Result<()> {
    let fused = checkpoint.fuse()?;
    let rounds = FloatFormat::lossless_for(&checkpoint.weights) == FloatFormat::F16;
    let (images, device) = (calibration.images, calibration.device);
    calibration.start("Fitting", plan.masks.len());
    walk(&fused, images, device, |visit| {
        let name = visit.conv.weight();
        let Some(layer) = plan.masks.iter_mut().find(|layer| layer.tensor == name) else { return Ok(None) };
        let values = fit_conv(&fused, visit, &mut layer.mask, options)?;
        let mut updates = stored_tensors(checkpoint, visit.conv, &values)?;
        if rounds {
            updates.iter_mut().for_each(round);
        }
        plan.updates.extend(updates);
        calibration.step();
        Ok(Some(values))
    })
}

/// What a file in half precision, as the checkpoint came from one, would make of the values.
fn round(update: &mut TensorUpdate) {
    update.values.iter_mut().for_each(|value| *value = half::f16::from_f32(*value).to_f32());
}

fn fit_conv(
    fused: &Checkpoint,
    visit: &ConvVisit,
    mask: &mut Mask,
    options: &PruneOptions,
) -> Result<ConvValues> {
    let conv = visit.conv;
    let error = |error: ReconstructError| PruneError::Reconstruct { layer: conv.name.clone(), error };
    let dense = ConvValues {
        weight: fused.weights.f32s(&conv.weight())?.to_vec(),
        bias: fused.weights.f32s(&conv.bias())?.to_vec(),
    };
    let moments = Moments::measure(&conv.spec, visit.dense, visit.pruned)?;
    let mut weight = dense.weight.clone();
    if options.repair == Repair::Reconstruct {
        let gram = Gram::new(moments.k, moments.gram.clone()).map_err(error)?;
        let goal = match &moments.cross {
            Some(cross) => target(&gram, cross, &dense.weight).map_err(error)?,
            None => dense.weight.clone(),
        };
        if options.criterion == Criterion::Reconstruction {
            let count = mask.pruned();
            let shape = conv.spec.weight_shape();
            let per_row: Vec<usize> = (0..shape[0])
                .map(|r| {
                    let k = mask.len() / shape[0];
                    (r * k..(r + 1) * k).filter(|i| !mask.keeps(*i)).count()
                })
                .collect();
            let project = |scores: &[f32]| -> Vec<bool> {
                if std::env::var("ROWS").is_ok() && options.structure == pattern::Structure::Unstructured {
                    let k = scores.len() / shape[0];
                    return scores
                        .chunks(k)
                        .zip(&per_row)
                        .flat_map(|(row, count)| crate::reconstruct::keep_largest(row, *count))
                        .collect();
                }
                match pattern::mask(pattern::Scores { values: scores, shape }, options.structure, count) {
                    Ok(mask) => (0..mask.len()).map(|index| mask.keeps(index)).collect(),
                    Err(_) => Vec::new(),
                }
            };
            let pruned = admm(&gram, &goal, Schedule::default(), project).map_err(error)?;
            *mask = Mask::keep_all(pruned.keep.len());
            (0..pruned.keep.len()).filter(|i| !pruned.keep[*i]).for_each(|i| mask.prune(i));
            weight = pruned.weights;
        } else {
            let keep: Vec<bool> = (0..mask.len()).map(|index| mask.keeps(index)).collect();
            weight = refit(&gram, &goal, &keep).map_err(error)?;
        }
    } else {
        mask.apply(&mut weight);
    }
    let bias = shifted_bias(&dense, &weight, &moments);
    Ok(ConvValues { weight, bias })
}

/// The bias with which the mean output is that of the dense convolution: `b + W μ − Ŵ μ̂`.
fn shifted_bias(dense: &ConvValues, weight: &[f32], moments: &Moments) -> Vec<f32> {
    let mean = |weights: &[f32], means: &[f64]| -> f64 {
        weights.iter().zip(means).map(|(weight, mean)| f64::from(*weight) * mean).sum()
    };
    let rows = dense.weight.par_chunks(moments.k).zip(weight.par_chunks(moments.k)).zip(&dense.bias);
    rows.map(|((dense, pruned), bias)| {
        let shift = mean(dense, &moments.dense_mean) - mean(pruned, &moments.mean);
        (f64::from(*bias) + shift) as f32
    })
    .collect()
}
