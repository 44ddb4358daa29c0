//! Weights for a network that was never trained.

use std::collections::HashMap;

use rand::Rng;

use crate::architecture::Architecture;
use crate::weights::{HostTensor, StateDict};

impl Architecture {
    /// Random weights by PyTorch's rule: weights and biases of convolutions uniform in ±1/√fan_in, batch
    /// normalisation the identity. The head's biases start at its priors.
    pub fn initial_weights(&self, rng: &mut impl Rng) -> StateDict {
        let mut weights = StateDict::default();
        let convs = self.convs();
        let mut bound_of_bias = HashMap::new();
        for conv in &convs {
            let fan_in = conv.spec.weight_shape()[1..].iter().product::<usize>().max(1);
            bound_of_bias.insert(conv.weight(), (fan_in as f32).sqrt().recip());
            bound_of_bias.insert(conv.bias(), (fan_in as f32).sqrt().recip());
        }
        let mut buffers: HashMap<String, HostTensor> = self.head_buffers().into_iter().collect();
        for spec in self.tensors() {
            let count = spec.shape.iter().product::<usize>();
            let tensor = if let Some(&bound) = bound_of_bias.get(&spec.name) {
                let values = (0..count).map(|_| rng.random_range(-bound..bound)).collect();
                HostTensor::from_f32s(spec.shape, values)
            } else if spec.name.ends_with("num_batches_tracked") {
                HostTensor::from_i64s(spec.shape, vec![0])
            } else if let Some(tensor) = buffers.remove(&spec.name) {
                tensor
            } else {
                let one = spec.name.ends_with(".weight") || spec.name.ends_with("running_var");
                HostTensor::from_f32s(spec.shape, vec![if one { 1.0 } else { 0.0 }; count])
            };
            weights.insert(spec.name, tensor);
        }
        for (level, conv) in convs.iter().filter(|c| c.is_head).enumerate() {
            if let Some(bias) = weights.get_mut(&conv.bias()).and_then(|tensor| tensor.f32s_mut().ok()) {
                self.head().add_priors(level, bias);
            }
        }
        weights
    }

    /// Tensors of the head that are not learned, under their names in the state dict.
    pub(crate) fn head_buffers(&self) -> Vec<(String, HostTensor)> {
        let layer = self.layers.len().saturating_sub(1);
        let buffers = self.head().buffers().into_iter();
        buffers.map(|(name, tensor)| (format!("model.{layer}.{name}"), tensor)).collect()
    }
}
