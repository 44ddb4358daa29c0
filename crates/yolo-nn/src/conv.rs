//! Convolution → batch normalisation → activation.

use burn::module::{Module, Param, RunningState};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::activation::{elu, gelu, leaky_relu, relu, softplus};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use crate::error::Result;
use crate::kernels::{self, Then};
use yolo_model::ModelError;
use yolo_model::architecture::{Activation, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ConvRef, ConvSpec};
use yolo_model::weights::StateDict;

/// Conv2d without bias → BatchNorm2d → activation; once fused, Conv2d with bias → activation; bare, Conv2d with bias or
/// without.
#[derive(Module, Debug)]
pub struct Conv {
    /// The convolution: weight `[out, in / groups, kh, kw]`.
    pub conv: Conv2d,
    /// Batch normalisation over `[out]`; gone once fused, and never there in a bare convolution.
    pub bn: Option<BatchNorm>,
    #[module(skip)]
    activation: Activation,
    /// Whether its output leaves the network, in single precision then.
    #[module(skip)]
    pub(crate) is_output: bool,
    /// The format of the convolution and of what follows, if it differs from that of the weights.
    #[module(skip)]
    pub(crate) mixed: Option<FloatDType>,
}

impl Conv {
    /// The convolution `names` with its tensors from `weights`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn load(names: &ConvRef, fused: bool, weights: &StateDict, device: &Device) -> Result<Self> {
        let has_bias = names.has_bias(fused);
        let bias = has_bias.then(|| names.bias());
        let conv = load_conv2d(names, bias.as_deref(), weights, device)?;
        let bn = match has_bias || names.is_bare {
            true => None,
            false => Some(load_batch_norm(|what| names.bn(what), names.spec.out_channels, weights, device)?),
        };
        Ok(Self { conv, bn, activation: names.spec.activation, is_output: false, mixed: None })
    }

    /// `[N, in, H, W]` → `[N, out, H', W']`.
    ///
    /// On a device with automatic differentiation, and unless the block is frozen, the batch normalisation uses
    /// the statistics of the batch and updates its running ones.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let Some(format) = self.mixed else { return self.forward_in_one_format(x) };
        // Sums over a batch overflow in half precision, so the normalisation keeps to single.
        let x = convolve_in(format, &self.conv, x).cast(FloatDType::F32);
        let then = then(self.activation);
        let x = match &self.bn {
            Some(bn) => normalise(bn, x, then),
            None if then == Then::Silu => kernels::silu(x),
            None => x,
        };
        let x = activate(self.activation, x);
        if self.is_output { x } else { x.cast(format) }
    }

    fn forward_in_one_format(&self, x: Tensor<4>) -> Tensor<4> {
        let then = then(self.activation);
        let x = match &self.bn {
            Some(bn) => normalise(bn, convolve(&self.conv, x, Then::Nothing), then),
            None => convolve(&self.conv, x, then),
        };
        activate(self.activation, x)
    }
}

/// A fused convolution with weights of the caller's choice: `weight` `[out, in / groups, kh, kw]`, `bias` `[out]`.
pub fn fused_conv(spec: &ConvSpec, x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let [vertical, horizontal] = spec.padding;
    let mut options = ConvOptions::new(spec.stride, [0, 0], spec.dilation, spec.groups);
    options.padding = [(vertical, vertical), (horizontal, horizontal)];
    activate(spec.activation, kernels::conv2d(x, weight, Some(bias), options, then(spec.activation)))
}

/// The part of the activation that kernels do on the way.
pub(crate) fn then(activation: Activation) -> Then {
    if activation == Activation::Silu { Then::Silu } else { Then::Nothing }
}

/// The part of the activation that they do not.
pub(crate) fn activate(activation: Activation, x: Tensor<4>) -> Tensor<4> {
    match activation {
        Activation::Silu | Activation::Identity => x,
        Activation::Relu => relu(x),
        Activation::LeakyRelu { slope } => leaky_relu(x, f64::from(slope)),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => {
            let gate = x.clone().add_scalar(3.0).clamp(0.0, 6.0);
            (x * gate).div_scalar(6.0)
        }
        Activation::Mish => x.clone() * softplus(x, 1.0).tanh(),
        Activation::Elu { alpha } => elu(x, f64::from(alpha)),
        Activation::Gelu => gelu(x),
    }
}

/// `conv` in another format than its weights'; gradients pass the change of format, so theirs stays.
fn convolve_in(format: FloatDType, conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let bias = conv.bias.as_ref().map(|bias| bias.val().cast(format));
    kernels::conv2d(x.cast(format), conv.weight.val().cast(format), bias, options(conv), Then::Nothing)
}

/// `conv` by this crate's kernels, then `then`.
///
/// # Panics
/// If the padding is not explicit, as [`load_conv2d`] makes it.
fn convolve(conv: &Conv2d, x: Tensor<4>, then: Then) -> Tensor<4> {
    kernels::conv2d(x, conv.weight.val(), conv.bias.as_ref().map(Param::val), options(conv), then)
}

fn options(conv: &Conv2d) -> ConvOptions<2> {
    let PaddingConfig2d::Explicit(top, left, bottom, right) = conv.padding else {
        panic!("explicit padding instead of {:?}", conv.padding)
    };
    let mut options = ConvOptions::new(conv.stride, [0, 0], conv.dilation, conv.groups);
    options.padding = [(top, bottom), (left, right)];
    options
}

/// `bn`, then `then`. Training is what Burn's own forward takes for it: a device with automatic differentiation
/// and a module that is not frozen.
pub(crate) fn normalise(bn: &BatchNorm, x: Tensor<4>, then: Then) -> Tensor<4> {
    let (gamma, beta) = (bn.gamma.val(), bn.beta.val());
    if !(x.device().is_autodiff() && bn.training.is_enabled()) {
        let statistics =
            [&bn.running_mean, &bn.running_var].map(|state| state.value().to_device(&x.device()));
        return kernels::batch_norm_infer(x, [gamma, beta], statistics, bn.epsilon, then);
    }
    let [batch, channels, height, width] = x.dims();
    let values = (batch * height * width) as f64;
    let result = kernels::batch_norm_train(x, gamma, beta, bn.epsilon, then);
    debug_assert_eq!(result.mean.dims(), [channels]);
    // As PyTorch does, which normalises by the biased variance but remembers the unbiased one. Undefined for a single
    // value.
    let unbiased = result.variance.mul_scalar(values / (values - 1.0).max(1.0));
    update(&bn.running_mean, result.mean, bn.momentum);
    update(&bn.running_var, unbiased, bn.momentum);
    result.output
}

/// `running = (1 − momentum) · running + momentum · batch`.
fn update(running: &RunningState<Tensor<1>>, batch: Tensor<1>, momentum: f64) {
    let old = running.value_sync().to_device(&batch.device());
    let new = old.mul_scalar(1.0 - momentum) + batch.detach().mul_scalar(momentum);
    running.update(new.detach());
}

/// The convolution `names` with its tensors from `weights`. The weight of a linear layer is that of a convolution of 1×1.
fn load_conv2d(names: &ConvRef, bias: Option<&str>, weights: &StateDict, device: &Device) -> Result<Conv2d> {
    let spec = &names.spec;
    let [vertical, horizontal] = spec.padding;
    let weight = reshaped(weights, &names.weight(), &names.weight_shape(), &spec.weight_shape())?;
    Ok(Conv2d {
        weight: Param::from_data(weight, device),
        bias: match bias {
            Some(name) => Some(Param::from_data(tensor_data(weights, name, &[spec.out_channels])?, device)),
            None => None,
        },
        stride: spec.stride,
        kernel_size: spec.kernel,
        dilation: spec.dilation,
        groups: spec.groups,
        padding: PaddingConfig2d::Explicit(vertical, horizontal, vertical, horizontal),
    })
}

/// A batch normalisation over `channels` whose tensors have the names that `name` makes.
pub(crate) fn load_batch_norm(
    name: impl Fn(&str) -> String,
    channels: usize,
    weights: &StateDict,
    device: &Device,
) -> Result<BatchNorm> {
    let data = |what: &str| tensor_data(weights, &name(what), &[channels]);
    let mut bn = BatchNormConfig::new(channels)
        .with_epsilon(BATCH_NORM_EPSILON)
        .with_momentum(BATCH_NORM_MOMENTUM)
        .init(device);
    bn.gamma = Param::from_data(data("weight")?, device);
    bn.beta = Param::from_data(data("bias")?, device);
    bn.running_mean = RunningState::new(Tensor::from_data(data("running_mean")?, device));
    bn.running_var = RunningState::new(Tensor::from_data(data("running_var")?, device));
    Ok(bn)
}

/// The `f32` tensor `name` of `weights`, checked to have `shape`.
pub(crate) fn tensor_data(weights: &StateDict, name: &str, shape: &[usize]) -> Result<TensorData> {
    reshaped(weights, name, shape, shape)
}

/// The same for a tensor that is to have another shape than it is stored with.
fn reshaped(weights: &StateDict, name: &str, stored: &[usize], shape: &[usize]) -> Result<TensorData> {
    let tensor = weights.require(name).map_err(ModelError::from)?;
    if tensor.shape != stored {
        let reason = format!("has shape {:?} but the architecture says {stored:?}", tensor.shape);
        return Err(ModelError::Tensor { name: name.to_owned(), reason }.into());
    }
    Ok(TensorData::new(weights.f32s(name).map_err(ModelError::from)?.to_vec(), shape.to_vec()))
}
