//! What training needs of a running network: gradients and statistics under PyTorch's names, frozen parts.

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData, Transaction};

use crate::blocks::{Conv, Node};
use crate::error::{NnError, Result};
use crate::yolo::Yolo;

/// A tensor on the host: its name, and its values in row-major order.
pub type NamedValues = (String, Vec<f32>);

impl Yolo {
    /// The gradient of every parameter that has one in `gradients`, in the order of the state dict.
    ///
    /// # Errors
    /// [`NnError::Device`] where the device does not return its results.
    pub fn gradients(&self, gradients: &Gradients) -> Result<Vec<NamedValues>> {
        let mut reader = Reader::new(Wanted::Gradients(gradients));
        self.visit(&mut reader);
        reader.read()
    }

    /// Running means and variances of every batch normalisation (`….running_mean`, `….running_var`, `[C]`).
    ///
    /// # Errors
    /// [`NnError::Device`] where the device does not return its results.
    pub fn running_statistics(&self) -> Result<Vec<NamedValues>> {
        let mut reader = Reader::new(Wanted::Statistics);
        // A state that was updated hands its value out only after it is synchronised, which `valid` does.
        self.valid().visit(&mut reader);
        reader.read()
    }
}

impl Yolo {
    /// The network whose layers `layers` have no gradients; their running statistics still move.
    #[must_use]
    pub fn freeze_layers(mut self, layers: &[usize]) -> Self {
        let nodes = std::mem::take(&mut self.model).into_iter().enumerate();
        self.model = nodes.map(|(i, node)| if layers.contains(&i) { node.no_grad() } else { node }).collect();
        self
    }

    /// The network without gradients that still normalises by the statistics of its batches: for measuring
    /// them.
    #[must_use]
    pub fn without_gradients(self) -> Self {
        self.no_grad()
    }

    /// The network whose batch normalisations keep to their running statistics, and leave them as they are.
    #[must_use]
    pub fn freeze_batch_norm(self) -> Self {
        self.map(&mut FreezeBatchNorm)
    }

    /// Sets the share of a batch in the running statistics, in `(0, 1]`.
    pub fn set_batch_norm_momentum(&mut self, momentum: f64) {
        for conv in self.conv_blocks_mut() {
            if let Some(bn) = &mut conv.bn {
                bn.momentum = momentum;
            }
        }
    }

    pub(crate) fn conv_blocks_mut(&mut self) -> Vec<&mut Conv> {
        let mut blocks = Vec::new();
        for node in &mut self.model {
            match node {
                Node::Conv(conv) => blocks.push(conv),
                Node::Bottleneck(b) => blocks.extend([&mut b.cv1, &mut b.cv2]),
                Node::C3(c3) => {
                    blocks.extend([&mut c3.cv1, &mut c3.cv2, &mut c3.cv3]);
                    blocks.extend(c3.m.iter_mut().flat_map(|b| [&mut b.cv1, &mut b.cv2]));
                }
                Node::Sppf(sppf) => blocks.extend([&mut sppf.cv1, &mut sppf.cv2]),
                Node::Upsample(_) | Node::Concat(_) | Node::Detect(_) => {}
            }
        }
        blocks
    }
}

struct FreezeBatchNorm;

impl ModuleMapper for FreezeBatchNorm {
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(false)
    }
}

enum Wanted<'a> {
    Gradients(&'a Gradients),
    Statistics,
}

struct Reader<'a> {
    /// Names of the modules around; `None` for a variant of an enum, which PyTorch's names do not have.
    path: Vec<Option<String>>,
    wanted: Wanted<'a>,
    names: Vec<String>,
    /// The tensors of these names, which are read back together: a GPU is waited for once instead of hundreds of times.
    tensors: Transaction,
}

impl<'a> Reader<'a> {
    fn new(wanted: Wanted<'a>) -> Self {
        Self { path: Vec::new(), wanted, names: Vec::new(), tensors: Transaction::default() }
    }

    fn read(self) -> Result<Vec<NamedValues>> {
        let data = self.tensors.try_execute().map_err(|error| failed(&error))?;
        self.names.into_iter().zip(data).map(|(name, data)| Ok((name, floats(data)?))).collect()
    }

    /// `model.0.Conv.bn.gamma` → `model.0.bn.weight`.
    fn name(&self) -> String {
        let mut parts: Vec<&str> = self.path.iter().flatten().map(String::as_str).collect();
        if let Some(last) = parts.last_mut() {
            *last = match *last {
                "gamma" => "weight",
                "beta" => "bias",
                other => other,
            };
        }
        parts.join(".")
    }
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        let is_variant = container_type.starts_with("Enum:");
        self.path.push((!is_variant).then(|| name.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.name();
        let is_statistic = name.ends_with(".running_mean") || name.ends_with(".running_var");
        let tensor = match self.wanted {
            Wanted::Gradients(gradients) if !is_statistic => param.val().grad(gradients),
            Wanted::Statistics if is_statistic => Some(param.val()),
            _ => None,
        };
        if let Some(tensor) = tensor {
            self.names.push(name);
            self.tensors = std::mem::take(&mut self.tensors).register(tensor);
        }
    }
}

/// The values of a tensor, read back from its device, in row-major order.
///
/// # Errors
/// [`NnError::Device`] where the device does not return its results.
pub fn host_values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    floats(tensor.try_into_data().map_err(|error| failed(&error))?)
}

fn floats(data: TensorData) -> Result<Vec<f32>> {
    data.try_into_vec_as::<f32>().map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Debug) -> NnError {
    NnError::Device { reason: format!("{error:?}") }
}
