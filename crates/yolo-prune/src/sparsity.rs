//! Counts of zeros, per convolution and in total.

use yolo_model::Model;

use crate::error::Result;

/// Zeros of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparsity {
    /// Parameters, buffers (running statistics, anchors) excluded.
    pub parameters: usize,
    /// Parameters that are zero, −0 included.
    pub zeros: usize,
    /// Weights of convolutions.
    pub conv_weights: usize,
    /// Weights of convolutions that are zero.
    pub conv_zeros: usize,
    /// The convolutions, in the order of the state dict.
    pub layers: Vec<LayerSparsity>,
}

/// Zeros of one convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSparsity {
    /// Name of the convolution, `model.2.cv1`.
    pub name: String,
    /// Shape of its weight: `[out, in / groups, height, width]`.
    pub shape: [usize; 4],
    /// Its weights.
    pub weights: usize,
    /// Those that are zero.
    pub zeros: usize,
}

impl LayerSparsity {
    /// Fraction of zeros, 0 for a convolution without weights.
    pub fn fraction(&self) -> f64 {
        fraction(self.zeros, self.weights)
    }
}

impl Sparsity {
    /// Counts the zeros of a model.
    ///
    /// # Errors
    /// A tensor that is missing or not of floats.
    pub fn of(model: &dyn Model) -> Result<Self> {
        let layout = model.layout();
        let zeros = |name: &str| -> Result<usize> {
            Ok(model.weights().f32s(name)?.iter().filter(|value| **value == 0.0).count())
        };
        let mut layers = Vec::new();
        for conv in layout.convs() {
            let shape = conv.spec.weight_shape();
            let (weights, zeros) = (shape.iter().product(), zeros(&conv.weight())?);
            layers.push(LayerSparsity { name: conv.name, shape, weights, zeros });
        }
        let mut total = Self {
            parameters: 0,
            zeros: 0,
            conv_weights: layers.iter().map(|layer| layer.weights).sum(),
            conv_zeros: layers.iter().map(|layer| layer.zeros).sum(),
            layers,
        };
        for tensor in layout.tensors().iter().filter(|t| t.is_parameter) {
            total.parameters += tensor.shape.iter().product::<usize>();
            total.zeros += zeros(&tensor.name)?;
        }
        Ok(total)
    }

    /// Zeros over all parameters: the reference's account.
    pub fn sparsity(&self) -> f64 {
        fraction(self.zeros, self.parameters)
    }

    /// Fraction of zeros of the convolution called `name`, 0 if there is none.
    pub fn of_conv(&self, name: &str) -> f64 {
        self.layers.iter().find(|layer| layer.name == name).map_or(0.0, LayerSparsity::fraction)
    }

    /// Zeros over the weights of convolutions.
    pub fn conv_sparsity(&self) -> f64 {
        fraction(self.conv_zeros, self.conv_weights)
    }
}

fn fraction(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
