//! The network as a program: single operations over numbered values, in order of execution.
//!
//! Modules are how people read a network; a program is what machines read. Shapes, channels, multiply-accumulates,
//! couplings between channels, exchange formats and every executor work on it. Values are numbered: 0 is the image,
//! `i + 1` is the output of operation `i`. All maps are `[N, C, H, W]`.

mod layout;
mod lowering;
mod model;

pub use layout::ProgramLayout;
pub use lowering::Lowering;
pub use model::ProgramModel;

use crate::architecture::{Architecture, ConvRef};
use crate::error::{ModelError, Result};

/// Number of a value: 0 is the image, `i + 1` the output of operation `i`.
pub type ValueId = usize;

/// What a single operation computes.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationKind {
    /// Convolution with what follows it: batch normalisation until fused, activation. A bare convolution has a bias
    /// and no batch normalisation.
    Conv(ConvRef),
    /// Sum of two maps of the same shape.
    Add,
    /// Concatenation along the channels, in the order of the inputs.
    Concat,
    /// Maximum over windows of `size`×`size`, stride 1, the border counting as −∞; the map keeps its size.
    MaxPool {
        /// Side of the window, odd.
        size: usize,
    },
    /// Nearest-neighbour enlargement.
    Upsample {
        /// The factor in both directions.
        scale: usize,
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

    /// The convolutions whose outputs the network returns as they are.
    pub fn output_convs(&self) -> impl Iterator<Item = &ConvRef> {
        self.convs().filter(|(index, _)| self.is_output(index + 1)).map(|(_, conv)| conv)
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
        let sizes = self.sizes(image);
        let mut counts = vec![0; self.layers.len().max(1)];
        for (index, operation) in self.operations.iter().enumerate() {
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
}

impl OperationKind {
    /// Height and width of the output for an input of `[height, width]`.
    pub fn output_size(&self, input: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Conv(conv) => conv.spec.output_size(input),
            Self::Upsample { scale } => input.map(|side| side * scale),
            Self::Add | Self::Concat | Self::MaxPool { .. } => input,
        }
    }

    /// Multiply-accumulates for an output of `[height, width]` with `channels` channels, by the reference profiler's own
    /// rules: four per element of a batch normalisation, one per element of an enlarged map, none for biases,
    /// activations and pools.
    pub fn multiply_adds(&self, channels: usize, [height, width]: [usize; 2], fused: bool) -> usize {
        match self {
            Self::Conv(conv) => {
                let normalised = if conv.has_bias(fused) { 0 } else { 4 * channels };
                height * width * (conv.weight_count() + normalised)
            }
            Self::Upsample { .. } => channels * height * width,
            Self::Add | Self::Concat | Self::MaxPool { .. } => 0,
        }
    }
}

/// An error about the network as a whole or one of its layers.
pub(crate) fn architecture_error(reason: impl Into<String>) -> ModelError {
    ModelError::Architecture { reason: reason.into() }
}

#[cfg(test)]
mod tests;
