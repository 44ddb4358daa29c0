//! Plane by plane: enlarging, copying, adding, and the way between rows of pixels and lane-tiled planes.

use super::span::Span;
use yolo_simd::Simd;

/// A plane's tile: where its pixels lie.
#[derive(Clone, Copy)]
pub(crate) struct Plane {
    /// From the first pixel vector on.
    pub(crate) pixels: Span,
    /// Numbers from a row to the next.
    pub(crate) row: usize,
}

/// Enlarges `input` by `scale` into `output`, whose tile is `tile`. A scale of 1 copies.
///
/// # Safety
/// The processor has the instructions; tiles lie inside their spans; nobody else uses the output.
#[inline(always)]
pub(crate) unsafe fn upsample<S: Simd>(s: S, input: Plane, output: Plane, tile: [usize; 2], scale: usize) {
    for y in 0..tile[0] {
        for x in 0..tile[1] / scale {
            // SAFETY: by the contract of this function.
            unsafe {
                let v = input.pixels.load(s, y / scale * input.row + x * S::LANES);
                for i in 0..scale {
                    output.pixels.store(s, y * output.row + (x * scale + i) * S::LANES, v);
                }
            }
        }
    }
}

/// Writes `a + b` to `output`.
///
/// # Safety
/// As for [`upsample`].
#[inline(always)]
pub(crate) unsafe fn add<S: Simd>(s: S, a: Plane, b: Plane, output: Plane, tile: [usize; 2]) {
    for y in 0..tile[0] {
        for x in 0..tile[1] {
            // SAFETY: by the contract of this function.
            unsafe {
                let sum = s.add(
                    a.pixels.load(s, y * a.row + x * S::LANES),
                    b.pixels.load(s, y * b.row + x * S::LANES),
                );
                output.pixels.store(s, y * output.row + x * S::LANES, sum);
            }
        }
    }
}

/// Brings a row of a map into vectors: lane `i` of vector `x` becomes the number `x` behind `starts[i]`.
///
/// # Safety
/// The processor has the instructions; there are `LANES` starts with `columns` numbers each; the vectors lie
/// inside `to`; nobody else uses them.
#[inline(always)]
pub(crate) unsafe fn interleave<S: Simd>(s: S, from: Span, starts: &[usize], columns: usize, to: Span) {
    // SAFETY: by the contract of this function.
    unsafe {
        if columns < S::LANES {
            for (lane, start) in starts.iter().enumerate() {
                for x in 0..columns {
                    to.set(x * S::LANES + lane, from.get(start + x));
                }
            }
            return;
        }
        let mut x = 0;
        while x < columns {
            // The last block begins where it ends with the row.
            x = x.min(columns - S::LANES);
            let mut rows = [s.splat(0.0); 16];
            for lane in 0..S::LANES {
                rows[lane] = from.load(s, starts[lane] + x);
            }
            s.transpose(&mut rows);
            for i in 0..S::LANES {
                to.store(s, (x + i) * S::LANES, rows[i]);
            }
            x += S::LANES;
        }
    }
}
