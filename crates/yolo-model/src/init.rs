//! Weights for a network that was never trained.

use std::collections::HashMap;

use rand::Rng;

use crate::architecture::Architecture;
use crate::layout::Layout;
use crate::modules::one2many_path;
use crate::program::OperationKind;
use crate::weights::{HostTensor, StateDict};

impl Architecture {
    /// Random weights by PyTorch's rule: weights and biases of convolutions uniform in ±1/√fan_in, batch
    /// normalisation the identity. The head's biases start at its priors, and its one-to-one branches as copies of its
    /// one-to-many branches (§1.4 of Ultralytics' specification): one learns from what the other shapes the features for.
    pub fn initial_weights(&self, rng: &mut impl Rng) -> StateDict {
        let mut weights = random_tensors(self, rng);
        self.copy_branches(&mut weights);
        for (name, tensor) in self.head_buffers() {
            weights.insert(name, tensor);
        }
        let program = self.program();
        for (output, &value) in program.outputs.iter().enumerate() {
            for (part, conv) in program.parts_of_output(value).enumerate() {
                if let Some(bias) = weights.get_mut(&conv.bias()).and_then(|tensor| tensor.f32s_mut().ok()) {
                    self.head().add_priors([output, part], bias);
                }
            }
        }
        weights
    }

    /// Makes one-to-one branches equal the one-to-many branches, where the head has both.
    fn copy_branches(&self, weights: &mut StateDict) {
        let head = format!("model.{}.", self.layers.len().saturating_sub(1));
        let names: Vec<String> = weights.names().map(str::to_owned).collect();
        for name in names {
            let Some(path) = name.strip_prefix(&head).and_then(one2many_path) else { continue };
            let source = weights.get(&format!("{head}{path}")).cloned();
            if let (Some(source), Some(target)) = (source, weights.get_mut(&name))
                && source.shape == target.shape
            {
                *target = source;
            }
        }
    }

    /// Tensors of the head that are not learned, under their names in the state dict.
    pub(crate) fn head_buffers(&self) -> Vec<(String, HostTensor)> {
        let layer = self.layers.len().saturating_sub(1);
        let buffers = self.head().buffers().into_iter();
        buffers.map(|(name, tensor)| (format!("model.{layer}.{name}"), tensor)).collect()
    }
}

/// Random weights by PyTorch's rule: weights and biases of convolutions uniform in ±1/√fan_in, batch normalisation the
/// identity. Other buffers are 0.
pub(crate) fn random_tensors(layout: &dyn Layout, rng: &mut impl Rng) -> StateDict {
    let mut bounds = HashMap::new();
    for conv in layout.convs() {
        let fan_in = conv.spec.weight_shape()[1..].iter().product::<usize>().max(1);
        bounds.insert(conv.weight(), (fan_in as f32).sqrt().recip());
        bounds.insert(conv.bias(), (fan_in as f32).sqrt().recip());
    }
    for operation in layout.program().operations {
        if let OperationKind::Transposed(transposed) = operation.kind {
            // PyTorch takes the second dimension for the inputs here too.
            let fan_in = transposed.spec.weight_shape()[1..].iter().product::<usize>().max(1);
            bounds.insert(transposed.weight(), (fan_in as f32).sqrt().recip());
            bounds.insert(transposed.bias(), (fan_in as f32).sqrt().recip());
        }
    }
    let mut weights = StateDict::default();
    for spec in layout.tensors() {
        let count = spec.shape.iter().product::<usize>();
        let tensor = if let Some(&bound) = bounds.get(&spec.name) {
            let values = (0..count).map(|_| rng.random_range(-bound..bound)).collect();
            HostTensor::from_f32s(spec.shape, values)
        } else if spec.name.ends_with("num_batches_tracked") {
            HostTensor::from_i64s(spec.shape, vec![0])
        } else {
            let one = spec.name.ends_with(".weight") || spec.name.ends_with("running_var");
            HostTensor::from_f32s(spec.shape, vec![if one { 1.0 } else { 0.0 }; count])
        };
        weights.insert(spec.name, tensor);
    }
    weights
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn one_to_one_branches_start_as_copies_and_nothing_else_does() {
        let architecture = Architecture::variant("yolo26n", None).unwrap();
        let weights = architecture.initial_weights(&mut rand::rngs::StdRng::seed_from_u64(0));
        let values = |name: &str| weights.f32s(name).unwrap();
        for name in ["cv2.0.0.conv.weight", "cv2.2.2.bias", "cv3.1.1.1.conv.weight", "cv3.0.2.bias"] {
            assert_eq!(
                values(&format!("model.23.{name}")),
                values(&format!("model.23.one2one_{name}")),
                "{name}"
            );
        }
        assert_ne!(values("model.23.cv3.0.1.0.conv.weight"), values("model.23.cv3.1.1.0.conv.weight"));
    }
}
