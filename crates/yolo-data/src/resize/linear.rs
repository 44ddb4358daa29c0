//! The two-tap filter in 11-bit fixed point.

use crate::image::RgbImage;

/// A weight of 1: weights are integers that sum to about this.
const ONE: f32 = 2048.0;

/// For one destination coordinate: the first of its two source coordinates, which may lie outside the image
/// along y, and the weights of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Taps {
    first: i64,
    weights: [i32; 2],
}

impl Taps {
    fn new(first: i64, fraction: f32) -> Self {
        let weight = |w: f32| (w * ONE).round_ties_even() as i32;
        Self { first, weights: [weight(1.0 - fraction), weight(fraction)] }
    }
}

/// Taps of `INTER_LINEAR`: pixel centres are aligned.
pub(super) fn taps(to: u32, scale: f64) -> Vec<Taps> {
    (0..to)
        .map(|d| {
            let centre = ((f64::from(d) + 0.5) * scale - 0.5) as f32;
            let first = centre.floor();
            Taps::new(first as i64, centre - first)
        })
        .collect()
}

/// Taps of `INTER_AREA` for an axis that grows: pixel edges are aligned.
pub(super) fn area_taps(to: u32, scale: f64) -> Vec<Taps> {
    let inverse = 1.0 / scale;
    (0..to)
        .map(|d| {
            let first = (f64::from(d) * scale).floor();
            let fraction = ((f64::from(d) + 1.0) - (first + 1.0) * inverse) as f32;
            let fraction = if fraction <= 0.0 { 0.0 } else { fraction - fraction.floor() };
            Taps::new(first as i64, fraction)
        })
        .collect()
}

/// Filters `image` along x, then along y, into `out`, whose size is that of the two tap lists.
pub(super) fn interpolate(image: &RgbImage, columns: &[Taps], rows: &[Taps], out: &mut RgbImage) {
    let columns = Columns::new(columns, image.width as usize);
    let stride = image.width as usize * 3;
    let row_of = |y: usize| &image.pixels[y * stride..(y + 1) * stride];
    let last = i64::from(image.height) - 1;
    let out_stride = columns.offsets.len() * 3;

    // Neighbouring destination rows share source rows, so the two newest filtered rows are kept.
    let mut top = FilteredRow::new(out_stride);
    let mut bottom = FilteredRow::new(out_stride);
    let mut gathered = Gathered { first: vec![0; out_stride], second: vec![0; out_stride] };
    for (taps, out_row) in rows.iter().zip(out.pixels.chunks_exact_mut(out_stride)) {
        // Unlike along x, a clamped row index does not change the weights.
        let y0 = taps.first.clamp(0, last) as usize;
        let y1 = (taps.first + 1).clamp(0, last) as usize;
        if top.source != Some(y0) && bottom.source == Some(y0) {
            std::mem::swap(&mut top, &mut bottom);
        }
        top.load(y0, row_of(y0), &columns, &mut gathered);
        if y1 == y0 {
            blend_rows(&top.values, &top.values, taps.weights, out_row);
        } else {
            bottom.load(y1, row_of(y1), &columns, &mut gathered);
            blend_rows(&top.values, &bottom.values, taps.weights, out_row);
        }
    }
}

/// The filter along x for one row length.
struct Columns {
    /// Byte offsets of the first of two neighbouring pixels that both lie in the row.
    offsets: Vec<u32>,
    /// Weights of the first and of the second pixel, once for each of the three channels.
    first_weights: Vec<i16>,
    second_weights: Vec<i16>,
}

impl Columns {
    fn new(taps: &[Taps], width: usize) -> Self {
        let last = width as i64 - 1;
        let one = ONE as i32;
        let column = |taps: &Taps| {
            if taps.first < 0 {
                (0, [one, 0])
            } else if taps.first >= last {
                // The last pixel alone, expressed as the second of a pair.
                (width.saturating_sub(2), [0, one])
            } else {
                (taps.first as usize, taps.weights)
            }
        };
        let columns: Vec<(usize, [i32; 2])> = taps.iter().map(column).collect();
        let weights = |i: usize| columns.iter().flat_map(|c| [c.1[i] as i16; 3]).collect();
        Self {
            offsets: columns.iter().map(|c| c.0 as u32 * 3).collect(),
            first_weights: weights(0),
            second_weights: weights(1),
        }
    }
}

/// A source row after the filter along x, as the values the filter along y starts from.
struct FilteredRow {
    source: Option<usize>,
    /// Sums of products, shifted right by 4: at most 255·2048/16, which fits.
    values: Vec<i16>,
}

/// The two source pixels of every column, side by side, so that the arithmetic runs over plain arrays.
struct Gathered {
    first: Vec<u8>,
    second: Vec<u8>,
}

impl FilteredRow {
    fn new(len: usize) -> Self {
        Self { source: None, values: vec![0; len] }
    }

    fn load(&mut self, y: usize, row: &[u8], columns: &Columns, gathered: &mut Gathered) {
        if self.source == Some(y) {
            return;
        }
        self.source = Some(y);
        gathered.gather(row, columns);
        let weights = columns.first_weights.iter().zip(&columns.second_weights);
        let pixels = gathered.first.iter().zip(&gathered.second);
        for ((out, (&p0, &p1)), (&a0, &a1)) in self.values.iter_mut().zip(pixels).zip(weights) {
            let sum = i32::from(i16::from(p0)) * i32::from(a0) + i32::from(i16::from(p1)) * i32::from(a1);
            *out = (sum >> 4) as i16;
        }
    }
}

impl Gathered {
    fn gather(&mut self, row: &[u8], columns: &Columns) {
        let first = self.first.as_chunks_mut::<3>().0;
        let second = self.second.as_chunks_mut::<3>().0;
        if let &[r, g, b] = row {
            // A row of one pixel has no pairs.
            first.fill([r, g, b]);
            second.fill([r, g, b]);
            return;
        }
        for ((first, second), &offset) in first.iter_mut().zip(second).zip(&columns.offsets) {
            let pair = &row[offset as usize..][..6];
            first.copy_from_slice(&pair[..3]);
            second.copy_from_slice(&pair[3..]);
        }
    }
}

/// OpenCV's vertical step: two products that are truncated one by one, then a rounded shift.
fn blend_rows(top: &[i16], bottom: &[i16], [b0, b1]: [i32; 2], out: &mut [u8]) {
    let (b0, b1) = (b0 as i16, b1 as i16);
    for ((out, &h0), &h1) in out.iter_mut().zip(top).zip(bottom) {
        let v0 = ((i32::from(b0) * i32::from(h0)) >> 16) as i16;
        let v1 = ((i32::from(b1) * i32::from(h1)) >> 16) as i16;
        *out = ((v0 + v1 + 2) >> 2) as u8;
    }
}
