//! Builds a program layer by layer, and checks on the way that every number fits.

use super::{Operation, OperationKind, Program, ValueId, architecture_error};
use crate::architecture::{ConvRef, ConvSpec, Layer, MAX_KERNEL, resolve};
use crate::error::{ModelError, Result};

/// A program in the making. A module appends its operations through it.
#[derive(Debug)]
pub struct Lowering {
    program: Program,
    /// Name of the module that is being lowered.
    module: &'static str,
    /// Path of the part that is being lowered: empty, or with a dot at its end.
    part: String,
}

impl Lowering {
    /// An empty program for images of `in_channels` channels.
    pub fn new(in_channels: usize) -> Self {
        let program = Program {
            operations: Vec::new(),
            outputs: Vec::new(),
            channels: vec![in_channels],
            layers: Vec::new(),
        };
        Self { program, module: "", part: String::new() }
    }

    /// Appends a layer.
    ///
    /// # Errors
    /// An input that is not an earlier layer, or widths that disagree.
    pub fn layer(&mut self, layer: &Layer) -> Result<()> {
        self.module = layer.block.name();
        let inputs = self.sources(&layer.from)?;
        if inputs.is_empty() {
            return Err(self.error("", "has no input"));
        }
        if !layer.block.takes_several() && inputs.len() != 1 {
            return Err(self.error("", &format!("takes one input, not {}", inputs.len())));
        }
        let output = layer.block.lower(self, &inputs)?;
        self.program.layers.push(output);
        Ok(())
    }

    /// The values behind the `from` entries of the next layer.
    ///
    /// # Errors
    /// An entry that is not an earlier layer.
    pub fn sources(&self, from: &[i64]) -> Result<Vec<ValueId>> {
        let index = self.program.layers.len();
        let value = |&from: &i64| match resolve(index, from) {
            None if index == 0 && from == -1 => Ok(0),
            Some(source) if source < index => Ok(self.program.layers[source]),
            _ => Err(self.error("", &format!("reads from {from}, which is not an earlier layer"))),
        };
        from.iter().map(value).collect()
    }

    /// The program.
    pub fn finish(self) -> Program {
        self.program
    }

    /// What is there so far.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Channels of a value.
    pub fn channels(&self, value: ValueId) -> usize {
        self.program.channels[value]
    }

    /// Appends a convolution with its batch normalisation and activation. `path` is its place in the module (`m.0.cv1`),
    /// empty where the module is one convolution.
    ///
    /// # Errors
    /// Numbers out of range, or an input of other channels than `spec` says.
    pub fn conv(&mut self, path: &str, spec: &ConvSpec, input: ValueId) -> Result<ValueId> {
        self.check_conv(path, spec, input)?;
        Ok(self.push_conv(path, spec, false, input))
    }

    /// Appends a bare convolution with bias whose output the network returns.
    ///
    /// # Errors
    /// As [`Lowering::conv`].
    pub fn output_conv(&mut self, path: &str, spec: &ConvSpec, input: ValueId) -> Result<ValueId> {
        self.check_conv(path, spec, input)?;
        let output = self.push_conv(path, spec, true, input);
        self.output(output);
        Ok(output)
    }

    /// Appends the operations of the part at `path`, in whose calls paths start there.
    ///
    /// # Errors
    /// Those of `lower`.
    pub fn within<T>(&mut self, path: &str, lower: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = self.part.clone();
        self.part = format!("{outer}{path}.");
        let lowered = lower(self);
        self.part = outer;
        lowered
    }

    /// Declares a value that the network returns, behind those that were declared before.
    pub fn output(&mut self, value: ValueId) {
        self.program.outputs.push(value);
    }

    /// Appends a sum of two maps.
    ///
    /// # Errors
    /// Maps of other channels.
    pub fn add(&mut self, [a, b]: [ValueId; 2]) -> Result<ValueId> {
        let [left, right] = [a, b].map(|value| self.channels(value));
        if left != right {
            let reason = format!("a shortcut needs as many channels out ({left}) as in ({right})");
            return Err(self.error("", &reason));
        }
        Ok(self.push(OperationKind::Add, vec![a, b], left))
    }

    /// Appends a concatenation of channels.
    pub fn concat(&mut self, inputs: &[ValueId]) -> ValueId {
        let channels = inputs.iter().map(|&input| self.channels(input)).sum();
        self.push(OperationKind::Concat, inputs.to_vec(), channels)
    }

    /// Appends a max-pool that keeps the size of its map.
    ///
    /// # Errors
    /// A window that is not odd, or too large.
    pub fn max_pool(&mut self, size: usize, input: ValueId) -> Result<ValueId> {
        if size.is_multiple_of(2) || size > MAX_KERNEL {
            return Err(self.error("", &format!("the pooling window {size} is not odd")));
        }
        Ok(self.push(OperationKind::MaxPool { size }, vec![input], self.channels(input)))
    }

    /// Appends an enlargement.
    ///
    /// # Errors
    /// A factor that is not between 1 and 8.
    pub fn upsample(&mut self, scale: usize, input: ValueId) -> Result<ValueId> {
        if !(1..=8).contains(&scale) {
            return Err(self.error("", &format!("the factor {scale} is not between 1 and 8")));
        }
        Ok(self.push(OperationKind::Upsample { scale }, vec![input], self.channels(input)))
    }

    /// An error about the module, or about its part at `path`.
    pub fn error(&self, path: &str, reason: &str) -> ModelError {
        let path = format!("{}{path}", self.part);
        let space = if path.is_empty() { "" } else { " " };
        let index = self.program.layers.len();
        architecture_error(format!(
            "layer {index} ({}){space}{}: {reason}",
            self.module,
            path.trim_end_matches('.')
        ))
    }

    fn check_conv(&self, path: &str, conv: &ConvSpec, input: ValueId) -> Result<()> {
        conv.check(self.channels(input)).map_err(|reason| self.error(path, &reason))
    }

    fn push(&mut self, kind: OperationKind, inputs: Vec<ValueId>, channels: usize) -> ValueId {
        let layer = self.program.layers.len();
        self.program.operations.push(Operation { kind, inputs, layer });
        self.program.channels.push(channels);
        self.program.operations.len()
    }

    fn push_conv(&mut self, path: &str, spec: &ConvSpec, is_head: bool, input: ValueId) -> ValueId {
        let conv =
            ConvRef::of_layer(self.program.layers.len(), &format!("{}{path}", self.part), spec, is_head);
        self.push(OperationKind::Conv(conv), vec![input], spec.out_channels)
    }
}
