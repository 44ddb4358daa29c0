//! `out[o][q] = bias[o] + Σₖ weights[o][k] · grid[offset[k] + q]`, written where it belongs.
#![allow(unsafe_code, reason = "the inner loop reads the grid through pointers")]

use std::ops::Range;

use yolo_simd::{Kernel, Simd, Unit};

use super::super::activation::silu;
use super::super::buffer::Target;

/// Vectors in a row of a tile; with [`panel_height`] rows all sums stay in registers.
const VECTORS: usize = 3;
/// Columns of the widest tile.
const COLUMNS: usize = VECTORS * 16;
/// Weights up to this many numbers stay in the cache while the grid goes by.
const CACHED_WEIGHTS: usize = 64 * 1024;

/// Output channels that are computed at once.
pub(super) fn panel_height(unit: Unit) -> usize {
    struct Height;
    impl Kernel for Height {
        type Output = usize;
        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> usize {
            if S::MANY_REGISTERS { 8 } else { 4 }
        }
    }
    unit.run(Height)
}

/// Weights `[channels, depth]`, of which `weights(channel)` gives a row, as panels `[depth, height]`; rows past the
/// last channel are zeros.
pub(super) fn pack<W: Iterator<Item = f32>>(
    unit: Unit,
    channels: usize,
    depth: usize,
    weights: impl Fn(usize) -> W,
) -> Vec<f32> {
    let height = panel_height(unit);
    let mut packed = vec![0.0; channels.div_ceil(height) * depth * height];
    for channel in 0..channels {
        let column = &mut packed[channel / height * depth * height..][..depth * height];
        let column = column.iter_mut().skip(channel % height).step_by(height);
        column.zip(weights(channel)).for_each(|(to, weight)| *to = weight);
    }
    packed
}

/// The sums of a band.
pub(super) struct Rows<'a> {
    pub(super) grid: &'a [f32],
    /// Per `k`.
    pub(super) offsets: &'a [usize],
    /// From [`pack`].
    pub(super) weights: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) silu: bool,
    pub(super) channels: usize,
    /// How many `q`.
    pub(super) positions: usize,
    pub(super) sink: Sink<'a>,
}

/// Where the sums go: position `q` is row `q / pitch`, column `q % pitch`, and only some of both count.
pub(super) struct Sink<'a> {
    pub(super) target: Target<'a>,
    /// The place of channel 0, row 0, column 0, which may itself lie outside the output.
    pub(super) base: isize,
    pub(super) channel_stride: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
    pub(super) pitch: usize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

type Tile = [[f32; COLUMNS]; 8];

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let furthest = self.offsets.iter().copied().max().unwrap_or(0);
        assert!(self.offsets.is_empty() || furthest + self.positions <= self.grid.len());
        if S::MANY_REGISTERS {
            self.sweep::<S, 8>(s);
        } else {
            self.sweep::<S, 4>(s);
        }
    }
}

impl Rows<'_> {
    /// All tiles; the operand that fits the cache is the inner loop.
    #[inline(always)]
    fn sweep<S: Simd, const HEIGHT: usize>(&self, s: S) {
        let panels = self.channels.div_ceil(HEIGHT);
        assert!(self.weights.len() >= panels * self.offsets.len() * HEIGHT);
        let tiles = self.positions.div_ceil(VECTORS * S::LANES);
        // Made once: clearing it for every tile would show.
        let sums = &mut [[0.0; COLUMNS]; 8];
        if self.weights.len() <= CACHED_WEIGHTS || self.weights.len() < self.grid.len() {
            for tile in 0..tiles {
                for panel in 0..panels {
                    self.tile::<S, HEIGHT>(s, panel, tile, sums);
                }
            }
        } else {
            for panel in 0..panels {
                for tile in 0..tiles {
                    self.tile::<S, HEIGHT>(s, panel, tile, sums);
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const HEIGHT: usize>(&self, s: S, panel: usize, tile: usize, sums: &mut Tile) {
        let depth = self.offsets.len();
        let start = tile * VECTORS * S::LANES;
        let columns = (self.positions - start).min(VECTORS * S::LANES);
        let first = panel * HEIGHT;
        let channels = HEIGHT.min(self.channels - first);
        let mut bias = [0.0; HEIGHT];
        if let Some(all) = self.bias {
            bias[..channels].copy_from_slice(&all[first..first + channels]);
        }
        let operands = Operands {
            weights: self.weights[panel * depth * HEIGHT..].as_ptr(),
            grid: self.grid.as_ptr(),
            start,
            offsets: self.offsets,
            last: columns - (columns - 1) / S::LANES * S::LANES,
        };
        // SAFETY: `run` asserted that every offset leaves room for all positions, and `start + columns` are
        // not more; `sweep` asserted that the panel is there.
        unsafe {
            match (columns.div_ceil(S::LANES), operands.last == S::LANES) {
                (1, true) => multiply::<S, HEIGHT, 1, false>(s, operands, &bias, sums),
                (1, false) => multiply::<S, HEIGHT, 1, true>(s, operands, &bias, sums),
                (2, true) => multiply::<S, HEIGHT, 2, false>(s, operands, &bias, sums),
                (2, false) => multiply::<S, HEIGHT, 2, true>(s, operands, &bias, sums),
                (_, true) => multiply::<S, HEIGHT, 3, false>(s, operands, &bias, sums),
                (_, false) => multiply::<S, HEIGHT, 3, true>(s, operands, &bias, sums),
            }
        }
        if self.silu {
            activate(s, sums, channels);
        }
        self.sink.write(s, sums, first, channels, start..start + columns);
    }
}

struct Operands<'a> {
    weights: *const f32,
    grid: *const f32,
    start: usize,
    offsets: &'a [usize],
    /// Lanes of the last vector that count.
    last: usize,
}

/// # Safety
/// `weights` has `HEIGHT` numbers per offset; the grid has the tile's columns from `start` plus every offset on.
#[inline(always)]
unsafe fn multiply<S: Simd, const HEIGHT: usize, const N: usize, const MASKED: bool>(
    s: S,
    operands: Operands<'_>,
    bias: &[f32; HEIGHT],
    sums: &mut Tile,
) {
    let mut acc = [[s.splat(0.0); N]; HEIGHT];
    for (acc, bias) in acc.iter_mut().zip(bias) {
        *acc = [s.splat(*bias); N];
    }
    let mut weights = operands.weights;
    for offset in operands.offsets {
        // SAFETY: the caller's contract; the last vector reads only the lanes that count.
        unsafe {
            let grid = operands.grid.add(offset + operands.start);
            let mut x = [s.splat(0.0); N];
            for (v, x) in x.iter_mut().enumerate() {
                *x = if MASKED && v == N - 1 {
                    s.load_first(grid.add(v * S::LANES), operands.last)
                } else {
                    s.load(grid.add(v * S::LANES))
                };
            }
            for (o, acc) in acc.iter_mut().enumerate() {
                let w = s.splat(*weights.add(o));
                for v in 0..N {
                    acc[v] = s.mul_add(w, x[v], acc[v]);
                }
            }
            weights = weights.add(HEIGHT);
        }
    }
    for (row, acc) in sums.iter_mut().zip(&acc) {
        for (v, acc) in acc.iter().enumerate() {
            // SAFETY: a row has room for three vectors of sixteen.
            unsafe { s.store(row.as_mut_ptr().add(v * S::LANES), *acc) }
        }
    }
}

#[inline(always)]
fn activate<S: Simd>(s: S, sums: &mut Tile, channels: usize) {
    for row in &mut sums[..channels] {
        for v in 0..VECTORS {
            // SAFETY: a row has room for three vectors of sixteen.
            unsafe {
                let at = row.as_mut_ptr().add(v * S::LANES);
                s.store(at, silu(s, s.load(at)));
            }
        }
    }
}

impl Sink<'_> {
    /// Writes the sums of `channels` channels from `first` on, at `positions`.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, sums: &Tile, first: usize, channels: usize, positions: Range<usize>) {
        let mut row = positions.start / self.pitch;
        let mut row_start = row * self.pitch;
        while row_start < positions.end {
            let start = positions.start.max(row_start + self.columns.start);
            let end = positions.end.min(row_start + self.columns.end);
            if start < end && self.rows.contains(&row) {
                let column = start - row_start;
                let place = self.base + (row * self.row_stride + column * self.column_stride) as isize;
                for (c, row) in sums[..channels].iter().enumerate() {
                    let place = place as usize + (first + c) * self.channel_stride;
                    self.write_run(s, &row[start - positions.start..end - positions.start], place);
                }
            }
            row += 1;
            row_start += self.pitch;
        }
    }

    #[inline(always)]
    fn write_run<S: Simd>(&self, s: S, run: &[f32], place: usize) {
        // SAFETY: bands, phases and channels own disjoint places, see the callers; `at` checks the bounds.
        unsafe {
            let to = self.target.at(place, (run.len() - 1) * self.column_stride + 1);
            if self.column_stride == 1 {
                for start in (0..run.len()).step_by(S::LANES) {
                    let n = S::LANES.min(run.len() - start);
                    s.store_first(to.add(start), s.load_first(run.as_ptr().add(start), n), n);
                }
            } else {
                for (i, x) in run.iter().enumerate() {
                    to.add(i * self.column_stride).write(*x);
                }
            }
        }
    }
}
