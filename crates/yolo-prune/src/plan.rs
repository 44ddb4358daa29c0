//! The plan of a pruning, and its application.

use yolo_model::architecture::ConvRef;
use yolo_model::pruning::{PruningRecord, WeightRecord};
use yolo_model::weights::StateDict;
use yolo_model::{Model, Prunable};

use crate::error::{PruneError, Result};
use crate::mask::Mask;
use crate::method::{Allocation, Criterion, Method, Rank, Repair, Unit, name};
use crate::pattern::Structure;

/// What a pruning changes: plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct PrunePlan {
    /// The criterion that ranked weights.
    pub criterion: Criterion,
    /// How the amount was divided.
    pub allocation: Allocation,
    /// The fraction asked for; with n:m, the one that follows from it.
    pub amount: f64,
    /// What it is a fraction of.
    pub unit: Unit,
    /// Whether magnitudes were compared as stored or after fusing.
    pub rank: Rank,
    /// Which weights are removed together.
    pub structure: Structure,
    /// How the remaining weights are adjusted.
    pub repair: Repair,
    /// One mask per convolution that is pruned, in the order of the state dict.
    pub masks: Vec<LayerMask>,
    /// Tensors whose remaining values change.
    pub updates: Vec<TensorUpdate>,
    /// Convolutions that do not change, and why.
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

/// The model with every weight that the plan removes set to zero and its updates made, and the plan on its record.
///
/// # Errors
/// A plan that was made for another network.
pub fn apply<M: Prunable>(model: &M, plan: &PrunePlan) -> Result<M> {
    let mut pruned = model.clone();
    for TensorUpdate { tensor, values } in &plan.updates {
        elements(pruned.weights_mut(), tensor, values.len())?.copy_from_slice(values);
    }
    for LayerMask { tensor, mask } in &plan.masks {
        mask.apply(elements(pruned.weights_mut(), tensor, mask.len())?);
    }
    plan.check(&pruned)?;
    pruned.set_pruning(Some(plan.record()));
    Ok(pruned)
}

/// The elements of a tensor, after checking their number.
fn elements<'a>(weights: &'a mut StateDict, name: &str, len: usize) -> Result<&'a mut [f32]> {
    weights.require(name)?;
    let values = match weights.get_mut(name) {
        Some(tensor) => tensor.f32s_mut()?,
        None => &mut [],
    };
    if values.len() != len {
        return Err(PruneError::MaskLength { name: name.to_owned(), mask: len, tensor: values.len() });
    }
    Ok(values)
}

impl PrunePlan {
    /// Number of weights removed.
    pub fn pruned(&self) -> usize {
        self.masks.iter().map(|layer| layer.mask.pruned()).sum()
    }

    /// The mask of a convolution; none for one that does not change.
    pub fn mask_of(&self, conv: &ConvRef) -> Option<&Mask> {
        let name = conv.weight();
        self.masks.iter().find(|layer| layer.tensor == name).map(|layer| &layer.mask)
    }

    /// Checks that every removed weight of `model` is zero.
    ///
    /// # Errors
    /// [`PruneError::NotZero`] with the first tensor that has one that is not.
    pub fn check(&self, model: &dyn Model) -> Result<()> {
        for LayerMask { tensor, mask } in &self.masks {
            let values = model.weights().f32s(tensor)?;
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

    /// The record of this pruning for the model.
    fn record(&self) -> PruningRecord {
        PruningRecord::Weights(Box::new(WeightRecord {
            method: Method::of(self.criterion, self.allocation, self.rank).map(|method| name(&method)),
            criterion: name(&self.criterion),
            allocation: name(&self.allocation),
            amount: self.amount,
            unit: name(&self.unit),
            rank: name(&self.rank),
            structure: self.structure.to_string(),
            repair: name(&self.repair),
            pruned: self.pruned(),
            skipped: self.skipped.iter().map(|skipped| skipped.tensor.clone()).collect(),
            other: Default::default(),
        }))
    }
}
