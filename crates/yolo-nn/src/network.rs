//! A program with weights on a device.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use yolo_model::Model;
use yolo_model::architecture::{ConvRef, NormRef, TransposedRef};
use yolo_model::program::{OperationKind, Program, ValueId};
use yolo_model::weights::StateDict;

use crate::conv::Conv;
use crate::error::Result;
use crate::interpreter::{apply, interpret};
use crate::norm::{Norm, Transposed};

/// A network that runs: any program, with its weights on a device.
#[derive(Module, Debug)]
pub struct Network {
    /// The convolutions, in the order of [`Network::names`].
    pub convs: Vec<Conv>,
    #[module(skip)]
    names: Vec<ConvRef>,
    #[module(skip)]
    program: Program,
    /// Batch normalisations that stand alone, in order of execution.
    pub norms: Vec<Norm>,
    #[module(skip)]
    norm_names: Vec<NormRef>,
    /// Transposed convolutions, in order of execution.
    pub transposed: Vec<Transposed>,
    #[module(skip)]
    transposed_names: Vec<TransposedRef>,
    /// For each operation the index of its convolution, batch normalisation or transposed convolution, if it is one.
    #[module(skip)]
    part_of: Vec<Option<usize>>,
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
        let (mut norms, mut norm_names) = (Vec::new(), Vec::new());
        let (mut transposed, mut transposed_names) = (Vec::new(), Vec::new());
        let mut part_of = Vec::new();
        for operation in &program.operations {
            part_of.push(match &operation.kind {
                OperationKind::Conv(conv) => index.get(conv.name.as_str()).copied(),
                OperationKind::Norm(names) => {
                    norms.push(Norm::load(names, weights, device)?);
                    norm_names.push(names.clone());
                    Some(norms.len() - 1)
                }
                OperationKind::Transposed(names) => {
                    transposed.push(Transposed::load(names, weights, device)?);
                    transposed_names.push(names.clone());
                    Some(transposed.len() - 1)
                }
                _ => None,
            });
        }
        Ok(Self { convs, norms, norm_names, transposed, transposed_names, part_of, program, names: order })
    }

    /// Which convolution each of [`Network::convs`] is.
    pub fn names(&self) -> &[ConvRef] {
        &self.names
    }

    /// Which batch normalisation each of [`Network::norms`] is.
    pub fn norm_names(&self) -> &[NormRef] {
        &self.norm_names
    }

    /// Which convolution each of [`Network::transposed`] is.
    pub fn transposed_names(&self) -> &[TransposedRef] {
        &self.transposed_names
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
                let output = match (&operation.kind, self.part_of[index]) {
                    (OperationKind::Conv(_), Some(conv)) => self.convs[conv].forward(inputs.remove(0)),
                    (OperationKind::Norm(_), Some(norm)) => self.norms[norm].forward(inputs.remove(0)),
                    (OperationKind::Transposed(_), Some(transposed)) => {
                        self.transposed[transposed].forward(inputs.remove(0))
                    }
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
