//! SiLU, `x · σ(x)`, and its derivative, on vectors and on slices.
#![allow(unsafe_code, reason = "walks slices with vector loads and stores")]

use rayon::prelude::*;
use yolo_simd::{Kernel, Simd, Unit};

use super::buffer::Output;

/// Numbers per task; fixed, so that results cannot depend on scheduling.
const CHUNK: usize = 1 << 15;

/// The exponential, to a relative error of 2e-7 where the result is a normal number; 0 … infinity outside.
///
/// With `n = round(x / ln 2)` and `r = x − n · ln 2`, `eˣ = 2ⁿ · eʳ`, and `eʳ` is a polynomial on ±0.35. NaN
/// comes out as some finite number: callers keep it alive by multiplying by the argument.
#[inline(always)]
fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // Minimax coefficients of Cephes' expf, of rⁿ for n = 7 down to 2.
    const POLYNOMIAL: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // ln 2 in two parts; the first has few bits, so that n times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = s.min(s.max(x, s.splat(-87.3)), s.splat(89.0));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        p = s.mul_add(p, r, s.splat(*coefficient));
    }
    let p = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    s.mul(p, s.pow2(n))
}

/// `x / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(x, s.add(s.splat(1.0), e))
}

/// `dy · σ(x) · (1 + x · (1 − σ(x)))`.
#[inline(always)]
pub(crate) fn silu_gradient<S: Simd>(s: S, x: S::V, dy: S::V) -> S::V {
    let one = s.splat(1.0);
    let e = exp(s, s.sub(s.splat(0.0), x));
    let sigmoid = s.div(one, s.add(one, e));
    let slope = s.mul_add(s.mul(x, sigmoid), s.sub(one, sigmoid), sigmoid);
    s.mul(dy, slope)
}

/// `SiLU(x)` of every number.
pub(crate) fn silu_forward(unit: Unit, x: &[f32]) -> Vec<f32> {
    elementwise(unit, x, None)
}

/// The gradient of `x`, given that of `SiLU(x)`.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn silu_backward(unit: Unit, x: &[f32], dy: &[f32]) -> Vec<f32> {
    elementwise(unit, x, Some(dy))
}

fn elementwise(unit: Unit, x: &[f32], dy: Option<&[f32]>) -> Vec<f32> {
    assert!(dy.is_none_or(|dy| dy.len() == x.len()));
    let mut output = Output::new(x.len());
    let target = output.target();
    (0..x.len().div_ceil(CHUNK)).into_par_iter().for_each(|task| {
        let part = task * CHUNK..x.len().min((task + 1) * CHUNK);
        // SAFETY: the parts of two tasks are disjoint.
        let to = unsafe { target.at(part.start, part.len()) };
        unit.run(Part { x: &x[part.clone()], dy: dy.map(|dy| &dy[part]), to });
    });
    // SAFETY: the parts cover everything.
    unsafe { output.finish(x.len()) }
}

/// `to` has room for as many numbers as `x` has.
struct Part<'a> {
    x: &'a [f32],
    dy: Option<&'a [f32]>,
    to: *mut f32,
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for start in (0..self.x.len()).step_by(S::LANES) {
            let n = S::LANES.min(self.x.len() - start);
            // SAFETY: `n` numbers from `start` on lie inside `x`, `dy` of the same length, and `to`.
            unsafe {
                let x = s.load_first(self.x.as_ptr().add(start), n);
                let y = match self.dy {
                    None => silu(s, x),
                    Some(dy) => silu_gradient(s, x, s.load_first(dy.as_ptr().add(start), n)),
                };
                s.store_first(self.to.add(start), y, n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(x: f32) -> [f64; 2] {
        let x = f64::from(x);
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        [x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid))]
    }

    #[test]
    fn silu_and_its_derivative_equal_the_formula() {
        let x: Vec<f32> = (-400_003..400_003).map(|i| i as f32 * 2.3e-4).collect();
        let ones = vec![1.0; x.len()];
        for unit in Unit::all() {
            let (y, dx) = (silu_forward(unit, &x), silu_backward(unit, &x, &ones));
            for ((x, y), dx) in x.iter().zip(&y).zip(&dx) {
                let [golden_y, golden_dx] = reference(*x);
                // Relative, down to where the result is no longer a normal number.
                let error = (f64::from(*y) - golden_y).abs();
                assert!(error <= 1e-6 * golden_y.abs() + 1e-36, "{unit:?} silu({x}) = {y}, not {golden_y}");
                let error = (f64::from(*dx) - golden_dx).abs();
                assert!(error <= 1e-6, "{unit:?} silu'({x}) = {dx}, not {golden_dx}");
            }
        }
    }

    #[test]
    fn extremes_are_finite_and_nan_stays() {
        let x = [0.0, 1e-30, 1e4, -1e4, f32::MAX, f32::MIN, f32::INFINITY, f32::NAN];
        for unit in Unit::all() {
            let y = silu_forward(unit, &x);
            assert_eq!(y[..7], [0.0, 5e-31, 1e4, -0.0, f32::MAX, -0.0, f32::INFINITY], "{unit:?}");
            assert!(y[7].is_nan(), "{unit:?}");
            let dx = silu_backward(unit, &x[..6], &[2.0; 6]);
            assert_eq!(dx, [1.0, 1.0, 2.0, 0.0, 2.0, 0.0], "{unit:?}");
            assert!(silu_backward(unit, &[f32::NAN], &[1.0])[0].is_nan(), "{unit:?}");
        }
    }
}
