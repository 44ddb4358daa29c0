//! Convolutions of one channel each: few products, so that sums go through the activation to the output in registers.

use super::math::{Activate, activate, silu};
use super::planes::Plane;
use super::span::Span;
use yolo_simd::Simd;

/// Vectors of a row whose sums are in registers at once.
const AT_ONCE: usize = 5;

/// A plane.
pub(crate) struct Depthwise<'a> {
    /// From the first tap of the first pixel on.
    pub(crate) input: Span,
    /// From a pixel's first tap to that of the pixel below and of the pixel to its right.
    pub(crate) steps: [usize; 2],
    /// Distances of the taps.
    pub(crate) taps: &'a [u32],
    /// A weight per tap.
    pub(crate) weights: &'a [f32],
    /// What the sums start from.
    pub(crate) bias: f32,
    /// The tile of the output.
    pub(crate) output: Plane,
    /// What is added behind the activation: like the output.
    pub(crate) residual: Option<Plane>,
    /// Height and width of the output's tile.
    pub(crate) tile: [usize; 2],
    /// The activation.
    pub(crate) activate: Activate,
}

/// Sums, activates, adds, writes.
///
/// # Safety
/// The processor has the instructions; every tap of every pixel and the tiles lie inside their spans; nobody else uses the
/// output.
#[inline(always)]
pub(crate) unsafe fn depthwise<S: Simd>(s: S, d: &Depthwise<'_>) {
    // SAFETY: by the contract of this function.
    unsafe {
        match d.activate {
            Activate::None => rows::<S, false, false>(s, d),
            Activate::Silu => rows::<S, true, false>(s, d),
            _ => rows::<S, false, true>(s, d),
        }
    }
}

#[inline(always)]
unsafe fn rows<S: Simd, const SILU: bool, const OTHER: bool>(s: S, d: &Depthwise<'_>) {
    let [height, width] = d.tile;
    for y in 0..height {
        let mut x = 0;
        // SAFETY: by the contract of the kernel.
        unsafe {
            while x + AT_ONCE <= width {
                pixels::<S, AT_ONCE, SILU, OTHER>(s, d, [y, x]);
                x += AT_ONCE;
            }
            while x + 2 <= width {
                pixels::<S, 2, SILU, OTHER>(s, d, [y, x]);
                x += 2;
            }
            while x < width {
                pixels::<S, 1, SILU, OTHER>(s, d, [y, x]);
                x += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn pixels<S: Simd, const N: usize, const SILU: bool, const OTHER: bool>(
    s: S,
    d: &Depthwise<'_>,
    [y, x]: [usize; 2],
) {
    // SAFETY: by the contract of the kernel.
    unsafe {
        let mut inputs = [d.input; N];
        for i in 0..N {
            inputs[i] = d.input.from(y * d.steps[0] + (x + i) * d.steps[1]);
        }
        let mut sums = [s.splat(d.bias); N];
        for (&tap, &weight) in d.taps.iter().zip(d.weights) {
            let weight = s.splat(weight);
            for i in 0..N {
                sums[i] = s.mul_add(weight, inputs[i].load(s, tap as usize), sums[i]);
            }
        }
        let output = d.output.pixels.from(y * d.output.row + x * S::LANES);
        for i in 0..N {
            if SILU {
                sums[i] = silu(s, sums[i]);
            } else if OTHER {
                sums[i] = activate(s, sums[i], d.activate);
            }
            if let Some(residual) = d.residual {
                let at = y * residual.row + (x + i) * S::LANES;
                sums[i] = s.add(sums[i], residual.pixels.load(s, at));
            }
            output.store(s, i * S::LANES, sums[i]);
        }
    }
}
