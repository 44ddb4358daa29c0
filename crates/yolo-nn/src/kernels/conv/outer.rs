//! `sums[k][o] += Σ_q grid[offset[k] + q] · dy[q][o]`.
#![allow(unsafe_code, reason = "the inner loop reads through pointers")]

use yolo_simd::{Kernel, Simd};

/// Output channels are padded with zeros to whole multiples of this.
pub(super) const OUT_MULTIPLE: usize = 16;
/// Sums of this many `k` are held in registers at once.
const DEPTH: usize = 8;

/// The sums of a band.
pub(super) struct Outer<'a> {
    pub(super) grid: &'a [f32],
    /// Per `k`.
    pub(super) offsets: &'a [usize],
    /// Distance between the rows of the grid.
    pub(super) pitch: usize,
    pub(super) rows: usize,
    pub(super) width: usize,
    /// `[rows · width, outs]`, from [`Transpose`].
    pub(super) transposed: &'a [f32],
    /// Output channels, a multiple of [`OUT_MULTIPLE`].
    pub(super) outs: usize,
    /// `[offsets, outs]`.
    pub(super) sums: &'a mut [f32],
}

impl Kernel for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Some(furthest) = self.offsets.iter().max() else { return };
        if self.rows == 0 || self.width == 0 {
            return;
        }
        assert!(furthest + (self.rows - 1) * self.pitch + self.width <= self.grid.len());
        assert_eq!(self.transposed.len(), self.rows * self.width * self.outs);
        assert_eq!(self.sums.len(), self.offsets.len() * self.outs);
        assert!(self.outs.is_multiple_of(OUT_MULTIPLE));
        let mut out = 0;
        while out < self.outs {
            if S::MANY_REGISTERS && out + 2 * S::LANES <= self.outs {
                self.column::<S, 2>(s, out);
                out += 2 * S::LANES;
            } else {
                self.column::<S, 1>(s, out);
                out += S::LANES;
            }
        }
    }
}

impl Outer<'_> {
    #[inline(always)]
    fn column<S: Simd, const VECTORS: usize>(&mut self, s: S, out: usize) {
        let mut k = 0;
        while k < self.offsets.len() {
            // SAFETY: `run` checked the furthest offset and all lengths; `k + N` offsets are there, and `out`
            // leaves room for the vectors.
            unsafe {
                match self.offsets.len() - k {
                    DEPTH.. => {
                        self.block::<S, VECTORS, DEPTH>(s, out, k);
                        k += DEPTH;
                    }
                    4.. => {
                        self.block::<S, VECTORS, 4>(s, out, k);
                        k += 4;
                    }
                    _ => {
                        self.block::<S, VECTORS, 1>(s, out, k);
                        k += 1;
                    }
                }
            }
        }
    }

    /// # Safety
    /// The lengths were checked, `k + N` is at most the number of offsets and the vectors end before `outs`.
    #[inline(always)]
    unsafe fn block<S: Simd, const VECTORS: usize, const N: usize>(&mut self, s: S, out: usize, k: usize) {
        // SAFETY: see above; every pointer stays on the slice it comes from.
        unsafe {
            let sums = self.sums.as_mut_ptr().add(k * self.outs + out);
            let mut acc = [[s.splat(0.0); VECTORS]; N];
            for (i, acc) in acc.iter_mut().enumerate() {
                for (v, acc) in acc.iter_mut().enumerate() {
                    *acc = s.load(sums.add(i * self.outs + v * S::LANES));
                }
            }
            let mut grid = [self.grid.as_ptr(); N];
            for (grid, offset) in grid.iter_mut().zip(&self.offsets[k..]) {
                *grid = grid.add(*offset);
            }
            let mut dy = self.transposed.as_ptr().add(out);
            for _ in 0..self.rows {
                for x in 0..self.width {
                    let mut d = [s.splat(0.0); VECTORS];
                    for (v, d) in d.iter_mut().enumerate() {
                        *d = s.load(dy.add(v * S::LANES));
                    }
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let x = s.splat(*grid[i].add(x));
                        for v in 0..VECTORS {
                            acc[v] = s.mul_add(x, d[v], acc[v]);
                        }
                    }
                    dy = dy.wrapping_add(self.outs);
                }
                for grid in &mut grid {
                    *grid = grid.wrapping_add(self.pitch);
                }
            }
            for (i, acc) in acc.iter().enumerate() {
                for (v, acc) in acc.iter().enumerate() {
                    s.store(sums.add(i * self.outs + v * S::LANES), *acc);
                }
            }
        }
    }
}

/// `[channels, pixels]`, `stride` apart, as `[pixels, outs]` with zeros behind the channels.
pub(super) struct Transpose<'a> {
    pub(super) planes: &'a [f32],
    pub(super) stride: usize,
    pub(super) channels: usize,
    pub(super) pixels: usize,
    pub(super) outs: usize,
    pub(super) into: &'a mut [f32],
}

impl Kernel for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { planes, stride, channels, pixels, outs, into } = self;
        assert!(
            channels <= outs
                && pixels <= stride
                && (channels == 0 || channels * stride - stride + pixels <= planes.len())
        );
        assert_eq!(into.len(), pixels * outs);
        if channels < outs {
            for pixel in into.chunks_exact_mut(outs) {
                pixel[channels..].fill(0.0);
            }
        }
        let (full_channels, full_pixels) = (channels / S::LANES * S::LANES, pixels / S::LANES * S::LANES);
        for pixel in (0..full_pixels).step_by(S::LANES) {
            for channel in (0..full_channels).step_by(S::LANES) {
                // SAFETY: the block ends at or before the last channel and pixel on both sides.
                unsafe {
                    let from = planes.as_ptr().add(channel * stride + pixel);
                    s.transpose_block(from, stride, into.as_mut_ptr().add(pixel * outs + channel), outs);
                }
            }
        }
        for channel in 0..channels {
            let from = if channel < full_channels { full_pixels } else { 0 };
            for pixel in from..pixels {
                into[pixel * outs + channel] = planes[channel * stride + pixel];
            }
        }
    }
}
