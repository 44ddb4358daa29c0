//! Fitting the remaining weights to the outputs of the dense network, one convolution after the other.
//!
//! A convolution behind pruned ones sees other inputs `x̂` than the dense one, `x`. With the moments of both, the
//! weights `W*` that come nearest to the dense outputs `W x` from `x̂` are known in closed form, and the weights that
//! stay are the least-squares solution around `W*` on their support. The bias makes up for the means.

use rayon::prelude::*;
use yolo_model::Model;
use yolo_model::weights::FloatFormat;

use crate::calibration::{Calibration, ConvValues, ConvVisit, Moments, walk};
use crate::error::{PruneError, Result};
use crate::fused::Fused;
use crate::mask::Mask;
use crate::method::{Criterion, Repair};
use crate::options::PruneOptions;
use crate::pattern::{self, Structure};
use crate::plan::{PrunePlan, TensorUpdate};
use crate::reconstruct::{Gram, ReconstructError, Schedule, admm, keep_largest, refit, target};
use crate::repair::stored_tensors;

/// Fits the weights that `plan` keeps and puts them into its updates. With [`Criterion::Reconstruction`], the masks of
/// convolutions that lose half of their weights or more are chosen anew; how many weights go stays.
///
/// # Errors
/// Statistics that are not finite, or a device that does not return its results.
pub(crate) fn fit(
    model: &dyn Model,
    fused: &Fused,
    plan: &mut PrunePlan,
    options: &PruneOptions,
    calibration: &mut Calibration,
) -> Result<()> {
    let rounds = FloatFormat::lossless_for(model.weights()) == FloatFormat::F16;
    let (images, device) = (calibration.images, calibration.device);
    calibration.start("Fitting", plan.masks.len());
    walk(fused, images, device, |visit| {
        let name = visit.conv.weight();
        let Some(layer) = plan.masks.iter_mut().find(|layer| layer.tensor == name) else { return Ok(None) };
        let values = fit_conv(fused, visit, &mut layer.mask, options)?;
        let mut updates = stored_tensors(model, visit.conv, &values, &layer.mask)?;
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

fn fit_conv(fused: &Fused, visit: &ConvVisit, mask: &mut Mask, options: &PruneOptions) -> Result<ConvValues> {
    let conv = visit.conv;
    let error = |error: ReconstructError| PruneError::Reconstruct { layer: conv.name.clone(), error };
    let dense = ConvValues {
        weight: fused.weights.f32s(&conv.weight())?.to_vec(),
        bias: conv.fused_bias(&fused.weights)?.into_owned(),
    };
    let moments = Moments::measure(&conv.spec, visit.dense, visit.pruned)?;
    let mut weight = dense.weight.clone();
    if options.repair() == Repair::Reconstruct {
        let gram = Gram::new(moments.k, moments.gram.clone()).map_err(error)?;
        let goal = match &moments.cross {
            Some(cross) => target(&gram, cross, &dense.weight).map_err(error)?,
            None => dense.weight.clone(),
        };
        if options.criterion() == Criterion::Reconstruction && is_chosen_anew(mask) {
            let support = Support::like(mask, conv.spec.weight_shape(), options.structure);
            let choose = |scores: &[f32]| support.choose(scores);
            let pruned = admm(&gram, &goal, Schedule::default(), choose).map_err(error)?;
            *mask = Mask::of(&pruned.keep);
            weight = pruned.weights;
        } else {
            weight = refit(&gram, &goal, &mask.to_bools()).map_err(error)?;
        }
    } else {
        mask.apply(&mut weight);
    }
    // Without a bias there is no place for what the mean of the output lost.
    let bias = match conv.has_bias(true) {
        true => shifted_bias(&dense, &weight, &moments),
        false => dense.bias.clone(),
    };
    let count = weight.iter().chain(&bias).filter(|value| !value.is_finite()).count();
    if count > 0 {
        return Err(error(ReconstructError::NotFinite { what: "the fitted weights", count }));
    }
    Ok(ConvValues { weight, bias })
}

/// Fraction pruned from which on the images choose the weights of a convolution that go. Of fewer, there are many
/// that do nearly the same, and among those a handful of images says less than the magnitudes that long training
/// gave them.
const CHOSEN_ANEW: f64 = 0.5;

fn is_chosen_anew(mask: &Mask) -> bool {
    mask.pruned() as f64 >= CHOSEN_ANEW * mask.len() as f64
}

/// What a mask that is chosen anew keeps of the one that the division of the amount gave.
enum Support {
    /// How many weights each output channel loses. The error of one channel's output says nothing about that of
    /// another, whose scale differs; the stored magnitudes do.
    Rows { pruned: Vec<usize>, inputs: usize },
    /// The structure, and how many weights go.
    Structured { shape: [usize; 4], structure: Structure, count: usize },
}

impl Support {
    fn like(mask: &Mask, shape: [usize; 4], structure: Structure) -> Self {
        if structure != Structure::Unstructured {
            return Self::Structured { shape, structure, count: mask.pruned() };
        }
        let inputs = mask.len() / shape[0];
        let gone =
            |row: usize| (row * inputs..(row + 1) * inputs).filter(|&index| !mask.keeps(index)).count();
        Self::Rows { pruned: (0..shape[0]).map(gone).collect(), inputs }
    }

    /// Which weights stay. Empty if the scores do not fit, which the solver refuses.
    fn choose(&self, scores: &[f32]) -> Vec<bool> {
        match self {
            Self::Rows { pruned, inputs } => {
                let rows = scores.chunks(*inputs).zip(pruned);
                rows.flat_map(|(row, count)| keep_largest(row, *count)).collect()
            }
            Self::Structured { shape, structure, count } => {
                let scores = pattern::Scores { values: scores, shape: *shape };
                pattern::mask(scores, *structure, *count).map(|mask| mask.to_bools()).unwrap_or_default()
            }
        }
    }
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
