//! Means over the area that a destination pixel covers.

use crate::image::RgbImage;

/// Means of 2×2 blocks, rounded half up.
pub(super) fn half(image: &RgbImage, out: &mut RgbImage) {
    let stride = image.width as usize * 3;
    let out_stride = out.width as usize * 3;
    let pairs = image.pixels.chunks_exact(stride * 2);
    for (rows, out_row) in pairs.zip(out.pixels.chunks_exact_mut(out_stride)) {
        let (top, bottom) = rows.split_at(stride);
        let sources = top.as_chunks::<6>().0.iter().zip(bottom.as_chunks::<6>().0);
        for (out, (t, b)) in out_row.as_chunks_mut::<3>().0.iter_mut().zip(sources) {
            for c in 0..3 {
                let sum = u32::from(t[c]) + u32::from(t[c + 3]) + u32::from(b[c]) + u32::from(b[c + 3]);
                out[c] = ((sum + 2) >> 2) as u8;
            }
        }
    }
}

/// Means of `kx × ky` blocks: the exact sum times the reciprocal in `f32`, rounded half to even.
pub(super) fn block_mean(image: &RgbImage, kx: usize, ky: usize, out: &mut RgbImage) {
    let stride = image.width as usize * 3;
    let out_stride = out.width as usize * 3;
    let reciprocal = 1.0 / (kx * ky) as f32;
    let mut sums = vec![0u32; out_stride];
    let bands = image.pixels.chunks_exact(stride * ky);
    for (band, out_row) in bands.zip(out.pixels.chunks_exact_mut(out_stride)) {
        sums.fill(0);
        for row in band.chunks_exact(stride) {
            for (sum, block) in sums.as_chunks_mut::<3>().0.iter_mut().zip(row.chunks_exact(kx * 3)) {
                for pixel in block.as_chunks::<3>().0 {
                    for c in 0..3 {
                        sum[c] += u32::from(pixel[c]);
                    }
                }
            }
        }
        for (out, &sum) in out_row.iter_mut().zip(&sums) {
            *out = (sum as f32 * reciprocal).round_ties_even() as u8;
        }
    }
}

/// What one destination coordinate covers: `weights[i]` belongs to source coordinate `first + i`.
struct Cover {
    first: usize,
    weights: Vec<f32>,
}

/// Covered coordinates of one axis; slivers of at most a thousandth of a pixel are left out, as in OpenCV.
fn covers(from: u32, to: u32, scale: f64) -> Vec<Cover> {
    let size = f64::from(from);
    (0..to)
        .map(|d| {
            let start = f64::from(d) * scale;
            let end = start + scale;
            let cell = scale.min(size - start);
            let last = end.floor().min(size - 1.0);
            let inner = start.ceil().min(last);
            let mut first = inner as usize;
            let mut weights = Vec::with_capacity(scale as usize + 2);
            if inner - start > 1e-3 {
                first -= 1;
                weights.push(((inner - start) / cell) as f32);
            }
            let whole = (last as usize).saturating_sub(inner as usize);
            weights.extend(std::iter::repeat_n((1.0 / cell) as f32, whole));
            if end - last > 1e-3 {
                weights.push(((end - last).min(1.0).min(cell) / cell) as f32);
            }
            Cover { first, weights }
        })
        .collect()
}

/// Means over cells that cut through pixels: in `f32`, first along x for each source row, then along y.
pub(super) fn weighted(image: &RgbImage, scale_x: f64, scale_y: f64, out: &mut RgbImage) {
    let stride = image.width as usize * 3;
    let out_stride = out.width as usize * 3;
    let columns = covers(image.width, out.width, scale_x);
    let rows = covers(image.height, out.height, scale_y);
    let mut filtered = vec![0f32; out_stride];
    let mut filtered_source = None;
    let mut sums = vec![0f32; out_stride];
    for (cover, out_row) in rows.iter().zip(out.pixels.chunks_exact_mut(out_stride)) {
        sums.fill(0.0);
        for (i, &weight) in cover.weights.iter().enumerate() {
            let y = cover.first + i;
            // A row that two cells share is filtered along x once.
            if filtered_source != Some(y) {
                filter_row(&image.pixels[y * stride..(y + 1) * stride], &columns, &mut filtered);
                filtered_source = Some(y);
            }
            for (sum, &value) in sums.iter_mut().zip(&filtered) {
                *sum += weight * value;
            }
        }
        for (out, &sum) in out_row.iter_mut().zip(&sums) {
            *out = sum.round_ties_even() as u8;
        }
    }
}

fn filter_row(row: &[u8], columns: &[Cover], filtered: &mut [f32]) {
    let pixels = row.as_chunks::<3>().0;
    for (out, cover) in filtered.as_chunks_mut::<3>().0.iter_mut().zip(columns) {
        let mut sum = [0f32; 3];
        let covered = &pixels[cover.first..cover.first + cover.weights.len()];
        for (pixel, &weight) in covered.iter().zip(&cover.weights) {
            for c in 0..3 {
                sum[c] += f32::from(pixel[c]) * weight;
            }
        }
        *out = sum;
    }
}
