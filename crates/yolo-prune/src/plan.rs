//! The plan of a pruning, and its application.

use serde_json::json;
use yolo_model::Checkpoint;
use yolo_model::architecture::ConvRef;

use crate::calibration::Calibration;
use crate::candidates::{Candidate, candidates};
use crate::error::{PruneError, Result};
use crate::fit::fit;
use crate::mask::Mask;
use crate::masks::masks;
use crate::options::{Allocation, Criterion, Method, PruneOptions, Rank, Repair, Unit};
use crate::pattern::Structure;
use crate::scores::scores;
use crate::sensitivity::error_curves;
use crate::time::TimeBudget;

/// What a pruning does: plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct PrunePlan {
    /// What made a weight worth keeping.
    pub criterion: Criterion,
    /// How the amount was divided.
    pub allocation: Allocation,
    /// The fraction asked for; with n:m, the one that follows from it.
    pub amount: f64,
    /// What it is a fraction of.
    pub unit: Unit,
    /// Whose magnitudes were compared.
    pub rank: Rank,
    /// Which weights went together.
    pub structure: Structure,
    /// What happened to the weights that stay.
    pub repair: Repair,
    /// One mask per convolution that is pruned, in the order of the state dict.
    pub masks: Vec<LayerMask>,
    /// Tensors whose remaining values change.
    pub updates: Vec<TensorUpdate>,
    /// What is left as it is, and why.
    pub skipped: Vec<Skipped>,
}

/// The mask of one convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMask {
    /// Name of the weight tensor.
    pub tensor: String,
    /// Which of its elements stay.
    pub mask: Mask,
}

/// Values in place of those of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorUpdate {
    /// Name of the tensor.
    pub tensor: String,
    /// All of its elements, row-major.
    pub values: Vec<f32>,
}

/// A convolution that is not pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Name of the weight tensor.
    pub tensor: String,
    /// Why.
    pub reason: String,
}

/// Plans which weights of every convolution go, stem and head included, without looking at images.
///
/// [`Allocation::Layer`] takes `round(amount · n)` of the `n` weights of each convolution; the other allocations
/// take that many of all weights together. Halves are rounded to even; of equal scores the first go.
///
/// # Errors
/// An amount outside `[0, 1)`, a pattern that matches nothing, patterns that match everything, limits that do not
/// allow the amount, weights that are not numbers; options that need images.
pub fn plan(checkpoint: &Checkpoint, options: &PruneOptions) -> Result<PrunePlan> {
    if options.needs_images() {
        return Err(PruneError::NeedsImages);
    }
    plan_masks(checkpoint, options, None)
}

/// Plans which weights of every convolution go and what becomes of the others, by what the network does on
/// calibration images.
///
/// # Errors
/// As [`plan`]; a device that does not return its results; statistics that are not finite.
pub fn plan_calibrated(
    checkpoint: &Checkpoint,
    options: &PruneOptions,
    calibration: &mut Calibration,
) -> Result<PrunePlan> {
    let mut plan = plan_masks(checkpoint, options, Some(calibration))?;
    if options.repair != Repair::None {
        fit(checkpoint, &mut plan, options, calibration)?;
    }
    Ok(plan)
}

fn plan_masks(
    checkpoint: &Checkpoint,
    options: &PruneOptions,
    mut calibration: Option<&mut Calibration>,
) -> Result<PrunePlan> {
    let (candidates, skipped) = candidates(checkpoint, options)?;
    let time = TimeBudget::new(checkpoint, &candidates, options)?;
    let folds = options.needs_images() || options.rank == Rank::Fused;
    let folded = folds.then(|| checkpoint.fuse()).transpose()?;
    let fused = folded.as_deref().unwrap_or(checkpoint);
    let scores = scores(checkpoint, fused, &candidates, options, calibration.as_deref_mut())?;
    let curves = match (options.allocation, calibration) {
        (Allocation::Sensitivity, Some(calibration)) => {
            Some(error_curves(fused, &candidates, &scores, calibration)?)
        }
        _ => None,
    };
    let masks = masks(&candidates, &scores, options, curves.as_ref(), time.as_ref())?;
    let total: usize = candidates.iter().map(Candidate::weights).sum();
    let gone: usize = masks.iter().map(Mask::pruned).sum();
    let is_fixed = matches!(options.structure, Structure::NofM { .. });
    let layers = candidates.iter().zip(masks);
    Ok(PrunePlan {
        criterion: options.criterion,
        allocation: options.allocation,
        amount: if is_fixed { gone as f64 / total.max(1) as f64 } else { options.amount },
        unit: options.unit,
        rank: options.rank,
        structure: options.structure,
        repair: options.repair,
        masks: layers.map(|(candidate, mask)| LayerMask { tensor: candidate.conv.weight(), mask }).collect(),
        updates: Vec::new(),
        skipped,
    })
}

/// The checkpoint with every weight that the plan removes set to zero and its updates made, and the plan on its
/// record.
///
/// # Errors
/// A plan that was made for another network.
pub fn apply(checkpoint: &Checkpoint, plan: &PrunePlan) -> Result<Checkpoint> {
    let mut pruned = checkpoint.clone();
    for TensorUpdate { tensor, values } in &plan.updates {
        elements(&mut pruned, tensor, values.len())?.copy_from_slice(values);
    }
    for LayerMask { tensor, mask } in &plan.masks {
        mask.apply(elements(&mut pruned, tensor, mask.len())?);
    }
    plan.check(&pruned)?;
    pruned.pruning = Some(plan.record());
    Ok(pruned)
}

/// The elements of a tensor, which are as many as the plan says.
fn elements<'a>(checkpoint: &'a mut Checkpoint, name: &str, len: usize) -> Result<&'a mut [f32]> {
    checkpoint.weights.require(name)?;
    let values = match checkpoint.weights.get_mut(name) {
        Some(tensor) => tensor.f32s_mut()?,
        None => &mut [],
    };
    if values.len() != len {
        return Err(PruneError::MaskLength { name: name.to_owned(), mask: len, tensor: values.len() });
    }
    Ok(values)
}

impl PrunePlan {
    /// Number of weights that go.
    pub fn pruned(&self) -> usize {
        self.masks.iter().map(|layer| layer.mask.pruned()).sum()
    }

    /// The mask of a convolution; none for one that is left as it is.
    pub fn mask_of(&self, conv: &ConvRef) -> Option<&Mask> {
        let name = conv.weight();
        self.masks.iter().find(|layer| layer.tensor == name).map(|layer| &layer.mask)
    }

    /// Checks that every removed weight of `checkpoint` is zero.
    ///
    /// # Errors
    /// [`PruneError::NotZero`] with the first tensor where one is not.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        for LayerMask { tensor, mask } in &self.masks {
            let values = checkpoint.weights.f32s(tensor)?;
            if values.len() != mask.len() {
                let (mask, tensor_len) = (mask.len(), values.len());
                return Err(PruneError::MaskLength { name: tensor.clone(), mask, tensor: tensor_len });
            }
            let count = mask.violations(values);
            if count > 0 {
                return Err(PruneError::NotZero { name: tensor.clone(), count });
            }
        }
        Ok(())
    }

    /// What a checkpoint remembers of its pruning.
    fn record(&self) -> serde_json::Value {
        json!({
            "method": Method::of(self.criterion, self.allocation, self.rank),
            "criterion": self.criterion,
            "allocation": self.allocation,
            "amount": self.amount,
            "unit": self.unit,
            "rank": self.rank,
            "structure": self.structure,
            "repair": self.repair,
            "pruned": self.pruned(),
            "skipped": self.skipped.iter().map(|s| s.tensor.as_str()).collect::<Vec<_>>(),
        })
    }
}
