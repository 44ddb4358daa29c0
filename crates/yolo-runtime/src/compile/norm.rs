//! Batch normalisation that stands alone.

use yolo_model::ModelError;
use yolo_model::architecture::NormRef;
use yolo_model::program::OperationKind;

use super::{Compiler, activation};
use crate::network::{Activation, Conv, Op, ValueId};

/// A convolution that makes some of the channels of a value.
struct Producer {
    /// Its value here.
    value: ValueId,
    /// The first of its channels.
    first: usize,
}

impl Compiler<'_> {
    /// Folds a normalisation of the program's value `input` into the convolutions that make it, or appends it as a
    /// convolution of one channel each.
    pub(super) fn norm(&mut self, norm: &NormRef, input: ValueId) -> Result<ValueId, ModelError> {
        let weights = self.weights;
        let vector = |what: &str| weights.f32s(&norm.tensor(what));
        let (beta, mean) = (vector("bias")?, vector("running_mean")?);
        let scale = norm.scales(weights)?;
        let shift: Vec<f32> = (0..beta.len()).map(|c| beta[c] - scale[c] * mean[c]).collect();
        let mut producers = Vec::new();
        if self.find_producers(input, 0, &mut producers).is_some() {
            for Producer { value, first } in producers {
                if let Op::Conv(conv) = &mut self.ops[value - 1] {
                    fold(conv, &scale[first..], &shift[first..]);
                    conv.activation = activation(norm.spec.activation);
                }
            }
            return Ok(self.value_of[input]);
        }
        let conv = Conv {
            name: norm.name.clone(),
            input: self.value_of[input],
            weight: scale,
            bias: shift,
            out_channels: norm.spec.channels,
            groups: norm.spec.channels,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            activation: activation(norm.spec.activation),
            residual: None,
        };
        Ok(self.push(Op::Conv(conv)))
    }

    /// The convolutions whose channels make up a value, from channel `first` on; `None` if anything else has a part in it,
    /// or reads a part of it. Returns the channel behind the last.
    fn find_producers(&self, value: ValueId, first: usize, found: &mut Vec<Producer>) -> Option<usize> {
        let operation = self.program.operations.get(value.checked_sub(1)?)?;
        if self.reads[value] != 1 {
            return None;
        }
        match &operation.kind {
            OperationKind::Conv(conv) if conv.spec.activation.is_identity() => {
                found.push(Producer { value: self.value_of[value], first });
                Some(first + conv.spec.out_channels)
            }
            OperationKind::Concat => operation
                .inputs
                .iter()
                .try_fold(first, |first, &input| self.find_producers(input, first, found)),
            _ => None,
        }
    }
}

/// Scales and shifts what a convolution makes.
fn fold(conv: &mut Conv, scale: &[f32], shift: &[f32]) {
    debug_assert_eq!(conv.activation, Activation::None);
    let row = conv.weight.len() / conv.out_channels;
    for (channel, weights) in conv.weight.chunks_exact_mut(row).enumerate() {
        weights.iter_mut().for_each(|weight| *weight *= scale[channel]);
        conv.bias[channel] = conv.bias[channel] * scale[channel] + shift[channel];
    }
}
