//! The pairs that `torch.nn.utils.prune` leaves in a network: `weight_orig` and `weight_mask` for `weight`.
//!
//! Their product is what the network computes with. A plain tensor `weight` that the pickle may hold besides is a copy
//! from an earlier forward pass, and is not read.

use super::{HostTensor, StateDict, Values, WeightsError, WeightsErrorKind};

/// What follows the name of a parameter in the name of its unmasked values.
pub(super) const ORIGINAL: &str = "_orig";
/// What follows it in the name of its mask.
pub(super) const MASK: &str = "_mask";

/// Masks that were multiplied in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoldedMasks {
    /// The parameters that had one, in the order of the file.
    pub tensors: Vec<String>,
    /// Their elements.
    pub elements: usize,
    /// Elements whose mask is zero.
    pub pruned: usize,
}

/// Replaces every pair by its product under the name of the parameter, in the place of the unmasked values. Those without a
/// mask keep their values.
///
/// # Errors
/// A mask of another shape than its values.
pub(super) fn fold(state: StateDict) -> Result<(StateDict, FoldedMasks), WeightsError> {
    let masked = |name: &str| name.strip_suffix(ORIGINAL).is_some_and(|name| !state.contains(name));
    if !state.names().any(masked) {
        return Ok((state, FoldedMasks::default()));
    }
    let mut folded = StateDict { origin: state.origin.clone(), ..StateDict::default() };
    let mut masks = FoldedMasks::default();
    for (name, tensor) in state.iter() {
        let Some(parameter) = name.strip_suffix(ORIGINAL).filter(|_| masked(name)) else {
            let is_folded =
                name.strip_suffix(MASK).is_some_and(|name| state.contains(&format!("{name}{ORIGINAL}")));
            if !is_folded {
                folded.insert(name, tensor.clone());
            }
            continue;
        };
        let Some(mask) = state.get(&format!("{parameter}{MASK}")) else {
            folded.insert(parameter, tensor.clone());
            continue;
        };
        let product = product(tensor, mask).map_err(|error| error.at(format!("{parameter}{MASK}")))?;
        masks.tensors.push(parameter.to_owned());
        masks.elements += tensor.element_count();
        masks.pruned += zeros(mask);
        folded.insert(parameter, product);
    }
    Ok((folded, masks))
}

fn product(tensor: &HostTensor, mask: &HostTensor) -> Result<HostTensor, WeightsError> {
    if mask.shape != tensor.shape {
        let reason = format!("the mask has shape {:?} and its parameter {:?}", mask.shape, tensor.shape);
        return Err(WeightsError::damaged(reason));
    }
    let values = tensor.f32s()?;
    let product = match &mask.values {
        Values::F32(mask) => values.iter().zip(mask).map(|(value, mask)| value * mask).collect(),
        // Boolean masks.
        Values::I64(mask) => values.iter().zip(mask).map(|(value, &mask)| value * mask as f32).collect(),
    };
    let product = HostTensor::from_f32s(tensor.shape.clone(), product);
    let is_finite = product.f32s()?.iter().all(|value| value.is_finite());
    if is_finite || !values.iter().all(|value| value.is_finite()) {
        return Ok(product);
    }
    let reason = "the mask has values that are not finite; a mask holds 0 and 1";
    Err(WeightsError::new(
        WeightsErrorKind::Type,
        reason,
        "make the pruning permanent with prune.remove and save again",
    ))
}

fn zeros(mask: &HostTensor) -> usize {
    match &mask.values {
        Values::F32(values) => values.iter().filter(|value| **value == 0.0).count(),
        Values::I64(values) => values.iter().filter(|value| **value == 0).count(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn state(tensors: &[(&str, HostTensor)]) -> StateDict {
        tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect()
    }

    #[test]
    fn a_pair_becomes_its_product_in_its_place() {
        let values = HostTensor::from_f32s([2, 2], vec![1.5, -2.0, 0.0, 4.0]);
        let plain = HostTensor::from_f32s([1], vec![7.0]);
        let (folded, masks) = fold(state(&[
            ("a.bias", plain.clone()),
            ("a.weight_orig", values.clone()),
            ("a.weight_mask", HostTensor::from_f32s([2, 2], vec![0.0, 1.0, 1.0, 0.0])),
            ("b.weight_orig", values.clone()),
            ("b.bias_orig", values.clone()),
            ("b.bias_mask", HostTensor::from_i64s([2, 2], vec![1, 0, 0, 1])),
            ("c.weight_mask", plain.clone()),
        ]))
        .unwrap();
        assert_eq!(
            folded.names().collect::<Vec<_>>(),
            ["a.bias", "a.weight", "b.weight", "b.bias", "c.weight_mask"]
        );
        assert_eq!(folded.f32s("a.weight").unwrap(), [0.0, -2.0, 0.0, 0.0]);
        assert_eq!(folded.f32s("b.weight").unwrap(), [1.5, -2.0, 0.0, 4.0]);
        assert_eq!(folded.f32s("b.bias").unwrap(), [1.5, 0.0, 0.0, 4.0]);
        assert_eq!(
            (masks.tensors, masks.elements, masks.pruned),
            (vec!["a.weight".into(), "b.bias".into()], 8, 4)
        );
    }

    #[test]
    fn a_mask_that_does_not_fit_is_named() {
        let pair = |mask| {
            state(&[("a.weight_orig", HostTensor::from_f32s([2], vec![1.0, 2.0])), ("a.weight_mask", mask)])
        };
        let error = fold(pair(HostTensor::from_f32s([1], vec![1.0]))).unwrap_err();
        assert!(error.to_string().contains("`a.weight_mask`: the mask has shape [1]"), "{error}");
        let error = fold(pair(HostTensor::from_f32s([2], vec![1.0, f32::NAN]))).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
}
