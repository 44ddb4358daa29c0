//! The functions behind convolutions.

use crate::network::Activation;
use yolo_simd::Simd;

/// How a kernel ends its sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activate {
    /// Not at all.
    None,
    /// `x · σ(x)`.
    Silu,
    /// `max(x, slope · x)`.
    Leaky(f32),
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · min(max(x + 3, 0), 6) / 6`.
    Hardswish,
    /// `x · tanh(ln(1 + eˣ))`.
    Mish,
    /// `x` above zero, `alpha · (eˣ − 1)` below.
    Elu(f32),
    /// `x · Φ(x)`.
    Gelu,
}

impl Activate {
    pub(crate) fn of(activation: Activation) -> Self {
        match activation {
            Activation::None => Self::None,
            Activation::Silu => Self::Silu,
            Activation::Relu => Self::Leaky(0.0),
            Activation::LeakyRelu(slope) => Self::Leaky(slope),
            Activation::Relu6 => Self::Relu6,
            Activation::Hardswish => Self::Hardswish,
            Activation::Mish => Self::Mish,
            Activation::Elu(alpha) => Self::Elu(alpha),
            Activation::Gelu => Self::Gelu,
        }
    }
}

/// `e^x`, within 3e-7 of it, relative, for −87 <= `x` <= 87; the bounds' values outside.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // The polynomial of degree 5 that is closest to e^r, relative, for |r| <= ln(2) / 2: 7.5e-8.
    const C: [f32; 6] = [1.000_000_1, 0.999_999_7, 0.499_988_94, 0.166_675_75, 0.041_915_43, 0.008_297_648];
    let x = s.max(s.min(x, s.splat(87.0)), s.splat(-87.0));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = if S::FUSED {
        // The product is exact, and the constant so close that n times its error stays below 2.5e-7.
        s.mul_add(n, s.splat(-std::f32::consts::LN_2), x)
    } else {
        // ln(2) in two parts: n times the first, which has 10 bits, is exact.
        let r = s.mul_add(n, s.splat(-0.693_359_4), x);
        s.mul_add(n, s.splat(2.121_944_4e-4), r)
    };
    let mut p = s.splat(C[5]);
    p = s.mul_add(p, r, s.splat(C[4]));
    p = s.mul_add(p, r, s.splat(C[3]));
    p = s.mul_add(p, r, s.splat(C[2]));
    p = s.mul_add(p, r, s.splat(C[1]));
    p = s.mul_add(p, r, s.splat(C[0]));
    s.scale(p, n)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.reciprocal(s.add(e, s.splat(1.0)))
}

/// `x · σ(x)`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, sigmoid(s, x))
}

/// `x · tanh(ln(1 + eˣ))`: with `n = eˣ · (eˣ + 2)` that is `x · n / (n + 2)`.
#[inline(always)]
fn mish<S: Simd>(s: S, x: S::V) -> S::V {
    // Beyond 20 the quotient is 1, and its parts would overflow.
    let e = exp(s, s.min(x, s.splat(20.0)));
    let n = s.mul(e, s.add(e, s.splat(2.0)));
    s.mul(x, s.mul(n, s.reciprocal(s.add(n, s.splat(2.0)))))
}

/// `x` above zero, `alpha · (eˣ − 1)` below.
#[inline(always)]
fn elu<S: Simd>(s: S, x: S::V, alpha: f32) -> S::V {
    let zero = s.splat(0.0);
    let below = s.sub(exp(s, s.min(x, zero)), s.splat(1.0));
    s.mul_add(s.splat(alpha), below, s.max(x, zero))
}

/// `x · Φ(x)`, with Abramowitz and Stegun's 7.1.26 for the normal distribution: within 1.5e-7 of it.
#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    const C: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
    let size = s.max(x, s.sub(s.splat(0.0), x));
    let scaled = s.mul(size, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.reciprocal(s.mul_add(scaled, s.splat(0.327_591_1), s.splat(1.0)));
    let mut p = s.splat(C[4]);
    p = s.mul_add(p, t, s.splat(C[3]));
    p = s.mul_add(p, t, s.splat(C[2]));
    p = s.mul_add(p, t, s.splat(C[1]));
    p = s.mul_add(p, t, s.splat(C[0]));
    let tail = s.mul(s.mul(p, t), exp(s, s.sub(s.splat(0.0), s.mul(scaled, scaled))));
    // Φ(−|x|) is half of the tail.
    s.sub(s.max(x, s.splat(0.0)), s.mul(size, s.mul(s.splat(0.5), tail)))
}

/// Any activation.
#[inline(always)]
pub(crate) fn activate<S: Simd>(s: S, x: S::V, activate: Activate) -> S::V {
    let zero = s.splat(0.0);
    match activate {
        Activate::None => x,
        Activate::Silu => silu(s, x),
        Activate::Leaky(slope) => s.max(x, s.mul(x, s.splat(slope))),
        Activate::Relu6 => s.min(s.max(x, zero), s.splat(6.0)),
        Activate::Hardswish => {
            let gate = s.min(s.max(s.add(x, s.splat(3.0)), zero), s.splat(6.0));
            s.mul(s.mul(x, gate), s.splat(1.0 / 6.0))
        }
        Activate::Mish => mish(s, x),
        Activate::Elu(alpha) => elu(s, x, alpha),
        Activate::Gelu => gelu(s, x),
    }
}
