//! Batch normalisation that stands alone, and transposed convolutions.

use burn::module::{Module, Param};
use burn::nn::BatchNorm;
use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use yolo_model::architecture::{Activation, NormRef, TransposedRef, TransposedSpec};
use yolo_model::weights::StateDict;

use crate::conv::{activate, load_batch_norm, normalise, tensor_data, then};
use crate::error::Result;
use crate::kernels::{Then, silu};

/// Batch normalisation → activation.
#[derive(Module, Debug)]
pub struct Norm {
    /// Over `[C]`.
    pub bn: BatchNorm,
    #[module(skip)]
    activation: Activation,
    /// The format of what comes and goes, if it differs from that of the weights.
    #[module(skip)]
    pub(crate) mixed: Option<FloatDType>,
}

impl Norm {
    /// The normalisation `names` with its tensors from `weights`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn load(names: &NormRef, weights: &StateDict, device: &Device) -> Result<Self> {
        let bn = load_batch_norm(|what| names.tensor(what), names.spec.channels, weights, device)?;
        Ok(Self { bn, activation: names.spec.activation, mixed: None })
    }

    /// `[N, C, H, W]` → the same; the statistics are those that [`crate::Conv::forward`] uses.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let format = match x.dtype() {
            DType::F16 => FloatDType::F16,
            DType::BF16 => FloatDType::BF16,
            _ => return activate(self.activation, normalise(&self.bn, x, then(self.activation))),
        };
        // Sums over a batch overflow in half precision, and running statistics stay in single.
        let x = x.cast(FloatDType::F32);
        let x = match self.mixed {
            Some(_) => activate(self.activation, normalise(&self.bn, x, then(self.activation))),
            None => activate(self.activation, self.in_single(x)),
        };
        x.cast(format)
    }

    /// The normalisation by its running statistics, then what kernels would do on the way, where its parameters are in half
    /// precision.
    fn in_single(&self, x: Tensor<4>) -> Tensor<4> {
        let [gamma, beta] = [&self.bn.gamma, &self.bn.beta].map(|param| param.val().cast(FloatDType::F32));
        let [mean, var] =
            [&self.bn.running_mean, &self.bn.running_var].map(|state| state.value().to_device(&x.device()));
        let scale = gamma / var.add_scalar(self.bn.epsilon).sqrt();
        let shift = beta - mean * scale.clone();
        let channels = scale.dims()[0];
        let [scale, shift] = [scale, shift].map(|vector| vector.reshape([1, channels, 1, 1]));
        let x = x * scale + shift;
        if then(self.activation) == Then::Silu { silu(x) } else { x }
    }
}

/// A transposed convolution.
#[derive(Module, Debug)]
pub struct Transposed {
    /// `[in, out / groups, kh, kw]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    spec: TransposedSpec,
    /// The format of the convolution, if it differs from that of the weights.
    #[module(skip)]
    pub(crate) mixed: Option<FloatDType>,
}

impl Transposed {
    /// The convolution `names` with its tensors from `weights`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn load(names: &TransposedRef, weights: &StateDict, device: &Device) -> Result<Self> {
        let weight = tensor_data(weights, &names.weight(), &names.spec.weight_shape())?;
        let bias = tensor_data(weights, &names.bias(), &[names.spec.out_channels])?;
        Ok(Self {
            weight: Param::from_data(weight, device),
            bias: Param::from_data(bias, device),
            spec: names.spec.clone(),
            mixed: None,
        })
    }

    /// `[N, in, H, W]` → `[N, out, H', W']`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let spec = &self.spec;
        let options = ConvTransposeOptions::new(
            spec.stride,
            spec.padding,
            spec.output_padding,
            spec.dilation,
            spec.groups,
        );
        let (mut weight, mut bias) = (self.weight.val(), self.bias.val());
        if let Some(format) = self.mixed {
            (weight, bias) = (weight.cast(format), bias.cast(format));
        }
        conv_transpose2d(x, weight, Some(bias), options)
    }
}
