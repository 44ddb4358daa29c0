//! From a checkpoint to the operations that a plan is made from.

use yolo_model::architecture::{Activation as ModelActivation, ConvRef};
use yolo_model::program::OperationKind;
use yolo_model::weights::StateDict;
use yolo_model::{FusedCheckpoint, ModelError};

use crate::network::{Activation, Conv, Level, Network, Op, Output};

impl Network {
    /// The network of `checkpoint` for `batch` images of `[height, width]`. A run writes the logits of every level,
    /// finest first, each `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// Tensors that are missing or do not fit the architecture.
    pub fn of(
        checkpoint: &FusedCheckpoint<'_>,
        batch: usize,
        [height, width]: [usize; 2],
    ) -> Result<Self, ModelError> {
        let program = checkpoint.architecture.program();
        let mut ops = Vec::with_capacity(program.operations.len());
        for operation in &program.operations {
            let inputs = &operation.inputs;
            ops.push(match &operation.kind {
                OperationKind::Conv(conv) => Op::Conv(lowered(conv, inputs[0], &checkpoint.weights)?),
                OperationKind::Add => Op::Add { inputs: [inputs[0], inputs[1]] },
                OperationKind::Concat => Op::Concat { inputs: inputs.clone() },
                OperationKind::MaxPool { size } => Op::MaxPool { input: inputs[0], size: *size },
                OperationKind::Upsample { scale } => Op::Upsample { input: inputs[0], scale: *scale },
            });
        }
        let mut network = Self {
            batch,
            input: [checkpoint.architecture.in_channels, height, width],
            ops,
            output: Output::Maps(program.outputs),
        };
        network.fuse_residuals();
        Ok(network)
    }
}

impl Network {
    /// The same network whose runs write boxes in place of logits, `[batch, rows, 4 + classes]`: see
    /// [`Output::Detections`].
    pub fn decoded(mut self, checkpoint: &FusedCheckpoint<'_>) -> Self {
        let head = checkpoint.architecture.head();
        let values = self.output.values().into_iter().enumerate();
        let levels = values.map(|(level, value)| Level { value, channels: head.level(level) });
        self.output = Output::Detections(levels.collect());
        self
    }
}

fn lowered(conv: &ConvRef, input: usize, weights: &StateDict) -> Result<Conv, ModelError> {
    let spec = &conv.spec;
    let weight = weights.f32s(&conv.weight())?;
    Ok(Conv {
        name: conv.name.clone(),
        input,
        weight: if spec.groups == 1 { weight.to_vec() } else { ungrouped(conv, weight) },
        bias: weights.f32s(&conv.bias())?.to_vec(),
        out_channels: spec.out_channels,
        kernel: spec.kernel,
        stride: spec.stride,
        padding: spec.padding,
        dilation: spec.dilation,
        activation: match spec.activation {
            ModelActivation::Silu => Activation::Silu,
            ModelActivation::Relu => Activation::Relu,
            ModelActivation::LeakyRelu { slope } => Activation::LeakyRelu(slope),
            ModelActivation::Identity => Activation::None,
        },
        residual: None,
    })
}

/// A grouped convolution as an ordinary one with zeros between the groups, which the sparse kernels skip.
fn ungrouped(conv: &ConvRef, weight: &[f32]) -> Vec<f32> {
    let spec = &conv.spec;
    let taps = spec.kernel[0] * spec.kernel[1];
    let per_group = [spec.out_channels / spec.groups, spec.in_channels / spec.groups * taps];
    let mut dense = vec![0.0; spec.out_channels * spec.in_channels * taps];
    for (out, row) in weight.chunks_exact(per_group[1]).enumerate() {
        let start = out * spec.in_channels * taps + out / per_group[0] * per_group[1];
        dense[start..start + row.len()].copy_from_slice(row);
    }
    dense
}
