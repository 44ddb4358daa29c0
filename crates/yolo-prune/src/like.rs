//! The zeros of one network, put back into another of the same shape whose training let them grow.

use yolo_model::{Model, Prunable, PruningRecord};

use crate::error::{PruneError, Result};
use crate::mask::Mask;
use crate::plan::LayerMask;

/// A network with the zeros of another.
#[derive(Clone, Debug)]
pub struct Rezeroed<M> {
    /// The network, with the other's record of its pruning.
    pub model: M,
    /// Zeros of the other's convolutions.
    pub zeros: usize,
    /// How many of them were other numbers before.
    pub grown: usize,
}

/// `model` with a zero wherever the weight of a convolution of `pattern` has one; everything else stays. Whether batch
/// normalisation is folded into either does not matter.
///
/// # Errors
/// [`PruneError::OtherNetwork`] names a convolution that the other does not have with the same shape;
/// [`PruneError::NoZeros`] if `pattern` has none.
pub fn zeros_like<M: Prunable>(model: &M, pattern: &dyn Model) -> Result<Rezeroed<M>> {
    let mut rezeroed = model.clone();
    let masks = masks(model, pattern)?;
    let mut grown = 0;
    for LayerMask { tensor, mask } in &masks {
        if let Some(values) = rezeroed.weights_mut().get_mut(tensor) {
            let values = values.f32s_mut()?;
            grown += mask.violations(values);
            mask.apply(values);
        }
    }
    let zeros = masks.iter().map(|layer| layer.mask.pruned()).sum();
    if zeros == 0 {
        return Err(PruneError::NoZeros);
    }
    // Without a record, a training would let them grow again.
    let unknown = || PruningRecord::Other(serde_json::json!({"method": "like", "pruned": zeros}));
    rezeroed.set_pruning(Some(pattern.pruning().cloned().unwrap_or_else(unknown)));
    Ok(Rezeroed { model: rezeroed, zeros, grown })
}

/// The zeros of every convolution of `pattern`, which has to have those of `model`.
fn masks(model: &dyn Model, pattern: &dyn Model) -> Result<Vec<LayerMask>> {
    let (ours, theirs) = (model.layout().convs(), pattern.layout().convs());
    let missing = theirs.iter().find(|conv| ours.iter().all(|own| own.name != conv.name));
    if let Some(conv) = missing {
        return Err(PruneError::OtherNetwork {
            name: conv.name.clone(),
            reason: "only one has it".to_owned(),
        });
    }
    let mut masks = Vec::with_capacity(ours.len());
    for conv in &ours {
        let other = theirs.iter().find(|other| other.name == conv.name);
        let shape = other.map(|other| other.spec.weight_shape());
        if shape != Some(conv.spec.weight_shape()) {
            let own = conv.spec.weight_shape();
            let reason = shape.map_or("only one has it".to_owned(), |shape| {
                format!("its weight has shape {own:?} in one and {shape:?} in the other")
            });
            return Err(PruneError::OtherNetwork { name: conv.name.clone(), reason });
        }
        let tensor = conv.weight();
        let mask = Mask::of_nonzeros(pattern.weights().f32s(&tensor)?);
        masks.push(LayerMask { tensor, mask });
    }
    Ok(masks)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Method, PruneOptions, Sparsity, apply, plan};
    use rand::SeedableRng;
    use yolo_model::{Architecture, Checkpoint};

    fn random(name: &str, seed: u64) -> Checkpoint {
        let architecture = Architecture::variant(name, Some(2)).unwrap();
        Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(seed)).unwrap()
    }

    #[test]
    fn zeros_come_back_and_nothing_else_changes() {
        let dense = random("yolov5n", 1);
        let pruned = apply(&dense, &plan(&dense, &PruneOptions::new(Method::Global, 0.25)).unwrap()).unwrap();
        let zeros = Sparsity::of(&pruned).unwrap().conv_zeros;
        let trained = random("yolov5n", 2);
        // It does not matter which of the two is fused.
        for pattern in [&pruned, &*pruned.fuse().unwrap()] {
            let again = zeros_like(&trained, pattern).unwrap();
            assert_eq!((again.zeros, again.grown), (zeros, zeros));
            assert_eq!(Sparsity::of(&again.model).unwrap().conv_zeros, zeros);
            assert_eq!(again.model.pruning, pruned.pruning);
            for (name, tensor) in trained.weights.iter().filter(|(name, _)| !name.ends_with("v.weight")) {
                let is_head = name.contains(".m.") && name.ends_with(".weight");
                assert!(is_head || again.model.weights.get(name) == Some(tensor), "{name}");
            }
            assert_eq!(zeros_like(&again.model, pattern).unwrap().grown, 0);
        }
        assert!(matches!(zeros_like(&trained, &dense), Err(PruneError::NoZeros)));
        let error = zeros_like(&random("yolov5s", 2), &pruned).unwrap_err().to_string();
        assert!(
            error.contains("model.0: its weight has shape [32, 3, 6, 6] in one and [16, 3, 6, 6]"),
            "{error}"
        );
    }
}
