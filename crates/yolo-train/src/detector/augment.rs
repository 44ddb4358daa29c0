//! Test-time augmentation: every image is looked at three times, as it is, smaller and mirrored, and smaller still; the
//! rows of all three are put together before suppression.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};
use rayon::prelude::*;
use yolo_model::Predictions;

/// What lies right of and below a smaller image: the mean of ImageNet's pixels.
const BORDER: f32 = 0.447;

/// The three looks, in the order of their rows.
pub(crate) const PASSES: [Pass; 3] = [
    Pass { scale: 1.0, mirrored: false, kept: Kept::AllButCoarsest },
    Pass { scale: 0.83, mirrored: true, kept: Kept::All },
    Pass { scale: 0.67, mirrored: false, kept: Kept::AllButFinest },
];

/// One look at an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    scale: f64,
    mirrored: bool,
    kept: Kept,
}

/// Which rows of a pass count: the largest image leaves large objects to the others, and the smallest small ones.
#[derive(Clone, Copy, Debug)]
enum Kept {
    All,
    AllButCoarsest,
    AllButFinest,
}

impl Pass {
    /// `[height, width]` that an image of `size` is resized to, and what it is extended to: multiples of `stride`.
    pub(crate) fn sizes(&self, size: [usize; 2], stride: usize) -> [[usize; 2]; 2] {
        let scaled = size.map(|side| side as f64 * self.scale);
        let padded = scaled.map(|side| (side / stride as f64).ceil() as usize * stride);
        [scaled.map(|side| side as usize), padded]
    }

    /// The images of a batch, `[N, 3, height, width]` in `[0, 1]`, as this pass sees them.
    pub(crate) fn of_floats(&self, images: &[f32], size: [usize; 2], stride: usize) -> Vec<f32> {
        let [inner, padded] = self.sizes(size, stride);
        if inner == size && !self.mirrored {
            return images.to_vec();
        }
        let (rows, mut columns) = (taps(size[0], inner[0]), taps(size[1], inner[1]));
        if self.mirrored {
            let mirror = |column: usize| size[1] - 1 - column;
            for tap in &mut columns {
                (tap.low, tap.high) = (mirror(tap.low), mirror(tap.high));
            }
        }
        let mut seen = vec![BORDER; images.len() / (size[0] * size[1]) * padded[0] * padded[1]];
        let planes = images.par_chunks_exact(size[0] * size[1]);
        planes.zip(seen.par_chunks_exact_mut(padded[0] * padded[1])).for_each(|(plane, out)| {
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(padded[1])) {
                let line = |y: usize| &plane[y * size[1]..(y + 1) * size[1]];
                let (upper, lower) = (line(row.low), line(row.high));
                for (column, out) in columns.iter().zip(out) {
                    let (above, below) = (column.between(upper), column.between(lower));
                    *out = (1.0 - row.share) * above + row.share * below;
                }
            }
        });
        seen
    }

    /// [`Pass::of_floats`] for tensors, on their device and in their format.
    pub(crate) fn of_tensor(&self, images: Tensor<4>, stride: usize) -> Tensor<4> {
        let [_, _, height, width] = images.dims();
        let [inner, padded] = self.sizes([height, width], stride);
        let images = if self.mirrored { images.flip([3]) } else { images };
        if inner == [height, width] {
            return images;
        }
        let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
        let smaller = interpolate(images, options.with_output_size(inner));
        let border = [(0, padded[0] - inner[0]), (0, padded[1] - inner[1])];
        smaller.pad(border, PadMode::Constant(BORDER))
    }

    /// Which of an image's `n_rows` rows count in a network of `n_levels` levels, each with a quarter of the cells of
    /// the one before.
    pub(crate) fn rows(&self, n_rows: usize, n_levels: usize) -> Range<usize> {
        let cells = |level: usize| 4_usize.pow(level as u32);
        let coarsest = n_rows / (0..n_levels).map(cells).sum::<usize>().max(1);
        match self.kept {
            Kept::All => 0..n_rows,
            Kept::AllButCoarsest => 0..n_rows - coarsest,
            Kept::AllButFinest => coarsest * cells(n_levels.saturating_sub(1))..n_rows,
        }
    }

    /// Boxes of this pass as boxes of the image, which is `width` pixels wide.
    pub(crate) fn undo(&self, predictions: &mut Predictions, width: usize) {
        // Divided by the scale that was asked for, although the image has whole pixels: so does the reference.
        let scale = self.scale as f32;
        for row in predictions.values.chunks_exact_mut(predictions.n_outputs.max(1)) {
            for value in row.iter_mut().take(4) {
                *value /= scale;
            }
            if self.mirrored {
                row[0] = width as f32 - row[0];
            }
        }
    }
}

/// Where a pixel of a resized line comes from: two pixels, and the share of the second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    low: usize,
    high: usize,
    share: f32,
}

impl Tap {
    fn between(&self, line: &[f32]) -> f32 {
        (1.0 - self.share) * line[self.low] + self.share * line[self.high]
    }
}

/// Bilinear resizing of a line from `length` pixels to `resized`, centres on centres.
fn taps(length: usize, resized: usize) -> Vec<Tap> {
    let scale = length as f32 / resized as f32;
    let tap = |pixel: usize| {
        let at = (scale * (pixel as f32 + 0.5) - 0.5).max(0.0);
        let low = (at as usize).min(length - 1);
        Tap { low, high: (low + 1).min(length - 1), share: at - low as f32 }
    };
    (0..resized).map(tap).collect()
}

#[cfg(test)]
mod tests;
