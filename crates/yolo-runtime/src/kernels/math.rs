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
}

impl Activate {
    pub(crate) fn of(activation: Activation) -> Self {
        match activation {
            Activation::None => Self::None,
            Activation::Silu => Self::Silu,
            Activation::Relu => Self::Leaky(0.0),
            Activation::LeakyRelu(slope) => Self::Leaky(slope),
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
