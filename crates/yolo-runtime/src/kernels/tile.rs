//! The inner loops of every convolution.
//!
//! A tile is `NC` output channels by `NP` pixel vectors, held in registers. What it sums is given by lists of
//! taps: a tap is an input channel and a place in the window, written as the distance of its number from the
//! tile's pixels. A dense layer has one list with all taps; in a sparse one each group of channels has lists of
//! its own, one for every set of channels that share a tap, so that no zero is ever multiplied.

use super::span::Span;
use yolo_simd::Simd;

/// What a tile kernel works on.
pub(crate) struct Tile<'a> {
    /// The input image.
    pub(crate) input: Span,
    /// Where the first tap of each pixel vector lies in the input: `NP` numbers.
    pub(crate) pixels: &'a [u32],
    /// Distance of each tap from there, list after list.
    pub(crate) taps: &'a [u32],
    /// Weights in the order of the taps: as many per tap as its list has channels.
    pub(crate) weights: &'a [f32],
    /// Taps in each list.
    pub(crate) counts: &'a [u32],
    /// What the sums start from, one number per channel; `None` to continue from `sums`.
    pub(crate) bias: Option<&'a [f32]>,
    /// The sums, `[NC, NP]` vectors.
    pub(crate) sums: Span,
}

/// A kernel for one size of tile.
///
/// # Safety
/// The processor has the instructions; `pixels`, `counts` and `bias` are as long as the tile says; every tap of
/// every pixel lies in `input`, which nobody writes to; nobody else uses `sums`.
pub(crate) type TileKernel = unsafe fn(&Tile<'_>);

#[inline(always)]
unsafe fn start<S: Simd, const NC: usize, const NP: usize>(s: S, tile: &Tile<'_>) -> [[S::V; NP]; NC] {
    let mut sums = [[s.splat(0.0); NP]; NC];
    if let Some(bias) = tile.bias {
        for c in 0..NC {
            sums[c] = [s.splat(bias[c]); NP];
        }
    } else {
        for c in 0..NC {
            for p in 0..NP {
                // SAFETY: by the contract of the kernel.
                sums[c][p] = unsafe { tile.sums.load(s, (c * NP + p) * S::LANES) };
            }
        }
    }
    sums
}

#[inline(always)]
unsafe fn finish<S: Simd, const NC: usize, const NP: usize>(s: S, tile: &Tile<'_>, sums: [[S::V; NP]; NC]) {
    for c in 0..NC {
        for p in 0..NP {
            // SAFETY: by the contract of the kernel.
            unsafe { tile.sums.store(s, (c * NP + p) * S::LANES, sums[c][p]) };
        }
    }
}

#[inline(always)]
unsafe fn pixel_spans<const NP: usize>(tile: &Tile<'_>) -> [Span; NP] {
    let mut spans = [tile.input; NP];
    for p in 0..NP {
        // SAFETY: by the contract of the kernel.
        spans[p] = unsafe { tile.input.from(tile.pixels[p] as usize) };
    }
    spans
}

/// All channels share every tap: dense and block-sparse layers.
///
/// # Safety
/// That of [`TileKernel`].
#[inline(always)]
pub(crate) unsafe fn full<S: Simd, const NC: usize, const NP: usize>(s: S, tile: &Tile<'_>) {
    // SAFETY: by the contract of the kernel.
    let (mut sums, pixels) = unsafe { (start::<S, NC, NP>(s, tile), pixel_spans::<NP>(tile)) };
    for (&tap, weights) in tile.taps.iter().zip(tile.weights.as_chunks::<NC>().0) {
        let tap = tap as usize;
        if NP <= NC {
            let mut x = [s.splat(0.0); NP];
            for p in 0..NP {
                // SAFETY: by the contract of the kernel.
                x[p] = unsafe { pixels[p].load(s, tap) };
            }
            for c in 0..NC {
                let w = s.splat(weights[c]);
                for p in 0..NP {
                    sums[c][p] = s.mul_add(w, x[p], sums[c][p]);
                }
            }
        } else {
            let mut w = [s.splat(0.0); NC];
            for c in 0..NC {
                w[c] = s.splat(weights[c]);
            }
            for p in 0..NP {
                // SAFETY: by the contract of the kernel.
                let x = unsafe { pixels[p].load(s, tap) };
                for c in 0..NC {
                    sums[c][p] = s.mul_add(w[c], x, sums[c][p]);
                }
            }
        }
    }
    // SAFETY: by the contract of the kernel.
    unsafe { finish(s, tile, sums) };
}

/// What a kernel for matrix products place by place works on: see [`super::winograd`].
pub(crate) struct Batch<'a> {
    /// Transformed patches: `[places, channels, room]` vectors, from the first patch of the tile on.
    pub(crate) input: Span,
    /// Places.
    pub(crate) places: usize,
    /// Numbers from one channel to the next.
    pub(crate) room: usize,
    /// `[places, channels, NC]`.
    pub(crate) weights: &'a [f32],
    /// The sums, `[places, NC, NP]` vectors.
    pub(crate) sums: Span,
}

/// A kernel for one size of tile.
///
/// # Safety
/// The processor has the instructions; everything lies in its span; nobody else uses `sums`.
pub(crate) type BatchKernel = unsafe fn(&Batch<'_>);

/// For each place the product of its weights with its `NP` patches.
///
/// # Safety
/// That of [`BatchKernel`].
#[inline(always)]
pub(crate) unsafe fn batch<S: Simd, const NC: usize, const NP: usize>(s: S, b: &Batch<'_>) {
    let weights = b.weights.as_chunks::<NC>().0;
    let channels = weights.len() / b.places;
    for place in 0..b.places {
        let mut sums = [[s.splat(0.0); NP]; NC];
        // SAFETY: by the contract of the kernel.
        unsafe {
            let input = b.input.from(place * channels * b.room);
            for (channel, weights) in weights[place * channels..][..channels].iter().enumerate() {
                let mut x = [s.splat(0.0); NP];
                for p in 0..NP {
                    x[p] = input.load(s, channel * b.room + p * S::LANES);
                }
                for c in 0..NC {
                    let w = s.splat(weights[c]);
                    for p in 0..NP {
                        sums[c][p] = s.mul_add(w, x[p], sums[c][p]);
                    }
                }
            }
            let to = b.sums.from(place * NC * NP * S::LANES);
            for c in 0..NC {
                for p in 0..NP {
                    to.store(s, (c * NP + p) * S::LANES, sums[c][p]);
                }
            }
        }
    }
}

/// What a kernel for zipped lists works on: one or two channels at a time, each with separate taps, as many for
/// both.
pub(crate) struct Zip<'a> {
    /// The input image.
    pub(crate) input: Span,
    /// Where the first tap of each pixel vector lies in the input.
    pub(crate) pixels: &'a [u32],
    /// Sets with the same number of taps follow each other, so that the processor foresees the ends of their
    /// loops.
    pub(crate) runs: &'a [ZipRun],
    /// The channels of each set.
    pub(crate) channels: &'a [u16],
    /// Distances of the taps of a set's channels, in turn, set after set.
    pub(crate) taps: &'a [u32],
    /// Their weights.
    pub(crate) weights: &'a [f32],
    /// What the sums start from, one number per channel; `None` to continue from `sums`.
    pub(crate) bias: Option<&'a [f32]>,
    /// The sums, `[channels, pixels]` vectors.
    pub(crate) sums: Span,
    /// Taps that the next tile will read, asked for on the way.
    pub(crate) next_taps: &'a [u32],
    /// The pixels of that tile.
    pub(crate) next_pixels: &'a [u32],
}

/// Sets of channels with the same number of taps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZipRun {
    pub(crate) sets: u32,
    pub(crate) taps: u32,
}

/// A kernel for one size of tile.
///
/// # Safety
/// The processor has the instructions; there are as many pixels as the kernel is for, and where it is for rows,
/// those of a row are evenly spaced; channels have sums and biases; every tap of every pixel lies in `input`,
/// which nobody writes to; nobody else uses `sums`.
pub(crate) type ZipKernel = unsafe fn(&Zip<'_>);

/// Pixel vectors in a row of a patch.
pub(crate) const PATCH_WIDTH: usize = 5;

/// `C` channels at a time, each with its own taps, for `R` rows of `W` pixel vectors that lie `STRIDE` vectors from
/// each other. Rows leave the compiler one address for all of their vectors.
///
/// # Safety
/// That of [`ZipKernel`].
#[inline(always)]
pub(crate) unsafe fn zip<S: Simd, const C: usize, const R: usize, const W: usize, const STRIDE: usize>(
    s: S,
    z: &Zip<'_>,
) {
    let mut rows = [z.input; R];
    for r in 0..R {
        // SAFETY: by the contract of the kernel.
        rows[r] = unsafe { z.input.from(z.pixels[r * W] as usize) };
    }
    let sets = z.channels.as_chunks::<C>().0;
    let (all_taps, all_weights) = (z.taps.as_chunks::<C>().0, z.weights.as_chunks::<C>().0);
    let share = z.next_taps.len().div_ceil(sets.len().max(1));
    let (mut set, mut entry) = (0, 0);
    for run in z.runs {
        let count = run.taps as usize;
        for _ in 0..run.sets {
            let channels = sets[set].map(usize::from);
            let mut sums = [[[s.splat(0.0); W]; R]; C];
            // SAFETY: by the contract of the kernel.
            unsafe {
                for c in 0..C {
                    for r in 0..R {
                        for w in 0..W {
                            sums[c][r][w] = match z.bias {
                                Some(bias) => s.splat(bias[channels[c]]),
                                None => z.sums.load(s, ((channels[c] * R + r) * W + w) * S::LANES),
                            };
                        }
                    }
                }
                for (taps, weights) in all_taps[entry..][..count].iter().zip(&all_weights[entry..][..count]) {
                    for c in 0..C {
                        let weight = s.splat(weights[c]);
                        let tap = taps[c] as usize;
                        for r in 0..R {
                            for w in 0..W {
                                let x = rows[r].load(s, tap + w * STRIDE * S::LANES);
                                sums[c][r][w] = s.mul_add(weight, x, sums[c][r][w]);
                            }
                        }
                    }
                }
                for c in 0..C {
                    for r in 0..R {
                        for w in 0..W {
                            z.sums.store(s, ((channels[c] * R + r) * W + w) * S::LANES, sums[c][r][w]);
                        }
                    }
                }
            }
            for &tap in z.next_taps.iter().skip(set * share).take(share) {
                for &pixel in z.next_pixels {
                    z.input.prefetch((pixel + tap) as usize);
                }
            }
            entry += count;
            set += 1;
        }
    }
}

/// The lists that are still to be gone through.
struct Lists<'a> {
    taps: &'a [u32],
    weights: &'a [f32],
    counts: &'a [u32],
}

impl<'a> Lists<'a> {
    #[inline(always)]
    fn next(&mut self, width: usize) -> (&'a [u32], &'a [f32]) {
        let (&count, counts) = self.counts.split_first().unwrap_or((&0, &[]));
        let count = count as usize;
        let (taps, later_taps) = self.taps.split_at(count);
        let (weights, later_weights) = self.weights.split_at(count * width);
        *self = Self { taps: later_taps, weights: later_weights, counts };
        (taps, weights)
    }
}

/// Sums one list, whose taps belong to the channels in `MASK`; `N` is how many those are.
#[inline(always)]
unsafe fn list<S: Simd, const NC: usize, const NP: usize, const MASK: u32, const N: usize>(
    s: S,
    lists: &mut Lists<'_>,
    pixels: &[Span; NP],
    sums: &mut [[S::V; NP]; NC],
) {
    let (taps, weights) = lists.next(N);
    for (&tap, weights) in taps.iter().zip(weights.as_chunks::<N>().0) {
        let tap = tap as usize;
        let mut w = [s.splat(0.0); N];
        for i in 0..N {
            w[i] = s.splat(weights[i]);
        }
        for p in 0..NP {
            // SAFETY: by the contract of the kernel.
            let x = unsafe { pixels[p].load(s, tap) };
            for c in 0..NC {
                if MASK >> c & 1 == 1 {
                    let i = (MASK & ((1 << c) - 1)).count_ones() as usize;
                    sums[c][p] = s.mul_add(w[i], x, sums[c][p]);
                }
            }
        }
    }
}

/// Two channels: the taps that both have, then those of each alone.
///
/// # Safety
/// That of [`TileKernel`].
#[inline(always)]
pub(crate) unsafe fn pair<S: Simd, const NP: usize>(s: S, tile: &Tile<'_>) {
    let mut lists = Lists { taps: tile.taps, weights: tile.weights, counts: tile.counts };
    // SAFETY: by the contract of the kernel.
    unsafe {
        let (mut sums, pixels) = (start::<S, 2, NP>(s, tile), pixel_spans::<NP>(tile));
        list::<S, 2, NP, 0b11, 2>(s, &mut lists, &pixels, &mut sums);
        list::<S, 2, NP, 0b01, 1>(s, &mut lists, &pixels, &mut sums);
        list::<S, 2, NP, 0b10, 1>(s, &mut lists, &pixels, &mut sums);
        finish(s, tile, sums);
    }
}

/// Four channels: a list for each of the 15 sets of channels, in the order of [`QUAD_MASKS`].
///
/// # Safety
/// That of [`TileKernel`].
#[inline(always)]
pub(crate) unsafe fn quad<S: Simd, const NP: usize>(s: S, tile: &Tile<'_>) {
    let mut lists = Lists { taps: tile.taps, weights: tile.weights, counts: tile.counts };
    // SAFETY: by the contract of the kernel.
    unsafe {
        let (mut sums, pixels) = (start::<S, 4, NP>(s, tile), pixel_spans::<NP>(tile));
        list::<S, 4, NP, 0b1111, 4>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b0111, 3>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b1011, 3>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b1101, 3>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b1110, 3>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b0011, 2>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b0101, 2>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b1001, 2>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b0110, 2>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b1010, 2>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b1100, 2>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b0001, 1>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b0010, 1>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b0100, 1>(s, &mut lists, &pixels, &mut sums);
        list::<S, 4, NP, 0b1000, 1>(s, &mut lists, &pixels, &mut sums);
        finish(s, tile, sums);
    }
}

/// Sets of channels of a pair's lists.
pub(crate) const PAIR_MASKS: [u32; 3] = [0b11, 0b01, 0b10];
/// Sets of channels of four channels' lists.
pub(crate) const QUAD_MASKS: [u32; 15] = [
    0b1111, 0b0111, 0b1011, 0b1101, 0b1110, 0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100, 0b0001, 0b0010,
    0b0100, 0b1000,
];
