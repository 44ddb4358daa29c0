//! Bilinear warps with OpenCV's fixed-point arithmetic: `warpAffine` and `warpPerspective` with `INTER_LINEAR`.
//!
//! Each output pixel is a weighted mean of four source pixels. Source positions have 5 fractional bits, so there
//! are 32 × 32 sets of weights. Pixels outside the source are [`BORDER`]. Equal to OpenCV 4.10 bit for bit;
//! OpenCV 5 uses floating point instead.

mod upright;

use std::ops::Range;

use crate::image::RgbImage;
use crate::letterbox::BORDER;

/// A map of homogeneous coordinates `(x, y, 1)`, row by row.
pub type Matrix = [[f64; 3]; 3];

/// Fractional bits of a source position, and their number of steps.
const POSITION_BITS: u32 = 5;
const STEPS: i64 = 1 << POSITION_BITS;
/// Fractional bits in which affine positions are added up.
const SUM_BITS: u32 = 10;
const SUM_ONE: f64 = (1 << SUM_BITS) as f64;
/// From those sums to steps.
const STEP_SHIFT: u32 = SUM_BITS - POSITION_BITS;
/// Half a step of a position, in those sums.
const HALF_STEP: i64 = 1 << (STEP_SHIFT - 1);
/// Positions beyond this are outside any image; the limit keeps sums from overflowing.
const FAR: f64 = (1_i64 << 40) as f64;

/// Warps `image` with the affine map `matrix` (source to output pixels, last row `0 0 1`) into `out`, whose size
/// becomes `size` = `(width, height)` and whose memory is reused.
pub fn warp_affine(image: &RgbImage, matrix: &Matrix, size: (u32, u32), out: &mut RgbImage) {
    let [[a, b, c], [d, e, f]] = invert_affine(matrix);
    let steps = |slope: f64| -> Vec<i64> { (0..size.0).map(|x| fixed(slope * f64::from(x))).collect() };
    let (steps_x, steps_y) = (steps(a), steps(d));
    let source = Source::new(image);
    if b == 0.0 && d == 0.0 {
        let start = fixed(c) + HALF_STEP;
        let columns: Vec<i64> = steps_x.iter().map(|step| (start + step) >> STEP_SHIFT).collect();
        let row = |y: usize| (fixed(e * y as f64 + f) + HALF_STEP) >> STEP_SHIFT;
        upright::warp(&source, &columns, row, rows(out, size));
        return;
    }
    for (y, out_row) in rows(out, size).enumerate() {
        let y = y as f64;
        let start_x = fixed(b * y + c) + HALF_STEP;
        let start_y = fixed(e * y + f) + HALF_STEP;
        let at = |x: usize| ((start_x + steps_x[x]) >> STEP_SHIFT, (start_y + steps_y[x]) >> STEP_SHIFT);
        let inside_x = inside(&steps_x, start_x, (source.width - 1) << SUM_BITS);
        let inside_y = inside(&steps_y, start_y, (source.height - 1) << SUM_BITS);
        let first = inside_x.start.max(inside_y.start).min(out_row.len());
        let last = inside_x.end.min(inside_y.end).max(first);
        for (x, pixel) in out_row[..first].iter_mut().enumerate() {
            *pixel = source.pixel(at(x));
        }
        source.run(start_x, start_y, &steps_x[first..last], &steps_y[first..last], &mut out_row[first..last]);
        for (x, pixel) in out_row.iter_mut().enumerate().skip(last) {
            *pixel = source.pixel(at(x));
        }
    }
}

/// Warps `image` with any projective `matrix` (source to output pixels) into `out`, as [`warp_affine`].
///
/// A matrix without an inverse gives a grey image.
pub fn warp_perspective(image: &RgbImage, matrix: &Matrix, size: (u32, u32), out: &mut RgbImage) {
    let Some([m0, m1, m2]) = invert(matrix) else {
        rows(out, size).for_each(|row| row.fill([BORDER; 3]));
        return;
    };
    let source = Source::new(image);
    for (y, out_row) in rows(out, size).enumerate() {
        let y = y as f64;
        let start = |m: [f64; 3]| m[1] * y + m[2];
        let (x_start, y_start, w_start) = (start(m0), start(m1), start(m2));
        for (x, pixel) in out_row.iter_mut().enumerate() {
            let x = x as f64;
            let w = w_start + m2[0] * x;
            let scale = if w == 0.0 { 0.0 } else { STEPS as f64 / w };
            let position = |start: f64, slope: f64| rounded(((start + slope * x) * scale).clamp(-FAR, FAR));
            *pixel = source.pixel((position(x_start, m0[0]), position(y_start, m1[0])));
        }
    }
}

/// Gives `out` its size, and its rows.
fn rows(out: &mut RgbImage, (width, height): (u32, u32)) -> impl Iterator<Item = &mut [[u8; 3]]> {
    out.width = width;
    out.height = height;
    out.pixels.resize(3 * width as usize * height as usize, 0);
    out.pixels.as_chunks_mut::<3>().0.chunks_exact_mut((width as usize).max(1))
}

fn fixed(position: f64) -> i64 {
    rounded((position * SUM_ONE).clamp(-FAR, FAR))
}

/// The nearest integer, half to even, of a number below 2⁵¹. On processors without an
/// instruction for it, such as baseline x86-64, `round_ties_even` is a call; this addition rounds without one.
fn rounded(v: f64) -> i64 {
    const SHIFTED: f64 = (3_i64 << 51) as f64;
    (v + SHIFTED).to_bits().wrapping_sub(SHIFTED.to_bits()) as i64
}

/// The part of `steps`, which rise or fall throughout, where `start + step` is in `0..limit`.
fn inside(steps: &[i64], start: i64, limit: i64) -> Range<usize> {
    let rising = steps.first() <= steps.last();
    if rising {
        steps.partition_point(|s| start + s < 0)..steps.partition_point(|s| start + s < limit)
    } else {
        steps.partition_point(|s| start + s >= limit)..steps.partition_point(|s| start + s >= 0)
    }
}

/// The inverse of an affine map, without its last row; in OpenCV's order of operations.
fn invert_affine(m: &Matrix) -> [[f64; 3]; 2] {
    let det = m[0][0] * m[1][1] - m[0][1] * m[1][0];
    let scale = if det == 0.0 { 0.0 } else { 1.0 / det };
    let (a, e) = (m[1][1] * scale, m[0][0] * scale);
    let (b, d) = (m[0][1] * -scale, m[1][0] * -scale);
    [[a, b, -a * m[0][2] - b * m[1][2]], [d, e, -d * m[0][2] - e * m[1][2]]]
}

/// The inverse by cofactors; `None` for a determinant of 0.
fn invert(m: &Matrix) -> Option<Matrix> {
    let minor = |r0: usize, r1: usize, c0: usize, c1: usize| m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0];
    let det = m[0][0] * minor(1, 2, 1, 2) - m[0][1] * minor(1, 2, 0, 2) + m[0][2] * minor(1, 2, 0, 1);
    if det == 0.0 {
        return None;
    }
    let d = 1.0 / det;
    Some([
        [minor(1, 2, 1, 2) * d, -minor(0, 2, 1, 2) * d, minor(0, 1, 1, 2) * d],
        [-minor(1, 2, 0, 2) * d, minor(0, 2, 0, 2) * d, -minor(0, 1, 0, 2) * d],
        [minor(1, 2, 0, 1) * d, -minor(0, 2, 0, 1) * d, minor(0, 1, 0, 1) * d],
    ])
}

/// The image that pixels are taken from.
struct Source<'a> {
    pixels: &'a [[u8; 3]],
    width: i64,
    height: i64,
}

impl<'a> Source<'a> {
    fn new(image: &'a RgbImage) -> Self {
        Self {
            pixels: image.pixels.as_chunks().0,
            width: i64::from(image.width),
            height: i64::from(image.height),
        }
    }

    /// The value at any position, given in steps.
    fn pixel(&self, (x, y): (i64, i64)) -> [u8; 3] {
        let (column, row) = (x >> POSITION_BITS, y >> POSITION_BITS);
        if (0..self.width - 1).contains(&column) && (0..self.height - 1).contains(&row) {
            return self.pixel_inside(column as usize, row as usize, x, y);
        }
        if !(-1..self.width).contains(&column) || !(-1..self.height).contains(&row) {
            return [BORDER; 3];
        }
        let tap = |column: i64, row: i64| {
            let within = (0..self.width).contains(&column) && (0..self.height).contains(&row);
            if within { self.pixels[(row * self.width + column) as usize] } else { [BORDER; 3] }
        };
        let top = [tap(column, row), tap(column + 1, row)];
        let bottom = [tap(column, row + 1), tap(column + 1, row + 1)];
        blend(&top, &bottom, (x & (STEPS - 1)) as u32, (y & (STEPS - 1)) as u32)
    }

    /// A run of pixels whose four taps all lie in the image.
    fn run(&self, start_x: i64, start_y: i64, steps_x: &[i64], steps_y: &[i64], out: &mut [[u8; 3]]) {
        for ((pixel, step_x), step_y) in out.iter_mut().zip(steps_x).zip(steps_y) {
            let (x, y) = ((start_x + step_x) >> STEP_SHIFT, (start_y + step_y) >> STEP_SHIFT);
            *pixel = self.pixel_inside((x >> POSITION_BITS) as usize, (y >> POSITION_BITS) as usize, x, y);
        }
    }

    /// The value between the pixel at `column`, `row` and its neighbours, all in the image.
    #[inline]
    fn pixel_inside(&self, column: usize, row: usize, x: i64, y: i64) -> [u8; 3] {
        let width = self.width as usize;
        let first = row * width + column;
        let top = &self.pixels[first..first + 2];
        let bottom = &self.pixels[first + width..first + width + 2];
        let (x, y) = ((x & (STEPS - 1)) as u32, (y & (STEPS - 1)) as u32);
        blend(&[top[0], top[1]], &[bottom[0], bottom[1]], x, y)
    }
}

/// The weighted mean of four pixels, rounded half up; `x` and `y` in steps.
#[inline]
fn blend(top: &[[u8; 3]; 2], bottom: &[[u8; 3]; 2], x: u32, y: u32) -> [u8; 3] {
    // Three channels in one word: a weighted sum is below 2¹⁸ + 2⁹, so 20 bits each keep them apart.
    const LANES: u32 = 20;
    const HALF: u64 = (1 << 9) * (1 | 1 << LANES | 1 << (2 * LANES));
    let spread = |[r, g, b]: [u8; 3]| u64::from(r) | u64::from(g) << LANES | u64::from(b) << (2 * LANES);
    let (x, y, one) = (u64::from(x), u64::from(y), STEPS as u64);
    let upper = spread(top[0]) * (one - x) + spread(top[1]) * x;
    let lower = spread(bottom[0]) * (one - x) + spread(bottom[1]) * x;
    let sums = upper * (one - y) + lower * y + HALF;
    [sums >> 10, sums >> (LANES + 10), sums >> (2 * LANES + 10)].map(|v| v as u8)
}
