//! A program as a network without weights.

use super::{Operation, OperationKind, Program, architecture_error};
use crate::architecture::{ConvRef, TensorSpec};
use crate::error::Result;
use crate::layout::{Layout, Widths};

/// A network that is nothing but a program, such as one that was put together with a [`Lowering`](super::Lowering).
///
/// The order of its state dict is that of execution.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramLayout {
    /// What it computes.
    pub program: Program,
    /// Whether batch normalisation has been folded into the convolutions, which then have a bias.
    pub fused: bool,
    /// `[height, width]` of the images that it is for; operations are counted for one of them.
    pub image_size: [usize; 2],
}

impl ProgramLayout {
    /// A program whose batch normalisation is not fused, for images of `[height, width]`.
    pub fn new(program: Program, image_size: [usize; 2]) -> Self {
        Self { program, fused: false, image_size }
    }

    /// The same network with other numbers of channels in the convolutions that `widths` names.
    #[must_use]
    pub fn resized(&self, widths: &Widths) -> Self {
        let mut resized = self.clone();
        resized.program.set_widths(widths);
        resized
    }
}

impl Layout for ProgramLayout {
    fn program(&self) -> Program {
        self.program.clone()
    }

    fn convs(&self) -> Vec<ConvRef> {
        self.program.convs().map(|(_, conv)| conv.clone()).collect()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.program.operations.iter().flat_map(|operation| operation.tensors(self.fused)).collect()
    }

    fn is_fused(&self) -> bool {
        self.fused
    }

    fn image_size(&self) -> [usize; 2] {
        self.image_size
    }

    fn with_widths(&self, widths: &Widths) -> Box<dyn Layout> {
        Box::new(self.resized(widths))
    }

    fn validate(&self) -> Result<()> {
        self.program.check_widths()
    }
}

impl Program {
    /// Gives the convolutions that `widths` names other channels, and all values those that follow.
    fn set_widths(&mut self, widths: &Widths) {
        let before = self.channels.clone();
        for (index, operation) in self.operations.iter_mut().enumerate() {
            if let OperationKind::Conv(conv) = &mut operation.kind
                && let Some(&[in_channels, out_channels]) = widths.get(&conv.name)
            {
                conv.spec.resize(in_channels, out_channels);
            }
            let inputs: Vec<usize> = operation.inputs.iter().map(|&input| self.channels[input]).collect();
            operation.kind.resize_slice(before[operation.inputs[0]], inputs[0]);
            if let OperationKind::Norm(norm) = &mut operation.kind {
                norm.spec.channels = inputs[0];
            }
            self.channels[index + 1] = operation.kind.output_channels(&inputs);
        }
    }

    /// Checks that every convolution reads as many channels as it says, and sums have equal operands.
    fn check_widths(&self) -> Result<()> {
        self.operations.iter().try_for_each(|operation| operation.check_widths(&self.channels))
    }
}

impl OperationKind {
    /// A slice of a map that now has `after` channels instead of `before` keeps its share of them, if that is a whole number.
    fn resize_slice(&mut self, before: usize, after: usize) {
        let Some(range) = self.slice().filter(|_| before != after) else { return };
        let is_whole = |place: usize| (place * after).is_multiple_of(before);
        if is_whole(range.start) && is_whole(range.end) {
            let channels = range.start * after / before..range.end * after / before;
            *self = Self::Pick { channels: channels.collect() };
        }
    }
}

impl Operation {
    fn check_widths(&self, channels: &[usize]) -> Result<()> {
        let inputs: Vec<usize> = self.inputs.iter().map(|&input| channels[input]).collect();
        let error = |name: &str, reason: String| -> Result<()> {
            Err(architecture_error(format!("{name}: {reason}")))
        };
        match &self.kind {
            OperationKind::Conv(conv) => {
                conv.spec.check(inputs[0]).or_else(|reason| error(&conv.name, reason))
            }
            OperationKind::Norm(norm) => {
                norm.spec.check(inputs[0]).or_else(|reason| error(&norm.name, reason))
            }
            OperationKind::Transposed(transposed) => {
                transposed.spec.check(inputs[0]).or_else(|reason| error(&transposed.name, reason))
            }
            OperationKind::Attention(attention) => {
                attention.check(inputs[0]).or_else(|reason| error("attention", reason))
            }
            OperationKind::Pick { channels } if channels.iter().any(|&channel| channel >= inputs[0]) => {
                error(
                    "a choice of channels",
                    format!("it asks for more than the {} that there are", inputs[0]),
                )
            }
            OperationKind::DepthToSpace { size } if !inputs[0].is_multiple_of(size * size) => {
                error("an enlargement", format!("{} channels are not squares of {size}", inputs[0]))
            }
            OperationKind::Add if inputs.windows(2).any(|pair| pair[0] != pair[1]) => {
                error("a sum", format!("its operands have {inputs:?} channels; they need equal numbers"))
            }
            _ => Ok(()),
        }
    }
}
