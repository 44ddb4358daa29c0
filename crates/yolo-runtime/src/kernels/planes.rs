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

impl Plane {
    /// From the pixel vector `row` rows below and `column` columns right of the first on.
    ///
    /// # Safety
    /// It lies in the tile.
    pub(crate) unsafe fn shifted(self, row: usize, column: usize, lanes: usize) -> Self {
        // SAFETY: by contract.
        Self { pixels: unsafe { self.pixels.from(row * self.row + column * lanes) }, row: self.row }
    }
}

/// Which pixel vectors of two planes meet: those at `(y, x) · from` and at `(y, x) · to`, for all of `tile`.
pub(crate) struct Lattice {
    /// Rows and columns.
    pub(crate) tile: [usize; 2],
    /// Step in the plane that is read.
    pub(crate) from: [usize; 2],
    /// Step in the plane that is written.
    pub(crate) to: [usize; 2],
}

/// Copies the pixel vectors that meet.
///
/// # Safety
/// As for [`upsample`].
#[inline(always)]
pub(crate) unsafe fn spread<S: Simd>(s: S, input: Plane, output: Plane, lattice: &Lattice) {
    let Lattice { tile, from, to } = *lattice;
    for y in 0..tile[0] {
        for x in 0..tile[1] {
            // SAFETY: by the contract of this function.
            unsafe {
                let v = input.pixels.load(s, y * from[0] * input.row + x * from[1] * S::LANES);
                output.pixels.store(s, y * to[0] * output.row + x * to[1] * S::LANES, v);
            }
        }
    }
}

/// Writes the maximum of each square of `size` of `input` to `output`, whose tile is `tile`.
///
/// # Safety
/// As for [`upsample`].
#[inline(always)]
pub(crate) unsafe fn pool_squares<S: Simd>(
    s: S,
    input: Plane,
    output: Plane,
    tile: [usize; 2],
    size: [usize; 2],
) {
    for y in 0..tile[0] {
        for x in 0..tile[1] {
            // SAFETY: by the contract of this function.
            unsafe {
                let corner = input.pixels.from(y * size[0] * input.row + x * size[1] * S::LANES);
                let mut v = corner.load(s, 0);
                for row in 0..size[0] {
                    for column in 0..size[1] {
                        v = s.max(v, corner.load(s, row * input.row + column * S::LANES));
                    }
                }
                output.pixels.store(s, y * output.row + x * S::LANES, v);
            }
        }
    }
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
