//! Batch normalisation that changes nothing, for readers that expect some behind every convolution.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::architecture::{Architecture, BATCH_NORM_EPSILON, ConvRef, TensorSpec};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::weights::{HostTensor, StateDict};

impl Checkpoint {
    /// The same detector with batch normalisation; one that has it is borrowed.
    ///
    /// The added one has `γ = 1`, mean 0 and a variance with `var + ε = 1`, and the bias becomes its `β`, so fusing gives
    /// the convolutions back bit for bit.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than the architecture says.
    pub(crate) fn with_batch_norm(&self) -> Result<Cow<'_, Self>> {
        if !self.architecture.fused {
            return Ok(Cow::Borrowed(self));
        }
        self.check_tensors()?;
        let architecture = Architecture { fused: false, ..self.architecture.clone() };
        let blocks: HashMap<String, ConvRef> = architecture
            .convs()
            .into_iter()
            .filter(|conv| !conv.is_bare)
            .map(|conv| (conv.name.clone(), conv))
            .collect();
        let mut weights = StateDict::new();
        for TensorSpec { name, shape, .. } in architecture.tensors() {
            let block = name.rsplit_once(".bn.").and_then(|(block, what)| Some((blocks.get(block)?, what)));
            let tensor = match (self.weights.get(&name), block) {
                (Some(stored), _) => stored.clone(),
                (None, Some((block, "bias"))) => self.weights.require(&block.bias())?.clone(),
                (None, Some((_, what))) => neutral(what, shape),
                (None, None) => self.weights.require(&name)?.clone(),
            };
            weights.insert(name, tensor);
        }
        let (class_names, pruning) = (self.class_names.clone(), self.pruning.clone());
        let unfused = Self { architecture, weights, class_names, pruning };
        unfused.check_tensors()?;
        Ok(Cow::Owned(unfused))
    }
}

/// A tensor of a batch normalisation that changes nothing, its bias aside.
fn neutral(what: &str, shape: Vec<usize>) -> HostTensor {
    let value = match what {
        "num_batches_tracked" => return HostTensor::from_i64s(shape, vec![0]),
        "running_mean" => 0.0,
        "running_var" => 1.0 - BATCH_NORM_EPSILON as f32,
        _ => 1.0,
    };
    let count = shape.iter().product();
    HostTensor::from_f32s(shape, vec![value; count])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn fusing_gives_a_fused_network_back() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        let n = Architecture::variant("yolov5n", Some(2)).unwrap();
        let mut network = Checkpoint::random(n, &mut rng).unwrap();
        for (name, tensor) in network.weights.iter_mut().filter(|(name, _)| name.contains(".bn.running")) {
            let shift = if name.ends_with("var") { 0.7 } else { 0.1 };
            tensor.f32s_mut().unwrap().iter_mut().for_each(|value| *value += shift);
        }
        assert!(matches!(network.with_batch_norm().unwrap(), Cow::Borrowed(_)));
        let fused = network.fuse().unwrap();
        let unfused = fused.with_batch_norm().unwrap();
        assert!(!unfused.architecture.fused);
        assert_eq!(unfused.fuse().unwrap().weights, fused.weights);
    }
}
