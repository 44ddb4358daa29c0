//! Winograd's short convolutions for 3×3 windows: fewer multiplications for a few more additions.
//!
//! A patch of `IN`×`IN` inputs makes `OUT`×`OUT` outputs. It is transformed, multiplied by transformed weights
//! place by place (which, over all channels, is one matrix product per place), and transformed back. Since the
//! lanes of a vector are tiles of the image, all transforms work on whole vectors.

use super::epilogue::Residual;
use super::math::{Activate, activate, silu};
use super::span::Span;
use yolo_simd::Simd;

/// The largest `IN`.
pub(crate) const MOST: usize = 6;

/// One-dimensional transforms; two dimensions are rows, then columns.
pub(crate) trait Scheme {
    /// Inputs of a patch, per dimension.
    const IN: usize;
    /// Outputs of a patch, per dimension.
    const OUT: usize;

    /// Transforms the first `IN` of `d`.
    fn input<S: Simd>(s: S, d: [S::V; MOST]) -> [S::V; MOST];
    /// Transforms the first `IN` of `m` to the first `OUT`.
    fn output<S: Simd>(s: S, m: [S::V; MOST]) -> [S::V; MOST];
    /// Transforms three weights to the first `IN`.
    fn weight(g: [f64; 3]) -> [f64; MOST];
}

/// F(2, 3): 16 products instead of 36.
pub(crate) struct Two;

impl Scheme for Two {
    const IN: usize = 4;
    const OUT: usize = 2;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; MOST]) -> [S::V; MOST] {
        [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3]), d[4], d[5]]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; MOST]) -> [S::V; MOST] {
        [s.add(s.add(m[0], m[1]), m[2]), s.sub(s.sub(m[1], m[2]), m[3]), m[2], m[3], m[4], m[5]]
    }
    fn weight(g: [f64; 3]) -> [f64; MOST] {
        [g[0], (g[0] + g[1] + g[2]) / 2.0, (g[0] - g[1] + g[2]) / 2.0, g[2], 0.0, 0.0]
    }
}

/// F(4, 3): 36 products instead of 144.
pub(crate) struct Four;

impl Scheme for Four {
    const IN: usize = 6;
    const OUT: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; MOST]) -> [S::V; MOST] {
        let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(-5.0));
        let a = s.mul_add(s.splat(-4.0), d[2], d[4]);
        let b = s.mul_add(s.splat(-4.0), d[1], d[3]);
        let c = s.sub(d[4], d[2]);
        let e = s.sub(d[3], d[1]);
        [
            s.mul_add(four, d[0], s.mul_add(five, d[2], d[4])),
            s.add(a, b),
            s.sub(a, b),
            s.mul_add(two, e, c),
            s.mul_add(s.splat(-2.0), e, c),
            s.mul_add(four, d[1], s.mul_add(five, d[3], d[5])),
        ]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; MOST]) -> [S::V; MOST] {
        let (sum, difference) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (far_sum, far_difference) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(s.add(m[0], sum), far_sum),
            s.mul_add(s.splat(2.0), far_difference, difference),
            s.mul_add(s.splat(4.0), far_sum, sum),
            s.add(s.mul_add(s.splat(8.0), far_difference, difference), m[5]),
            m[4],
            m[5],
        ]
    }
    fn weight(g: [f64; 3]) -> [f64; MOST] {
        let (even, far) = (-(g[0] + g[2]) / 6.0, g[0] / 24.0 + g[2] / 6.0);
        [g[0] / 4.0, even - g[1] / 6.0, even + g[1] / 6.0, far + g[1] / 12.0, far - g[1] / 12.0, g[2]]
    }
}

/// Stride 2: the taps at even places make a convolution of two taps with stride 1, for which three products
/// give two outputs. 25 products instead of 36.
pub(crate) struct Strided;

impl Scheme for Strided {
    const IN: usize = 5;
    const OUT: usize = 2;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; MOST]) -> [S::V; MOST] {
        [s.sub(d[0], d[2]), d[2], s.sub(d[4], d[2]), d[1], d[3], d[5]]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; MOST]) -> [S::V; MOST] {
        [s.add(s.add(m[0], m[1]), m[3]), s.add(s.add(m[1], m[2]), m[4]), m[2], m[3], m[4], m[5]]
    }
    fn weight(g: [f64; 3]) -> [f64; MOST] {
        [g[0], g[0] + g[2], g[2], g[1], g[1], 0.0]
    }
}

/// Patches of all channels on their way to the products.
pub(crate) struct Patches<'a> {
    /// The input image.
    pub(crate) input: Span,
    /// Where the plane of each channel begins.
    pub(crate) channels: &'a [u32],
    /// Row and column of each patch in the tile.
    pub(crate) patches: &'a [[u16; 2]],
    /// Where row `i` of patch row `y` lies in a plane: `[y, IN]`.
    pub(crate) rows: &'a [u32],
    /// Where column `j` of patch column `x` lies in a row: `[x, IN]`.
    pub(crate) columns: &'a [u32],
    /// The transformed patches: `[IN · IN, channels, room]` vectors.
    pub(crate) transformed: Span,
    /// Patches that there is room for.
    pub(crate) room: usize,
}

/// Transforms patches.
///
/// # Safety
/// The processor has the instructions; all rows and columns lie in the planes, and the patches in their room;
/// nobody else uses the transformed ones.
#[inline(always)]
pub(crate) unsafe fn transform<S: Simd, W: Scheme>(s: S, p: &Patches<'_>) {
    let place = p.channels.len() * p.room * S::LANES;
    for (channel, &plane) in p.channels.iter().enumerate() {
        for (at, &[y, x]) in p.patches.iter().enumerate() {
            let rows = &p.rows[usize::from(y) * W::IN..][..W::IN];
            let columns = &p.columns[usize::from(x) * W::IN..][..W::IN];
            let mut d = [[s.splat(0.0); MOST]; MOST];
            // SAFETY: by the contract of this function.
            unsafe {
                let plane = p.input.from(plane as usize);
                for i in 0..W::IN {
                    for j in 0..W::IN {
                        d[i][j] = plane.load(s, (rows[i] + columns[j]) as usize);
                    }
                    d[i] = W::input(s, d[i]);
                }
                let to = p.transformed.from((channel * p.room + at) * S::LANES);
                for j in 0..W::IN {
                    let column = W::input(s, [d[0][j], d[1][j], d[2][j], d[3][j], d[4][j], d[5][j]]);
                    for i in 0..W::IN {
                        to.store(s, (i * W::IN + j) * place, column[i]);
                    }
                }
            }
        }
    }
}

/// Products on their way to the output.
pub(crate) struct Products<'a> {
    /// `[IN · IN, group, patches]` vectors.
    pub(crate) products: Span,
    /// Channels that the products have room for.
    pub(crate) group: usize,
    /// Row and column of each patch in the tile.
    pub(crate) patches: &'a [[u16; 2]],
    /// One per channel to write.
    pub(crate) bias: &'a [f32],
    /// First pixel of the output's plane of the first channel.
    pub(crate) output: Span,
    /// Numbers from one plane of the output to the next, and from one row.
    pub(crate) output_strides: [usize; 2],
    /// What is added: from the first pixel of the first channel on; it has no list of pixels.
    pub(crate) residual: Option<Residual<'a>>,
    /// Numbers from one row of the residual to the next.
    pub(crate) residual_row: usize,
    /// Height and width of the tile.
    pub(crate) tile: [usize; 2],
    /// The activation.
    pub(crate) activate: Activate,
}

/// Transforms products back, activates, adds, writes.
///
/// # Safety
/// The processor has the instructions; everything lies in its span; nobody else uses these pixels of the output.
#[inline(always)]
pub(crate) unsafe fn finish<S: Simd, W: Scheme>(s: S, p: &Products<'_>) {
    // SAFETY: by the contract of this function.
    unsafe {
        match p.activate {
            Activate::None => write::<S, W, false, false>(s, p, None),
            Activate::Silu => write::<S, W, true, false>(s, p, None),
            Activate::Leaky(slope) => write::<S, W, false, false>(s, p, Some(slope)),
            _ => write::<S, W, false, true>(s, p, None),
        }
    }
}

#[inline(always)]
unsafe fn write<S: Simd, W: Scheme, const SILU: bool, const OTHER: bool>(
    s: S,
    p: &Products<'_>,
    slope: Option<f32>,
) {
    let place = p.group * p.patches.len() * S::LANES;
    for (channel, &bias) in p.bias.iter().enumerate() {
        for (at, &[y, x]) in p.patches.iter().enumerate() {
            let [y, x] = [usize::from(y) * W::OUT, usize::from(x) * W::OUT];
            // SAFETY: by the contract of `finish`.
            unsafe {
                let from = p.products.from((channel * p.patches.len() + at) * S::LANES);
                let mut m = [[s.splat(0.0); MOST]; MOST];
                for i in 0..W::IN {
                    for j in 0..W::IN {
                        m[i][j] = from.load(s, (i * W::IN + j) * place);
                    }
                    m[i] = W::output(s, m[i]);
                }
                let output = p.output.from(channel * p.output_strides[0]);
                for j in 0..W::OUT {
                    let column = W::output(s, [m[0][j], m[1][j], m[2][j], m[3][j], m[4][j], m[5][j]]);
                    for i in 0..W::OUT {
                        // The last patches may reach beyond the tile.
                        if y + i >= p.tile[0] || x + j >= p.tile[1] {
                            continue;
                        }
                        let mut v = s.add(column[i], s.splat(bias));
                        if SILU {
                            v = silu(s, v);
                        } else if OTHER {
                            v = activate(s, v, p.activate);
                        } else if let Some(slope) = slope {
                            v = s.max(v, s.mul(v, s.splat(slope)));
                        }
                        if let Some(residual) = p.residual {
                            let at = channel * residual.plane + (y + i) * p.residual_row + (x + j) * S::LANES;
                            v = s.add(v, residual.map.load(s, at));
                        }
                        output.store(s, (y + i) * p.output_strides[1] + (x + j) * S::LANES, v);
                    }
                }
            }
        }
    }
}
