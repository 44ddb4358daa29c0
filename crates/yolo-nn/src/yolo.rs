//! The detector that runs: an [`Architecture`] with weights on a device.

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use yolo_model::{Architecture, Checkpoint};

use crate::error::Result;
use crate::network::Network;
use crate::training::NamedValues;

/// A YOLO detector on a device.
#[derive(Module, Debug)]
pub struct Yolo {
    pub(crate) network: Network,
    #[module(skip)]
    architecture: Architecture,
    /// For each value the layer whose output it is, the head's excepted.
    #[module(skip)]
    layer_of: Vec<Option<usize>>,
}

impl Yolo {
    /// The network of a checkpoint, on a device.
    ///
    /// # Errors
    /// An architecture that is not consistent; a tensor that is missing or has another shape than it says.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let architecture = checkpoint.architecture.clone();
        architecture.validate()?;
        let program = architecture.program();
        let mut layer_of = vec![None; program.channels.len()];
        // The head is the last layer.
        let inner = program.layers.iter().take(architecture.layers.len() - 1).enumerate();
        inner.for_each(|(layer, &value)| layer_of[value] = Some(layer));
        let weights = &checkpoint.weights;
        let network = Network::load(program, architecture.convs(), architecture.fused, weights, device)?;
        Ok(Self { network, architecture, layer_of })
    }

    /// What the network looks like.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The convolutions and the program.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// `images` `[N, 3, H, W]`, RGB in `[0, 1]`, sides multiples of the largest stride → per level the logits
    /// `[N, channels, H / stride, W / stride]`.
    pub fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        self.network.forward(images)
    }

    /// [`Yolo::forward`] that shows every layer's output (the head's excepted) to `observe`, with its index.
    pub fn forward_observed(
        &self,
        images: Tensor<4>,
        mut observe: impl FnMut(usize, &Tensor<4>),
    ) -> Vec<Tensor<4>> {
        self.network.forward_observed(images, |value, output| {
            if let Some(layer) = self.layer_of[value] {
                observe(layer, output);
            }
        })
    }

    /// See [`Network::gradients`].
    ///
    /// # Errors
    /// As there.
    pub fn gradients(&self, gradients: &Gradients) -> Result<Vec<NamedValues>> {
        self.network.gradients(gradients)
    }

    /// See [`Network::running_statistics`].
    ///
    /// # Errors
    /// As there.
    pub fn running_statistics(&self) -> Result<Vec<NamedValues>> {
        self.network.running_statistics()
    }

    /// See [`Network::freeze_layers`].
    #[must_use]
    pub fn freeze_layers(self, layers: &[usize]) -> Self {
        Self { network: self.network.freeze_layers(layers), ..self }
    }

    /// See [`Network::freeze_batch_norm`].
    #[must_use]
    pub fn freeze_batch_norm(self) -> Self {
        Self { network: self.network.freeze_batch_norm(), ..self }
    }
}
