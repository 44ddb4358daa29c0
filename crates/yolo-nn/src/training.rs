//! What training needs of a running network: gradients and statistics under PyTorch's names, frozen parts.

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::{Gradients, Tensor, TensorData, Transaction};
use yolo_model::architecture::ConvRef;

use crate::conv::Conv;
use crate::error::{NnError, Result};
use crate::network::Network;

/// A tensor on the host: its name, and its values in row-major order.
pub type NamedValues = (String, Vec<f32>);

impl Network {
    /// The gradient of every parameter that has one in `gradients`: those of convolutions in the order of the state dict, then
    /// the others.
    ///
    /// # Errors
    /// [`NnError::Device`] if the device does not return its results.
    pub fn gradients(&self, gradients: &Gradients) -> Result<Vec<NamedValues>> {
        let mut reader = Reader::default();
        for (names, conv) in self.named_convs() {
            reader.push(names.weight(), conv.conv.weight.val().grad(gradients));
            if let Some(bias) = &conv.conv.bias {
                reader.push(names.bias(), bias.val().grad(gradients));
            }
            if let Some(bn) = &conv.bn {
                reader.push(names.bn("weight"), bn.gamma.val().grad(gradients));
                reader.push(names.bn("bias"), bn.beta.val().grad(gradients));
            }
        }
        for (names, norm) in self.norm_names().iter().zip(&self.norms) {
            reader.push(names.tensor("weight"), norm.bn.gamma.val().grad(gradients));
            reader.push(names.tensor("bias"), norm.bn.beta.val().grad(gradients));
        }
        for (names, transposed) in self.transposed_names().iter().zip(&self.transposed) {
            reader.push(names.weight(), transposed.weight.val().grad(gradients));
            reader.push(names.bias(), transposed.bias.val().grad(gradients));
        }
        reader.read()
    }

    /// Running means and variances of every batch normalisation (`….running_mean`, `….running_var`, `[C]`).
    ///
    /// # Errors
    /// [`NnError::Device`] if the device does not return its results.
    pub fn running_statistics(&self) -> Result<Vec<NamedValues>> {
        let mut reader = Reader::default();
        for (names, conv) in self.named_convs() {
            if let Some(bn) = &conv.bn {
                reader.push(names.bn("running_mean"), Some(bn.running_mean.value_sync()));
                reader.push(names.bn("running_var"), Some(bn.running_var.value_sync()));
            }
        }
        for (names, norm) in self.norm_names().iter().zip(&self.norms) {
            reader.push(names.tensor("running_mean"), Some(norm.bn.running_mean.value_sync()));
            reader.push(names.tensor("running_var"), Some(norm.bn.running_var.value_sync()));
        }
        reader.read()
    }

    fn named_convs(&self) -> impl Iterator<Item = (&ConvRef, &Conv)> {
        self.names().iter().zip(&self.convs)
    }

    /// The network whose layers `layers` have no gradients; their running statistics still move.
    #[must_use]
    pub fn freeze_layers(mut self, layers: &[usize]) -> Self {
        let convs = std::mem::take(&mut self.convs);
        self.convs = frozen(convs, self.names().iter().map(|conv| conv.layer), layers);
        let norms = std::mem::take(&mut self.norms);
        self.norms = frozen(norms, self.norm_names().iter().map(|norm| norm.layer), layers);
        let transposed = std::mem::take(&mut self.transposed);
        let names = self.transposed_names().iter();
        self.transposed = frozen(transposed, names.map(|transposed| transposed.layer), layers);
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
        let of_blocks = self.convs.iter_mut().filter_map(|conv| conv.bn.as_mut());
        for bn in of_blocks.chain(self.norms.iter_mut().map(|norm| &mut norm.bn)) {
            bn.momentum = momentum;
        }
    }
}

/// `parts`, each of the layer in `layer_of`, without gradients where that is one of `layers`.
fn frozen<M: Module>(parts: Vec<M>, layer_of: impl Iterator<Item = usize>, layers: &[usize]) -> Vec<M> {
    let freeze = |(part, layer): (M, usize)| if layers.contains(&layer) { part.no_grad() } else { part };
    parts.into_iter().zip(layer_of).map(freeze).collect()
}

struct FreezeBatchNorm;

impl ModuleMapper for FreezeBatchNorm {
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(false)
    }
}

/// Tensors that are read back together: a GPU is waited for once instead of hundreds of times.
#[derive(Default)]
struct Reader {
    names: Vec<String>,
    tensors: Transaction,
}

impl Reader {
    fn push<const D: usize>(&mut self, name: String, tensor: Option<Tensor<D>>) {
        if let Some(tensor) = tensor {
            self.names.push(name);
            self.tensors = std::mem::take(&mut self.tensors).register(tensor);
        }
    }

    fn read(self) -> Result<Vec<NamedValues>> {
        let data = self.tensors.try_execute().map_err(|error| failed(&error))?;
        self.names.into_iter().zip(data).map(|(name, data)| Ok((name, floats(data)?))).collect()
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
