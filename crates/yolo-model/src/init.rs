//! Weights for a network that was never trained.

use std::collections::HashMap;

use rand::Rng;

use crate::architecture::{Architecture, ConvRef};
use crate::layout::Layout;
use crate::weights::{HostTensor, StateDict};

/// Objects that one 640×640 image is expected to hold, for the prior of the objectness bias.
const OBJECTS_PER_IMAGE: f32 = 8.0;
/// Expected probability mass of the classes, for the prior of the class biases.
const CLASS_PRIOR: f32 = 0.6;

impl Architecture {
    /// Random weights by PyTorch's rule: weights and biases of convolutions uniform in ±1/√fan_in, batch
    /// normalisation the identity. The head's biases start at priors: objectness `+ ln(8 / (640 / stride)²)`,
    /// classes `+ ln(0.6 / (num_classes − 0.99999))`.
    pub fn initial_weights(&self, rng: &mut impl Rng) -> StateDict {
        let mut weights = random_tensors(self, rng);
        let detect = self.detect();
        let shape = [detect.strides.len(), detect.n_anchors(), 2];
        weights.insert(self.anchors_name(), HostTensor::from_f32s(shape, self.anchors_in_cells()));
        for (level, conv) in self.program().output_convs().enumerate() {
            self.add_priors(level, conv, &mut weights);
        }
        weights
    }

    /// The anchors divided by the strides: the buffer `[levels, anchors, 2]` of the state dict.
    pub(crate) fn anchors_in_cells(&self) -> Vec<f32> {
        let detect = self.detect();
        let levels = detect.anchors.iter().zip(&detect.strides);
        levels
            .flat_map(|(level, &stride)| level.iter().flatten().map(move |side| side / stride as f32))
            .collect()
    }

    fn add_priors(&self, level: usize, conv: &ConvRef, weights: &mut StateDict) {
        let detect = self.detect();
        let cells = (640.0 / detect.strides[level] as f32).powi(2);
        let objectness = (OBJECTS_PER_IMAGE / cells).ln();
        let class = (CLASS_PRIOR / (detect.num_classes as f32 - 0.99999)).ln();
        let bias = weights.get_mut(&conv.bias()).and_then(|tensor| tensor.f32s_mut().ok());
        for anchor in bias.into_iter().flat_map(|bias| bias.chunks_exact_mut(detect.n_outputs())) {
            anchor[4] += objectness;
            anchor[5..].iter_mut().for_each(|b| *b += class);
        }
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
