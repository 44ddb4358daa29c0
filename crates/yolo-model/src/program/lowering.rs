//! Builds a program, and checks on the way that every number fits.

use super::{Operation, OperationKind, Program, ValueId, architecture_error};
use crate::architecture::{ConvRef, ConvSpec, Layer, MAX_KERNEL, resolve};
use crate::error::{ModelError, Result};

/// A program in the making: layer by layer ([`Lowering::layer`]), whose modules append their operations, or operation
/// by operation.
///
/// The convolutions of a layer are called `model.{layer}.{path}`; outside of layers, a path is the whole name.
#[derive(Debug)]
pub struct Lowering {
    program: Program,
    /// Name of the module that is being lowered; none outside of layers.
    module: Option<&'static str>,
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
        Self { program, module: None, part: String::new() }
    }

    /// Appends a layer.
    ///
    /// # Errors
    /// An input that is not an earlier layer, or widths that disagree.
    pub fn layer(&mut self, layer: &Layer) -> Result<()> {
        self.module = Some(layer.block.name());
        let inputs = self.sources(&layer.from)?;
        if inputs.is_empty() {
            return Err(self.error("", "has no input"));
        }
        if !layer.block.takes_several() && inputs.len() != 1 {
            return Err(self.error("", &format!("takes one input, not {}", inputs.len())));
        }
        let output = layer.block.lower(self, &inputs)?;
        self.program.layers.push(output);
        self.module = None;
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
            _ => {
                let module = self.module.map(|module| format!(" ({module})")).unwrap_or_default();
                Err(architecture_error(format!(
                    "layer {index}{module}: reads from {from}, which is not an earlier layer"
                )))
            }
        };
        from.iter().map(value).collect()
    }

    /// The program.
    pub fn finish(self) -> Program {
        self.program
    }

    /// Channels of a value.
    pub fn channels(&self, value: ValueId) -> usize {
        self.program.channels[value]
    }

    /// Appends a convolution with its batch normalisation and activation. `path` is its place in the module (`m.0.cv1`),
    /// empty if the module is one convolution; outside of layers, it is the convolution's name.
    ///
    /// # Errors
    /// Numbers out of range, an input of other channels than `spec` says, or outside of layers a name that is empty or
    /// taken.
    pub fn conv(&mut self, path: &str, spec: &ConvSpec, input: ValueId) -> Result<ValueId> {
        self.check_conv(path, spec, input)?;
        Ok(self.push_conv(path, spec, false, input))
    }

    /// Appends a bare convolution: one with a bias and without batch normalisation.
    ///
    /// # Errors
    /// As [`Lowering::conv`].
    pub fn bare_conv(&mut self, path: &str, spec: &ConvSpec, input: ValueId) -> Result<ValueId> {
        self.check_conv(path, spec, input)?;
        Ok(self.push_conv(path, spec, true, input))
    }

    /// Appends a bare convolution whose output the network returns.
    ///
    /// # Errors
    /// As [`Lowering::conv`].
    pub fn output_conv(&mut self, path: &str, spec: &ConvSpec, input: ValueId) -> Result<ValueId> {
        let output = self.bare_conv(path, spec, input)?;
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

    /// An error about the module, or about its part at `path`; outside of layers, about the operation of that name.
    pub fn error(&self, path: &str, reason: &str) -> ModelError {
        let path = self.name(path);
        let path = path.trim_end_matches('.');
        let place = match self.module {
            Some(module) => format!("layer {} ({module})", self.program.layers.len()),
            None => format!("operation {}", self.program.operations.len()),
        };
        let space = if path.is_empty() { "" } else { " " };
        architecture_error(format!("{place}{space}{path}: {reason}"))
    }

    fn check_conv(&self, path: &str, conv: &ConvSpec, input: ValueId) -> Result<()> {
        conv.check(self.channels(input)).map_err(|reason| self.error(path, &reason))?;
        let name = self.name(path);
        if self.module.is_none() && name.is_empty() {
            return Err(self.error(path, "a convolution outside of layers needs a name"));
        }
        if self.module.is_none() && self.program.convs().any(|(_, conv)| conv.name == name) {
            return Err(self.error(path, "there is a convolution of this name already"));
        }
        Ok(())
    }

    /// The path of a convolution with those of the parts that it is in.
    fn name(&self, path: &str) -> String {
        format!("{}{path}", self.part)
    }

    fn push(&mut self, kind: OperationKind, inputs: Vec<ValueId>, channels: usize) -> ValueId {
        let layer = self.program.layers.len();
        self.program.operations.push(Operation { kind, inputs, layer });
        self.program.channels.push(channels);
        self.program.operations.len()
    }

    fn push_conv(&mut self, path: &str, spec: &ConvSpec, is_bare: bool, input: ValueId) -> ValueId {
        let name = self.name(path);
        let conv = match self.module {
            Some(_) => ConvRef::of_layer(self.program.layers.len(), &name, spec, is_bare),
            None => ConvRef { name, layer: 0, spec: spec.clone(), is_bare },
        };
        self.push(OperationKind::Conv(conv), vec![input], spec.out_channels)
    }
}
