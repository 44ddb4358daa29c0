//! Convolution, batch normalisation and SiLU, forward and backward.
//!
//! On Burn's flex back end (`f32` tensors) they run on this crate's own kernels, parallel,
//! vectorised, and bitwise repeatable whatever the number of threads; everywhere else they are Burn's
//! operations. Both are differentiable, and both compute the same functions.

mod activation;
mod autodiff;
mod buffer;
mod conv;
mod flex;
mod memory;
mod norm;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, activation as burn_activation, module};

pub use memory::keep_freed_memory;

use {burn::backend::Dispatch, flex::TrainingOps};

/// What follows a convolution or a batch normalisation in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// `x · σ(x)`.
    Silu,
}

/// A batch normalisation's output with the statistics it used.
#[derive(Debug)]
pub struct BatchNormOutput {
    /// `[N, C, H, W]`.
    pub output: Tensor<4>,
    /// `[C]`, without gradient.
    pub mean: Tensor<1>,
    /// Biased: the mean squared deviation. `[C]`, without gradient.
    pub variance: Tensor<1>,
}

/// `y[n, o, i, j] = bias[o] + Σ weight[o, c, k, l] · x[n, c, stride · i + dilation · k − padding, …]`, then `then`.
///
/// # Shapes
/// - `x`: `[N, C, H, W]`
/// - `weight`: `[O, C / groups, kh, kw]`
/// - `bias`: `[O]`
/// - output: `[N, O, H', W']`, `H' = ⌊(H + 2 · padding − dilation · (kh − 1) − 1) / stride⌋ + 1`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
    then: Then,
) -> Tensor<4> {
    if on_flex(&x) && options.padding.iter().all(|(begin, end)| begin == end) {
        let (x, weight, silu) = (x.into_dispatch(), weight.into_dispatch(), then == Then::Silu);
        return Tensor::from_dispatch(match bias.map(Tensor::into_dispatch) {
            None => Dispatch::conv_forward(x, weight, options, silu),
            Some(bias) => Dispatch::conv_bias_forward(x, weight, bias, options, silu),
        });
    }
    apply(module::conv2d(x, weight, bias, options), then)
}

/// `x · σ(x)` of every element.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if on_flex(&x) {
        return Tensor::from_dispatch(Dispatch::fast_silu(x.into_dispatch()));
    }
    burn_activation::silu(x)
}

/// `γ · (x − mean) / √(variance + ε) + β` by the statistics of the batch itself, then `then`.
///
/// # Shapes
/// - `x`: `[N, C, H, W]`
/// - `gamma`, `beta`: `[C]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    then: Then,
) -> BatchNormOutput {
    if on_flex(&x) {
        let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
        let (output, mean, variance) = Dispatch::norm_train(x, gamma, beta, epsilon, then == Then::Silu);
        return BatchNormOutput {
            output: Tensor::from_dispatch(output),
            mean: Tensor::from_dispatch(mean),
            variance: Tensor::from_dispatch(variance),
        };
    }
    let result = module::batch_norm_train(x, gamma, beta, epsilon);
    BatchNormOutput {
        output: apply(result.output, then),
        mean: result.mean.detach(),
        variance: result.variance.detach(),
    }
}

/// `γ · (x − mean) / √(variance + ε) + β` by given statistics, then `then`; shapes as in [`batch_norm_train`].
///
/// # Panics
/// If the shapes do not fit each other.
pub fn batch_norm_infer(
    x: Tensor<4>,
    [gamma, beta]: [Tensor<1>; 2],
    [mean, variance]: [Tensor<1>; 2],
    epsilon: f64,
    then: Then,
) -> Tensor<4> {
    if on_flex(&x) {
        let [gamma, beta] = [gamma, beta].map(Tensor::into_dispatch);
        let [mean, variance] = [mean, variance].map(Tensor::into_dispatch);
        let (x, silu) = (x.into_dispatch(), then == Then::Silu);
        let y = Dispatch::norm_infer(x, gamma, beta, mean, variance, epsilon, silu);
        return Tensor::from_dispatch(y);
    }
    apply(module::batch_norm(x, gamma, beta, mean, variance, epsilon), then)
}

fn apply(x: Tensor<4>, then: Then) -> Tensor<4> {
    match then {
        Then::Nothing => x,
        Then::Silu => silu(x),
    }
}

/// Whether `x` is what the kernels take.
fn on_flex<const D: usize>(x: &Tensor<D>) -> bool {
    // Devices are equal if they are the same hardware, with automatic differentiation or without.
    x.dtype() == burn::tensor::DType::F32 && x.device() == burn::tensor::Device::flex()
}
