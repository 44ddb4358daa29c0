//! SiLU, `x · σ(x)`, and its derivative, on vectors and on slices.
#![allow(unsafe_code, reason = "walks slices with vector loads and stores")]

use rayon::prelude::*;

use super::buffer::Output;
use super::lanes::{Kernel, Lanes, Level};

/// Numbers per task; fixed, so that results cannot depend on scheduling.
const CHUNK: usize = 1 << 15;

/// The exponential, to a relative error of 2e-7 where the result is a normal number; 0 … infinity outside.
///
/// With `n = round(x / ln 2)` and `r = x − n · ln 2`, `eˣ = 2ⁿ · eʳ`, and `eʳ` is a polynomial on ±0.35. NaN
/// comes out as some finite number: callers keep it alive by multiplying by the argument.
#[inline(always)]
fn exp<L: Lanes>(lanes: L, x: L::V) -> L::V {
    // Minimax coefficients of Cephes' expf, of rⁿ for n = 7 down to 2.
    const POLYNOMIAL: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // ln 2 in two parts; the first has few bits, so that n times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = lanes.min(lanes.max(x, lanes.splat(-87.3)), lanes.splat(89.0));
    let n = lanes.round(lanes.mul(x, lanes.splat(std::f32::consts::LOG2_E)));
    let r = lanes.fma(n, lanes.splat(-LN2_HIGH), x);
    let r = lanes.fma(n, lanes.splat(-LN2_LOW), r);
    let mut p = lanes.splat(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        p = lanes.fma(p, r, lanes.splat(*coefficient));
    }
    let p = lanes.add(lanes.fma(p, lanes.mul(r, r), r), lanes.splat(1.0));
    lanes.mul(p, lanes.pow2(n))
}

/// `x / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn silu<L: Lanes>(lanes: L, x: L::V) -> L::V {
    let e = exp(lanes, lanes.sub(lanes.splat(0.0), x));
    lanes.div(x, lanes.add(lanes.splat(1.0), e))
}

/// `dy · σ(x) · (1 + x · (1 − σ(x)))`.
#[inline(always)]
pub(crate) fn silu_gradient<L: Lanes>(lanes: L, x: L::V, dy: L::V) -> L::V {
    let one = lanes.splat(1.0);
    let e = exp(lanes, lanes.sub(lanes.splat(0.0), x));
    let sigmoid = lanes.div(one, lanes.add(one, e));
    let slope = lanes.fma(lanes.mul(x, sigmoid), lanes.sub(one, sigmoid), sigmoid);
    lanes.mul(dy, slope)
}

/// `SiLU(x)` of every number.
pub(crate) fn silu_forward(level: Level, x: &[f32]) -> Vec<f32> {
    elementwise(level, x, None)
}

/// The gradient of `x`, given that of `SiLU(x)`.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn silu_backward(level: Level, x: &[f32], dy: &[f32]) -> Vec<f32> {
    elementwise(level, x, Some(dy))
}

fn elementwise(level: Level, x: &[f32], dy: Option<&[f32]>) -> Vec<f32> {
    assert!(dy.is_none_or(|dy| dy.len() == x.len()));
    let mut output = Output::new(x.len());
    let target = output.target();
    (0..x.len().div_ceil(CHUNK)).into_par_iter().for_each(|task| {
        let part = task * CHUNK..x.len().min((task + 1) * CHUNK);
        // SAFETY: the parts of two tasks are disjoint.
        let to = unsafe { target.at(part.start, part.len()) };
        level.run(Part { x: &x[part.clone()], dy: dy.map(|dy| &dy[part]), to });
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
    fn run<L: Lanes>(self, lanes: L) {
        for start in (0..self.x.len()).step_by(L::N) {
            let n = L::N.min(self.x.len() - start);
            // SAFETY: `n` numbers from `start` on lie inside `x`, `dy` of the same length, and `to`.
            unsafe {
                let x = lanes.load_first(self.x.as_ptr().add(start), n);
                let y = match self.dy {
                    None => silu(lanes, x),
                    Some(dy) => silu_gradient(lanes, x, lanes.load_first(dy.as_ptr().add(start), n)),
                };
                lanes.store_first(self.to.add(start), y, n);
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
        for &level in Level::all() {
            let (y, dx) = (silu_forward(level, &x), silu_backward(level, &x, &ones));
            for ((x, y), dx) in x.iter().zip(&y).zip(&dx) {
                let [golden_y, golden_dx] = reference(*x);
                // Relative, down to where the result is no longer a normal number.
                let error = (f64::from(*y) - golden_y).abs();
                assert!(error <= 1e-6 * golden_y.abs() + 1e-36, "{level:?} silu({x}) = {y}, not {golden_y}");
                let error = (f64::from(*dx) - golden_dx).abs();
                assert!(error <= 1e-6, "{level:?} silu'({x}) = {dx}, not {golden_dx}");
            }
        }
    }

    #[test]
    fn extremes_are_finite_and_nan_stays() {
        let x = [0.0, 1e-30, 1e4, -1e4, f32::MAX, f32::MIN, f32::INFINITY, f32::NAN];
        for &level in Level::all() {
            let y = silu_forward(level, &x);
            assert_eq!(y[..7], [0.0, 5e-31, 1e4, -0.0, f32::MAX, -0.0, f32::INFINITY], "{level:?}");
            assert!(y[7].is_nan(), "{level:?}");
            let dx = silu_backward(level, &x[..6], &[2.0; 6]);
            assert_eq!(dx, [1.0, 1.0, 2.0, 0.0, 2.0, 0.0], "{level:?}");
            assert!(silu_backward(level, &[f32::NAN], &[1.0])[0].is_nan(), "{level:?}");
        }
    }
}
