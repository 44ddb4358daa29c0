//! Binary cross-entropy on logits, optionally focal.

use burn::tensor::{Tensor, activation};

/// Weight of positive examples in the focal loss.
const FOCAL_ALPHA: f64 = 0.25;

/// Options of a cross-entropy term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BceOptions {
    /// Factor on the term of positive examples.
    pub positive_weight: f64,
    /// Exponent of the focal loss; 0 turns it off.
    pub focal_gamma: f64,
}

/// Mean over all elements of the binary cross-entropy of `logits` against `targets` in `[0, 1]`, as `[1]`.
///
/// `−w·t·ln σ(x) − (1−t)·ln(1−σ(x))`, in the form that does not overflow. With `focal_gamma > 0` every element
/// is multiplied by `[t·α + (1−t)(1−α)]·(1−p_t)^γ`, `p_t = t·p + (1−t)(1−p)`, α = 0.25 (Lin et al. 2017).
pub fn bce_with_logits<const D: usize>(
    logits: Tensor<D>,
    targets: Tensor<D>,
    options: BceOptions,
) -> Tensor<1> {
    let loss = elementwise(logits.clone(), targets.clone(), options.positive_weight);
    if options.focal_gamma <= 0.0 {
        return loss.mean();
    }
    let p = activation::sigmoid(logits);
    let negative = targets.clone().neg().add_scalar(1.0);
    let p_t = targets.clone() * p.clone() + negative.clone() * p.neg().add_scalar(1.0);
    let alpha = targets.mul_scalar(FOCAL_ALPHA) + negative.mul_scalar(1.0 - FOCAL_ALPHA);
    let modulation = p_t.neg().add_scalar(1.0).powf_scalar(options.focal_gamma as f32);
    (loss * alpha * modulation).mean()
}

/// `(1−t)·x + (1 + (w−1)·t)·(ln(1 + e^−|x|) + max(−x, 0))`.
fn elementwise<const D: usize>(x: Tensor<D>, t: Tensor<D>, positive_weight: f64) -> Tensor<D> {
    let softplus = x.clone().abs().neg().exp().log1p() + activation::relu(x.clone().neg());
    let linear = t.clone().neg().add_scalar(1.0) * x;
    if positive_weight == 1.0 {
        return linear + softplus;
    }
    linear + t.mul_scalar(positive_weight - 1.0).add_scalar(1.0) * softplus
}
