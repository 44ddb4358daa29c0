//! From a checkpoint to the operations that a plan is made from.
//!
//! What has no kernel becomes something that has: batch normalisation goes into the convolutions before it, or becomes a
//! convolution of one channel each; a transposed convolution becomes an ordinary one whose channels are the pixels of
//! squares; squares of pixels that only convolutions read become larger windows of those.

mod attention;
mod norm;
mod squares;
mod transposed;

use std::collections::HashMap;

use yolo_model::architecture::{Activation as ModelActivation, ConvRef};
use yolo_model::program::{OperationKind, Program};
use yolo_model::weights::StateDict;
use yolo_model::{FusedCheckpoint, Model, ModelError, fused_weights};

use crate::network::{Activation, Conv, Level, Network, Op, Output, ValueId};

impl Network {
    /// The network of `checkpoint` for `batch` images of `[height, width]`. A run writes the logits of every level,
    /// finest first, each `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// Tensors that are missing or do not fit the architecture; an operation that the runtime does not have.
    pub fn of(checkpoint: &FusedCheckpoint<'_>, batch: usize, size: [usize; 2]) -> Result<Self, ModelError> {
        let program = checkpoint.architecture.program();
        Self::showing(checkpoint, batch, size, &program.outputs)
    }

    /// The same network whose runs write other values of the checkpoint's program: those numbered `values`, one after the
    /// other, each `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// As [`Network::of`].
    pub fn showing(
        checkpoint: &FusedCheckpoint<'_>,
        batch: usize,
        size: [usize; 2],
        values: &[ValueId],
    ) -> Result<Self, ModelError> {
        let program = checkpoint.architecture.program();
        Self::compiled(&program, &checkpoint.weights, batch, size, values)
    }

    /// Any network for `batch` images of `[height, width]`, such as a [`yolo_model::program::ProgramModel`]. A run writes the
    /// program's outputs, one after the other, each `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// As [`Network::of`]; widths that disagree.
    pub fn of_model(model: &dyn Model, batch: usize, size: [usize; 2]) -> Result<Self, ModelError> {
        model.layout().validate()?;
        model.check_tensors()?;
        let program = model.layout().program();
        Self::compiled(&program, &*fused_weights(model)?, batch, size, &program.outputs)
    }

    fn compiled(
        program: &Program,
        fused: &StateDict,
        batch: usize,
        [height, width]: [usize; 2],
        values: &[ValueId],
    ) -> Result<Self, ModelError> {
        let mut compiler = Compiler::new(program, values, fused);
        for index in 0..program.operations.len() {
            let value = compiler.operation(index)?;
            compiler.value_of.push(value);
        }
        let shown = values.iter().map(|&value| compiler.value_of[value]).collect();
        let input = [program.channels[0], height, width];
        let mut network = Self { batch, input, ops: compiler.ops, output: Output::Maps(shown) };
        network.fuse_residuals();
        Ok(network)
    }

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

/// Operations in the making.
struct Compiler<'a> {
    program: &'a Program,
    weights: &'a StateDict,
    /// How often each value of the program is read or returned.
    reads: Vec<usize>,
    ops: Vec<Op>,
    /// The value here of each value of the program.
    value_of: Vec<ValueId>,
    /// Where the channels of a value of the program are here, if they are in another order.
    places: HashMap<ValueId, Vec<usize>>,
}

impl<'a> Compiler<'a> {
    fn new(program: &'a Program, shown: &[ValueId], weights: &'a StateDict) -> Self {
        let mut reads: Vec<usize> = program.readers().iter().map(Vec::len).collect();
        shown.iter().for_each(|&value| reads[value] += 1);
        Self { program, weights, reads, ops: Vec::new(), value_of: vec![0], places: HashMap::new() }
    }

    /// Appends what makes the value of operation `index`, and returns that value.
    fn operation(&mut self, index: usize) -> Result<ValueId, ModelError> {
        let operation = &self.program.operations[index];
        let inputs: Vec<ValueId> = operation.inputs.iter().map(|&input| self.value_of[input]).collect();
        let input = inputs[0];
        Ok(match &operation.kind {
            OperationKind::Conv(conv) => {
                let lowered = self.conv(conv, input)?;
                let lowered = self.over_squares(lowered, operation.inputs[0]);
                let lowered = self.by_part(lowered, index + 1);
                self.push(Op::Conv(lowered))
            }
            OperationKind::Norm(norm) => self.norm(norm, operation.inputs[0])?,
            OperationKind::Transposed(transposed) => self.transposed(transposed, input)?,
            OperationKind::Attention(spec) => self.push(self.attention(*spec, operation.inputs[0])),
            OperationKind::Detach => input,
            OperationKind::Add => self.push(Op::Add { inputs: [input, inputs[1]] }),
            OperationKind::Concat => self.push(Op::Concat { inputs }),
            OperationKind::MaxPool { size } => self.push(Op::MaxPool { input, size: *size }),
            OperationKind::Pool(pool) => self.push(Op::Pool { input, pool: *pool }),
            OperationKind::Upsample { scale } => self.push(Op::Upsample { input, scale: *scale }),
            OperationKind::ZeroPad { sides } => self.push(Op::ZeroPad { input, sides: *sides }),
            OperationKind::SpaceToDepth { size, order } => {
                self.push(Op::SpaceToDepth { input, size: *size, order: *order })
            }
            OperationKind::Pick { channels } => self.push(self.pick(channels, operation.inputs[0])),
            OperationKind::DepthToSpace { size } => {
                self.push(Op::DepthToSpace { input, size: *size, interleaved: false })
            }
        })
    }

    fn push(&mut self, op: Op) -> ValueId {
        self.ops.push(op);
        self.ops.len()
    }

    fn conv(&self, conv: &ConvRef, input: ValueId) -> Result<Conv, ModelError> {
        let spec = &conv.spec;
        Ok(Conv {
            name: conv.name.clone(),
            input,
            weight: self.weights.f32s(&conv.weight())?.to_vec(),
            bias: conv.fused_bias(self.weights)?.into_owned(),
            out_channels: spec.out_channels,
            groups: spec.groups,
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
            dilation: spec.dilation,
            activation: activation(spec.activation),
            residual: None,
        })
    }
}

fn activation(activation: ModelActivation) -> Activation {
    match activation {
        ModelActivation::Silu => Activation::Silu,
        ModelActivation::Relu => Activation::Relu,
        ModelActivation::LeakyRelu { slope } => Activation::LeakyRelu(slope),
        ModelActivation::Relu6 => Activation::Relu6,
        ModelActivation::Hardswish => Activation::Hardswish,
        ModelActivation::Mish => Activation::Mish,
        ModelActivation::Elu { alpha } => Activation::Elu(alpha),
        ModelActivation::Gelu => Activation::Gelu,
        ModelActivation::Identity => Activation::None,
    }
}
