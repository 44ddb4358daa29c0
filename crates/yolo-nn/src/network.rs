//! A program with weights on a device.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use yolo_model::Model;
use yolo_model::architecture::ConvRef;
use yolo_model::program::{OperationKind, Program, ValueId};
use yolo_model::weights::StateDict;

use crate::conv::Conv;
use crate::error::Result;
use crate::interpreter::{apply, interpret};

/// A network that runs: any program, with its weights on a device.
#[derive(Module, Debug)]
pub struct Network {
    /// The convolutions, in the order of [`Network::names`].
    pub convs: Vec<Conv>,
    #[module(skip)]
    names: Vec<ConvRef>,
    #[module(skip)]
    program: Program,
    /// For each operation the index of its convolution, if it is one.
    #[module(skip)]
    conv_of: Vec<Option<usize>>,
}

impl Network {
    /// A model on a device.
    ///
    /// # Errors
    /// Widths that disagree; a tensor that is missing or has another shape than the layout says.
    pub fn of(model: &dyn Model, device: &Device) -> Result<Self> {
        let layout = model.layout();
        layout.validate()?;
        Self::load(layout.program(), layout.convs(), layout.is_fused(), model.weights(), device)
    }

    /// `program` with its tensors from `weights`, which are fused or not. `order` is that of gradients and statistics:
    /// the program's convolutions, usually in the order of the state dict.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than the program says.
    pub fn load(
        program: Program,
        order: Vec<ConvRef>,
        fused: bool,
        weights: &StateDict,
        device: &Device,
    ) -> Result<Self> {
        let outputs: HashSet<&str> = program.output_convs().map(|conv| conv.name.as_str()).collect();
        let load = |names: &ConvRef| -> Result<Conv> {
            let mut conv = Conv::load(names, fused, weights, device)?;
            conv.is_output = outputs.contains(names.name.as_str());
            Ok(conv)
        };
        let convs = order.iter().map(load).collect::<Result<_>>()?;
        let index: HashMap<&str, usize> =
            order.iter().enumerate().map(|(i, conv)| (conv.name.as_str(), i)).collect();
        let conv_of =
            program.operations.iter().map(|operation| index.get(operation.conv()?.name.as_str()).copied());
        Ok(Self { convs, conv_of: conv_of.collect(), program, names: order })
    }

    /// Which convolution each of [`Network::convs`] is.
    pub fn names(&self) -> &[ConvRef] {
        &self.names
    }

    /// What it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The convolution called `name` (`model.2.cv1`).
    pub fn conv(&self, name: &str) -> Option<&Conv> {
        self.names.iter().position(|conv| conv.name == name).map(|index| &self.convs[index])
    }

    /// `input` `[N, C, H, W]` → the program's outputs.
    pub fn forward(&self, input: Tensor<4>) -> Vec<Tensor<4>> {
        self.forward_observed(input, |_, _| {})
    }

    /// [`Network::forward`] that shows the output of every operation to `observe`, with the value's number.
    pub fn forward_observed(
        &self,
        input: Tensor<4>,
        mut observe: impl FnMut(ValueId, &Tensor<4>),
    ) -> Vec<Tensor<4>> {
        let outputs =
            interpret(&self.program, &self.program.outputs, input, |index, operation, mut inputs| {
                let output = match (&operation.kind, self.conv_of[index]) {
                    (OperationKind::Conv(_), Some(conv)) => self.convs[conv].forward(inputs.remove(0)),
                    (kind, _) => apply(kind, inputs),
                };
                observe(index + 1, &output);
                Ok::<_, Infallible>(output)
            });
        match outputs {
            Ok(outputs) => outputs,
            Err(never) => match never {},
        }
    }
}
