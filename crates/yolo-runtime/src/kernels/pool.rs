//! Maximum over square windows, stride 1.

use super::span::Span;
use yolo_simd::Simd;

/// One channel of a max-pool.
pub(crate) struct Pool<'a> {
    /// First pixel vector of the input plane.
    pub(crate) input: Span,
    /// Numbers from a row of the input to the next.
    pub(crate) input_row: usize,
    /// First pixel vector of the output plane.
    pub(crate) output: Span,
    /// Numbers from a row of the output to the next.
    pub(crate) output_row: usize,
    /// Rows and columns of the tile.
    pub(crate) tile: [usize; 2],
    /// How far the window reaches: a window of 5 reaches 2.
    pub(crate) reach: usize,
    /// For every vector of the tile with its border of `reach`, row by row.
    pub(crate) sources: &'a [Source],
    /// Lane of each lane, −1 for −∞: `LANES` numbers per permutation.
    pub(crate) permutations: &'a [i32],
    /// Room for the tile with its border and for the maxima of its rows.
    pub(crate) scratch: Span,
}

/// Where a vector of the tile with border comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Row of the tile.
    pub(crate) y: u32,
    /// Column of the tile.
    pub(crate) x: u32,
    /// Which permutation of the lanes.
    pub(crate) permutation: u32,
}

/// Vectors of scratch that a tile needs.
pub(crate) fn scratch_vectors(tile: [usize; 2], reach: usize) -> usize {
    (tile[0] + 2 * reach) * (2 * tile[1] + 2 * reach)
}

/// Pools one channel.
///
/// # Safety
/// The processor has the instructions; everything lies inside its span; nobody else uses output and scratch.
#[inline(always)]
pub(crate) unsafe fn pool<S: Simd>(s: S, p: &Pool<'_>) {
    let [height, width] = p.tile;
    let window = 2 * p.reach + 1;
    let (rows, row) = (height + 2 * p.reach, width + 2 * p.reach);
    // SAFETY: by the contract of this function, and scratch is as large as `scratch_vectors` says.
    unsafe {
        for (at, source) in p.sources.iter().enumerate() {
            let index = p.permutations[source.permutation as usize * S::LANES..][..S::LANES].as_ptr();
            let v = p.input.load(s, source.y as usize * p.input_row + source.x as usize * S::LANES);
            p.scratch.store(s, at * S::LANES, s.permute(v, index, s.splat(f32::NEG_INFINITY)));
        }
        let maxima = p.scratch.from(rows * row * S::LANES);
        for y in 0..rows {
            for x in 0..width {
                let mut v = p.scratch.load(s, (y * row + x) * S::LANES);
                for i in 1..window {
                    v = s.max(v, p.scratch.load(s, (y * row + x + i) * S::LANES));
                }
                maxima.store(s, (y * width + x) * S::LANES, v);
            }
        }
        for y in 0..height {
            for x in 0..width {
                let mut v = maxima.load(s, (y * width + x) * S::LANES);
                for i in 1..window {
                    v = s.max(v, maxima.load(s, ((y + i) * width + x) * S::LANES));
                }
                p.output.store(s, y * p.output_row + x * S::LANES, v);
            }
        }
    }
}
