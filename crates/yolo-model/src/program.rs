//! The network as a program: single operations over numbered values, in order of execution.
//!
//! Modules are how people read a network; a program is what machines read. Shapes, channels, multiply-accumulates,
//! couplings between channels, exchange formats and every executor work on it. Values are numbered: 0 is the image,
//! `i + 1` is the output of operation `i`. All maps are `[N, C, H, W]`.

mod attention;
mod layout;
mod lowering;
mod model;
mod rearrange;

pub use attention::{AttentionOrder, AttentionPart, AttentionSpec};
pub use layout::ProgramLayout;
pub use lowering::Lowering;
pub use model::ProgramModel;
pub use rearrange::{PixelOrder, PoolSpec};

use std::collections::HashSet;
use std::ops::Range;

use crate::architecture::{Architecture, ConvForm, ConvRef, NormRef, TensorSpec, TransposedRef};
use crate::error::{ModelError, Result};

/// Number of a value: 0 is the image, `i + 1` the output of operation `i`.
pub type ValueId = usize;

/// What a single operation computes.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationKind {
    /// Convolution with what follows it: batch normalisation until fused, activation. A bare convolution has no batch
    /// normalisation.
    Conv(ConvRef),
    /// Batch normalisation that stands alone, with its activation. Fusing leaves it.
    Norm(NormRef),
    /// Transposed convolution with a bias.
    Transposed(TransposedRef),
    /// Attention between the pixels of a map of queries, keys and values.
    Attention(AttentionSpec),
    /// The input as it is. While training, no gradient goes through it.
    Detach,
    /// Sum of two maps of the same shape.
    Add,
    /// Concatenation along the channels, in the order of the inputs.
    Concat,
    /// Maximum over windows of `size`×`size`, stride 1, the border counting as −∞; the map keeps its size.
    MaxPool {
        /// Side of the window, odd.
        size: usize,
    },
    /// Maximum over any windows.
    Pool(PoolSpec),
    /// Nearest-neighbour enlargement.
    Upsample {
        /// The factor in both directions.
        scale: usize,
    },
    /// Zeros around the map.
    ZeroPad {
        /// Rows and columns added on the left, on the right, above and below, in PyTorch's order.
        sides: [usize; 4],
    },
    /// Squares of `size`×`size` pixels become groups of channels: channel `g · C + c` is channel `c` of pixel `g` of the
    /// square. Rows and columns that fill no square are left out.
    SpaceToDepth {
        /// Side of the square.
        size: usize,
        /// Which pixel is which group.
        order: PixelOrder,
    },
    /// Some channels, in another order: channel `i` is channel `channels[i]` of the input. If they follow each other, it is
    /// a slice ([`OperationKind::slice`]).
    Pick {
        /// Which channels.
        channels: Vec<usize>,
    },
    /// Groups of channels become squares of pixels, the inverse of [`OperationKind::SpaceToDepth`] with
    /// [`PixelOrder::Rows`].
    DepthToSpace {
        /// Side of the square.
        size: usize,
    },
}

/// An operation with the values it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What it computes.
    pub kind: OperationKind,
    /// Values that it reads, at least one; all come before its own.
    pub inputs: Vec<ValueId>,
    /// Index of the layer that it is part of.
    pub layer: usize,
}

/// The operations of a network, and which values are its outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// In order of execution.
    pub operations: Vec<Operation>,
    /// The values that the network returns: for a detector the logits of each level, finest first.
    pub outputs: Vec<ValueId>,
    /// Channels of every value.
    pub channels: Vec<usize>,
    /// The value that each layer makes; empty in a program without layers. Nothing reads the head's.
    pub layers: Vec<ValueId>,
}

impl Architecture {
    /// The network as single operations. Convolutions come in the order in which they run, which is not that of
    /// the state dict: there `cv2` and `cv3` of a C3 come before its bottlenecks.
    ///
    /// # Panics
    /// On an architecture that [`Architecture::validate`] rejects.
    pub fn program(&self) -> Program {
        self.try_program().unwrap_or_else(|error| panic!("validate() checks it: {error}"))
    }

    /// [`Architecture::program`] of an architecture that may not be consistent.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] with the layer's index and the two numbers that disagree.
    pub fn try_program(&self) -> Result<Program> {
        let mut lowering = Lowering::new(self.in_channels);
        for layer in &self.layers {
            lowering.layer(layer)?;
        }
        Ok(lowering.finish())
    }
}

impl Program {
    /// For every value, the operations that read it, in order; an operation that reads a value twice stands there twice.
    pub fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.channels.len()];
        for (index, operation) in self.operations.iter().enumerate() {
            for &input in &operation.inputs {
                readers[input].push(index);
            }
        }
        readers
    }

    /// The convolutions with the index of their operation, in order of execution.
    pub fn convs(&self) -> impl Iterator<Item = (usize, &ConvRef)> {
        self.operations.iter().enumerate().filter_map(|(index, operation)| Some((index, operation.conv()?)))
    }

    /// Whether the value is returned as it is.
    pub fn is_output(&self, value: ValueId) -> bool {
        self.outputs.contains(&value)
    }

    /// The values that are returned as they are, or as a part of a concatenation that is returned.
    pub fn returned(&self) -> HashSet<ValueId> {
        let mut returned: HashSet<ValueId> = self.outputs.iter().copied().collect();
        for (index, operation) in self.operations.iter().enumerate().rev() {
            if operation.kind == OperationKind::Concat && returned.contains(&(index + 1)) {
                returned.extend(&operation.inputs);
            }
        }
        returned
    }

    /// The convolutions whose outputs the network returns as they are, or as a part of a concatenation, in order of
    /// execution.
    pub fn output_convs(&self) -> impl Iterator<Item = &ConvRef> {
        let returned = self.returned();
        self.convs().filter(move |(index, _)| returned.contains(&(index + 1))).map(|(_, conv)| conv)
    }

    /// The convolutions that make the returned value `output`, one after the other in its channels.
    pub fn parts_of_output(&self, output: ValueId) -> impl Iterator<Item = &ConvRef> {
        let made_by = |value: ValueId| self.operations.get(value.checked_sub(1)?);
        let parts = match made_by(output) {
            Some(Operation { kind: OperationKind::Concat, inputs, .. }) => inputs.clone(),
            _ => vec![output],
        };
        parts.into_iter().filter_map(move |value| made_by(value)?.conv())
    }

    /// Height and width of every value for an image of `[height, width]`.
    pub fn sizes(&self, image: [usize; 2]) -> Vec<[usize; 2]> {
        let mut sizes = vec![image];
        for operation in &self.operations {
            sizes.push(operation.kind.output_size(sizes[operation.inputs[0]]));
        }
        sizes
    }

    /// Multiply-accumulates of every layer for an image of `[height, width]`, see [`OperationKind::multiply_adds`]; of a
    /// program without layers those of the whole.
    pub fn multiply_adds_per_layer(&self, image: [usize; 2], fused: bool) -> Vec<usize> {
        self.multiply_adds_of(&self.sizes(image), fused, |_| true)
    }

    /// [`Program::multiply_adds_per_layer`] of the operations that `is_counted` picks, given the sizes of all values.
    pub(crate) fn multiply_adds_of(
        &self,
        sizes: &[[usize; 2]],
        fused: bool,
        is_counted: impl Fn(&OperationKind) -> bool,
    ) -> Vec<usize> {
        let mut counts = vec![0; self.layers.len().max(1)];
        for (index, operation) in self.operations.iter().enumerate().filter(|(_, it)| is_counted(&it.kind)) {
            let (channels, size) = (self.channels[index + 1], sizes[index + 1]);
            counts[operation.layer] += operation.kind.multiply_adds(channels, size, fused);
        }
        counts
    }
}

impl Operation {
    /// The convolution, if it is one.
    pub fn conv(&self) -> Option<&ConvRef> {
        match &self.kind {
            OperationKind::Conv(conv) => Some(conv),
            _ => None,
        }
    }

    /// The tensors that it owns, in PyTorch's order.
    pub fn tensors(&self, fused: bool) -> Vec<TensorSpec> {
        match &self.kind {
            OperationKind::Conv(conv) => conv.tensors(fused),
            OperationKind::Norm(norm) => norm.tensors(),
            OperationKind::Transposed(transposed) => transposed.tensors(),
            _ => Vec::new(),
        }
    }
}

impl OperationKind {
    /// Height and width of the output for an input of `[height, width]`.
    pub fn output_size(&self, input: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Conv(conv) => conv.spec.output_size(input),
            Self::Transposed(transposed) => transposed.spec.output_size(input),
            Self::Pool(pool) => pool.output_size(input),
            Self::Upsample { scale } => input.map(|side| side * scale),
            Self::ZeroPad { sides: [left, right, above, below] } => {
                [input[0] + above + below, input[1] + left + right]
            }
            Self::SpaceToDepth { size, .. } => input.map(|side| side / size),
            Self::DepthToSpace { size } => input.map(|side| side * size),
            Self::Norm(_)
            | Self::Attention(_)
            | Self::Detach
            | Self::Pick { .. }
            | Self::Add
            | Self::Concat
            | Self::MaxPool { .. } => input,
        }
    }

    /// Channels of the output, by those of the inputs.
    pub fn output_channels(&self, inputs: &[usize]) -> usize {
        match self {
            Self::Conv(conv) => conv.spec.out_channels,
            Self::Transposed(transposed) => transposed.spec.out_channels,
            Self::Attention(attention) => attention.out_channels(inputs[0]),
            Self::Concat => inputs.iter().sum(),
            Self::Pick { channels } => channels.len(),
            Self::SpaceToDepth { size, .. } => inputs[0] * size * size,
            Self::DepthToSpace { size } => inputs[0] / (size * size),
            Self::Norm(_)
            | Self::Detach
            | Self::Add
            | Self::MaxPool { .. }
            | Self::Pool(_)
            | Self::Upsample { .. }
            | Self::ZeroPad { .. } => inputs[0],
        }
    }

    /// The channels that it takes, if it takes a slice: channels that follow each other, in their order.
    pub fn slice(&self) -> Option<Range<usize>> {
        let Self::Pick { channels } = self else { return None };
        let first = *channels.first()?;
        let range = first..first + channels.len();
        range.clone().eq(channels.iter().copied()).then_some(range)
    }

    /// Multiply-accumulates for an output of `[height, width]` with `channels` channels, by the reference profiler's own
    /// rules: four per element of a batch normalisation, one per element of an enlarged map, none for biases,
    /// activations, pools and whatever PyTorch's attention computes; of an attention by heads, both products.
    pub fn multiply_adds(&self, channels: usize, [height, width]: [usize; 2], fused: bool) -> usize {
        match self {
            Self::Conv(conv) => {
                let normalised = if conv.is_bare || fused { 0 } else { 4 * channels };
                let counted = match conv.spec.form {
                    ConvForm::Projections | ConvForm::LastProjection => 0,
                    _ => conv.weight_count(),
                };
                height * width * (counted + normalised)
            }
            Self::Norm(_) => 4 * channels * height * width,
            Self::Transposed(transposed) => {
                let spec = &transposed.spec;
                // The profiler does not know the class that has groups, DWConvTranspose2d.
                if spec.groups > 1 {
                    return 0;
                }
                channels * height * width * (spec.in_channels * spec.kernel[0] * spec.kernel[1])
            }
            Self::Upsample { .. } => channels * height * width,
            Self::Attention(attention) => attention.multiply_adds(channels, height * width),
            Self::Detach
            | Self::Pick { .. }
            | Self::Add
            | Self::Concat
            | Self::MaxPool { .. }
            | Self::Pool(_)
            | Self::ZeroPad { .. }
            | Self::SpaceToDepth { .. }
            | Self::DepthToSpace { .. } => 0,
        }
    }
}

/// An error about the network as a whole or one of its layers.
pub(crate) fn architecture_error(reason: impl Into<String>) -> ModelError {
    ModelError::Architecture { reason: reason.into() }
}

#[cfg(test)]
mod tests;
