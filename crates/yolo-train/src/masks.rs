//! Masks in training: a removed weight has no gradient, so it stays zero.

use std::collections::BTreeMap;

use yolo_model::Checkpoint;
use yolo_model::weights::StateDict;
use yolo_prune::{LayerMask, Mask, PrunePlan};

use crate::error::{Result, TrainError};
use crate::optimizer::{Optimizer, PerParameter};

/// The masks of a network, by the name of the tensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Masks {
    layers: BTreeMap<String, Mask>,
}

impl Masks {
    /// The masks of a pruning.
    pub fn of(plan: &PrunePlan) -> Self {
        Self::from_layers(plan.masks.clone())
    }

    /// The masks of a checkpoint with a pruning record: the zeros of its convolutions. No masks for another one.
    ///
    /// # Errors
    /// A tensor that is missing.
    pub fn of_zeros(checkpoint: &Checkpoint) -> Result<Self> {
        if checkpoint.pruning.is_none() {
            return Ok(Self::default());
        }
        let mut layers = Vec::new();
        for conv in checkpoint.architecture.convs() {
            let tensor = conv.weight();
            let mask = Mask::of_nonzeros(checkpoint.weights.f32s(&tensor)?);
            if mask.pruned() > 0 {
                layers.push(LayerMask { tensor, mask });
            }
        }
        Ok(Self::from_layers(layers))
    }

    /// The masks of single tensors.
    pub fn from_layers(layers: impl IntoIterator<Item = LayerMask>) -> Self {
        Self { layers: layers.into_iter().map(|layer| (layer.tensor, layer.mask)).collect() }
    }

    /// Names and masks, in the order of the names.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &Mask)> {
        self.layers.iter().map(|(name, mask)| (name.as_str(), mask))
    }

    /// The mask of a tensor, if it has one.
    pub fn get(&self, name: &str) -> Option<&Mask> {
        self.layers.get(name)
    }

    /// Whether nothing is masked.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Number of weights removed.
    pub fn pruned(&self) -> usize {
        self.layers.values().map(Mask::pruned).sum()
    }

    /// Sets the gradients of removed weights to zero, and with them decay and momentum, which are products with
    /// zero. A rule that mixes gradients of several weights needs [`Optimizer::step_masked`] besides.
    pub fn apply_to(&self, gradients: &mut PerParameter) {
        for (name, mask) in &self.layers {
            if let Some(gradient) = gradients.get_mut(name) {
                mask.apply(gradient);
            }
        }
    }

    /// Sets removed weights to zero, and the optimiser's memory of them.
    ///
    /// # Errors
    /// A mask without a tensor of its length.
    pub fn remove(&self, weights: &mut StateDict, optimizer: &mut Optimizer) -> Result<()> {
        self.remove_from(weights)?;
        for (name, mask) in &self.layers {
            for moments in [&mut optimizer.first, &mut optimizer.second] {
                if let Some(moments) = moments.get_mut(name).filter(|moments| moments.len() == mask.len()) {
                    mask.apply(moments);
                }
            }
        }
        Ok(())
    }

    /// Sets removed weights to zero.
    ///
    /// # Errors
    /// A mask without a tensor of its length.
    pub fn remove_from(&self, weights: &mut StateDict) -> Result<()> {
        for (name, mask) in &self.layers {
            let values = weights.get_mut(name).map(|tensor| tensor.f32s_mut());
            match values {
                Some(Ok(values)) if values.len() == mask.len() => mask.apply(values),
                _ => return Err(unfit(name)),
            }
        }
        Ok(())
    }

    /// Checks that every removed weight of `weights` is exactly zero; `place` names whose weights they are.
    ///
    /// # Errors
    /// [`TrainError::MaskBroken`] with the first tensor where one is not.
    pub fn check(&self, weights: &StateDict, place: &'static str) -> Result<()> {
        for (name, mask) in self.layers() {
            let values = weights.f32s(name)?;
            if values.len() != mask.len() {
                return Err(unfit(name));
            }
            let count = mask.violations(values);
            if count > 0 {
                return Err(TrainError::MaskBroken { tensor: name.to_owned(), count, place });
            }
        }
        Ok(())
    }
}

fn unfit(name: &str) -> TrainError {
    TrainError::State { reason: format!("the mask of {name} does not fit the network") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::optimizer::Rule;
    use crate::schedule::Rates;
    use yolo_model::weights::HostTensor;

    const NAME: &str = "model.0.conv.weight";

    fn setup() -> (StateDict, Masks) {
        let mut weights = StateDict::new();
        weights.insert(NAME, HostTensor::from_f32s([2, 2, 1, 1], vec![1.0, -2.0, 3.0, -4.0]));
        let mut mask = Mask::keep_all(4);
        mask.prune(1);
        mask.prune(2);
        (weights, Masks::from_layers([LayerMask { tensor: NAME.to_owned(), mask }]))
    }

    #[test]
    fn removed_weights_stay_zero_under_every_rule() {
        for rule in [Rule::Sgd, Rule::Adam, Rule::AdamW, Rule::MuSgd] {
            let (mut weights, masks) = setup();
            let mut optimizer = Optimizer::new(rule, 0.01);
            let rates = Rates { bias_lr: 0.1, lr: 0.1, momentum: 0.9, accumulate: 1 };
            // A step before the pruning leaves momentum behind, which has to go as well.
            let gradients = PerParameter::from([(NAME.to_owned(), vec![1.0, 1.0, 1.0, 1.0])]);
            optimizer.step(&mut weights, &gradients, &rates).unwrap();
            masks.remove(&mut weights, &mut optimizer).unwrap();
            for _ in 0..5 {
                let mut masked = gradients.clone();
                masks.apply_to(&mut masked);
                optimizer.step_masked(&mut weights, &masked, &rates, &masks).unwrap();
                masks.check(&weights, "the weights").unwrap();
            }
            let values = weights.f32s(NAME).unwrap();
            assert_eq!((values[1].to_bits(), values[2].to_bits()), (0, 0));
            assert!(values[0] != 1.0 && values[3] != -4.0, "the others moved");
        }
    }

    #[test]
    fn a_weight_that_came_back_is_an_error() {
        let (mut weights, masks) = setup();
        let error = masks.check(&weights, "the average").unwrap_err().to_string();
        assert!(error.contains(NAME) && error.contains('2') && error.contains("the average"), "{error}");
        masks.remove_from(&mut weights).unwrap();
        masks.check(&weights, "the average").unwrap();
        assert_eq!(masks.pruned(), 2);
    }
}
