//! Builds a program, and checks on the way that every number fits.

use std::ops::Range;

use super::{
    AttentionSpec, Operation, OperationKind, PixelOrder, PoolSpec, Program, ValueId, architecture_error,
};
use crate::architecture::{
    ConvForm, ConvRef, ConvSpec, Layer, MAX_CHANNELS, MAX_KERNEL, NormRef, NormSpec, TransposedRef,
    TransposedSpec, name_in_layer, resolve,
};
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

    /// Appends a convolution with its batch normalisation, if its form has one, and activation. `path` is its place in the module (`m.0.cv1`),
    /// empty if the module is one convolution; outside of layers, it is the convolution's name.
    ///
    /// # Errors
    /// Numbers out of range, an input of other channels than `spec` says, or outside of layers a name that is empty or
    /// taken.
    pub fn conv(&mut self, path: &str, spec: &ConvSpec, input: ValueId) -> Result<ValueId> {
        self.check_conv(path, spec, input)?;
        let conv = ConvRef::new(self.full_name(path), self.layer_index(), spec);
        Ok(self.push(OperationKind::Conv(conv), vec![input], spec.out_channels))
    }

    /// Appends a bare convolution: one with a bias and without batch normalisation.
    ///
    /// # Errors
    /// As [`Lowering::conv`].
    pub fn bare_conv(&mut self, path: &str, spec: &ConvSpec, input: ValueId) -> Result<ValueId> {
        let form = if spec.form == ConvForm::Block { ConvForm::Bare } else { spec.form };
        self.conv(path, &ConvSpec { form, ..spec.clone() }, input)
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

    /// Appends a batch normalisation that stands alone, with its activation.
    ///
    /// # Errors
    /// An input of other channels than `spec` says.
    pub fn norm(&mut self, path: &str, spec: &NormSpec, input: ValueId) -> Result<ValueId> {
        spec.check(self.channels(input)).map_err(|reason| self.error(path, &reason))?;
        let norm = NormRef { name: self.full_name(path), layer: self.layer_index(), spec: spec.clone() };
        Ok(self.push(OperationKind::Norm(norm), vec![input], spec.channels))
    }

    /// Appends a transposed convolution.
    ///
    /// # Errors
    /// Numbers out of range, or an input of other channels than `spec` says.
    pub fn transposed(&mut self, path: &str, spec: &TransposedSpec, input: ValueId) -> Result<ValueId> {
        spec.check(self.channels(input)).map_err(|reason| self.error(path, &reason))?;
        let name = self.full_name(path);
        let transposed = TransposedRef { name, layer: self.layer_index(), spec: spec.clone() };
        Ok(self.push(OperationKind::Transposed(transposed), vec![input], spec.out_channels))
    }

    /// Appends attention between pixels.
    ///
    /// # Errors
    /// Channels that are not queries, keys and values of this many heads.
    pub fn attention(&mut self, attention: AttentionSpec, input: ValueId) -> Result<ValueId> {
        let channels = self.channels(input);
        attention.check(channels).map_err(|reason| self.error("", &reason))?;
        Ok(self.push(OperationKind::Attention(attention), vec![input], attention.out_channels(channels)))
    }

    /// Appends what ends the way of gradients.
    pub fn detach(&mut self, input: ValueId) -> ValueId {
        self.push(OperationKind::Detach, vec![input], self.channels(input))
    }

    /// Appends a slice: channels that follow each other.
    ///
    /// # Errors
    /// No channel, or one that is not there.
    pub fn slice(&mut self, channels: Range<usize>, input: ValueId) -> Result<ValueId> {
        self.pick(channels.collect(), input)
    }

    /// Appends a pool over any windows.
    ///
    /// # Errors
    /// Numbers out of range.
    pub fn pool(&mut self, pool: PoolSpec, input: ValueId) -> Result<ValueId> {
        pool.check().map_err(|reason| self.error("", &reason))?;
        match pool.same_size() {
            Some(size) => self.max_pool(size, input),
            None => Ok(self.push(OperationKind::Pool(pool), vec![input], self.channels(input))),
        }
    }

    /// Appends zeros around a map: columns on the left and on the right, rows above and below.
    ///
    /// # Errors
    /// A side that is too wide.
    pub fn zero_pad(&mut self, sides: [usize; 4], input: ValueId) -> Result<ValueId> {
        if sides.iter().any(|&side| side > MAX_KERNEL) {
            return Err(self.error("", &format!("the padding {sides:?} is more than {MAX_KERNEL} pixels")));
        }
        Ok(self.push(OperationKind::ZeroPad { sides }, vec![input], self.channels(input)))
    }

    /// Appends a choice of channels, in their new order.
    ///
    /// # Errors
    /// No channel, or one that is not there.
    pub fn pick(&mut self, channels: Vec<usize>, input: ValueId) -> Result<ValueId> {
        let (count, found) = (channels.len(), self.channels(input));
        if count == 0 || count > MAX_CHANNELS || channels.iter().any(|&channel| channel >= found) {
            return Err(self.error("", &format!("takes channels out of {found} that are not there")));
        }
        Ok(self.push(OperationKind::Pick { channels }, vec![input], count))
    }

    /// Appends the change from squares of pixels to groups of channels.
    ///
    /// # Errors
    /// A size that is not between 1 and 8, or too many channels.
    pub fn space_to_depth(&mut self, size: usize, order: PixelOrder, input: ValueId) -> Result<ValueId> {
        let channels = self.channels(input) * size * size;
        if !(1..=8).contains(&size) || channels > MAX_CHANNELS {
            return Err(self.error("", &format!("the factor {size} is not between 1 and 8, or too large")));
        }
        Ok(self.push(OperationKind::SpaceToDepth { size, order }, vec![input], channels))
    }

    /// Appends the change from groups of channels to squares of pixels.
    ///
    /// # Errors
    /// A size that is not between 1 and 8, or channels that do not make squares.
    pub fn depth_to_space(&mut self, size: usize, input: ValueId) -> Result<ValueId> {
        let channels = self.channels(input);
        if !(1..=8).contains(&size) || !channels.is_multiple_of(size * size) {
            return Err(self.error("", &format!("{channels} channels do not make squares of {size} pixels")));
        }
        let kind = OperationKind::DepthToSpace { size };
        Ok(self.push(kind, vec![input], channels / (size * size)))
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
        if path.is_empty() {
            self.part.trim_end_matches('.').to_owned()
        } else {
            format!("{}{path}", self.part)
        }
    }

    fn push(&mut self, kind: OperationKind, inputs: Vec<ValueId>, channels: usize) -> ValueId {
        let layer = self.program.layers.len();
        self.program.operations.push(Operation { kind, inputs, layer });
        self.program.channels.push(channels);
        self.program.operations.len()
    }

    /// What the names of the tensors at `path` start with.
    fn full_name(&self, path: &str) -> String {
        let name = self.name(path);
        if self.module.is_some() { name_in_layer(self.layer_index(), &name) } else { name }
    }

    /// The index of the layer that is being lowered; 0 outside of layers.
    fn layer_index(&self) -> usize {
        self.program.layers.len()
    }
}
