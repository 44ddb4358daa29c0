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

/// Which rows of a pass count: small images say little of large objects' neighbours, and large ones of small objects.
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{Device, TensorData};
    use yolo_model::host_values;

    use super::*;

    /// Golden vectors B11.
    #[test]
    fn sizes_are_those_of_the_reference() {
        let sizes = |pass: usize, side: usize, stride: usize| {
            let [inner, padded] = PASSES[pass].sizes([side, side], stride);
            (inner[0], padded[1])
        };
        assert_eq!((sizes(1, 640, 32), sizes(2, 640, 32)), ((531, 544), (428, 448)));
        assert_eq!((sizes(1, 672, 32), sizes(2, 672, 32)), ((557, 576), (450, 480)));
        assert_eq!((sizes(1, 1536, 64), sizes(2, 1536, 64)), ((1274, 1280), (1029, 1088)));
        assert_eq!(PASSES[0].sizes([672, 512], 32), [[672, 512]; 2]);
    }

    /// Golden vectors B11: rows that are left of three levels of strides 8, 16 and 32 with three anchors.
    #[test]
    fn row_counts_are_those_of_the_reference() {
        let counts = |size: [usize; 2]| {
            PASSES.map(|pass| {
                let [_, [height, width]] = pass.sizes(size, 32);
                let rows = [8, 16, 32].map(|stride| 3 * (height / stride) * (width / stride)).iter().sum();
                pass.rows(rows, 3).len()
            })
        };
        assert_eq!(counts([640, 640]), [24_000, 18_207, 2_940]);
        assert_eq!(counts([672, 512]), [20_160, 15_876, 2_475]);
        let four = PASSES.map(|pass| pass.rows(85, 4));
        assert_eq!(four, [0..84, 0..85, 64..85]);
    }

    /// Halving four pixels averages pairs; five into two have their centres at 0.75 and 3.25.
    #[test]
    fn resizing_maps_centres_to_centres() {
        let line = [0.0, 10.0, 20.0, 30.0, 40.0];
        let resized = |length: usize, to: usize| -> Vec<f32> {
            taps(length, to).iter().map(|tap| tap.between(&line)).collect()
        };
        assert_eq!(resized(4, 2), [5.0, 25.0]);
        assert_eq!(resized(5, 2), [7.5, 32.5]);
        assert_eq!(resized(2, 4), [0.0, 2.5, 7.5, 10.0]);
        assert_eq!(resized(5, 5), line);
    }

    fn pictures() -> (Vec<f32>, [usize; 2]) {
        let (size, n) = ([64, 96], 2 * 3 * 64 * 96);
        ((0..n).map(|i| ((i * 37 + i / 96 * 11) % 255) as f32 / 255.0).collect(), size)
    }

    #[test]
    fn tensors_are_seen_as_floats_are() {
        let (images, size) = pictures();
        for pass in PASSES {
            let tensor = TensorData::new(images.clone(), [2, 3, size[0], size[1]]);
            let tensor = pass.of_tensor(Tensor::from_data(tensor, &Device::flex()), 32);
            let [_, padded] = pass.sizes(size, 32);
            assert_eq!(tensor.dims(), [2, 3, padded[0], padded[1]]);
            let (floats, tensor) = (pass.of_floats(&images, size, 32), host_values(tensor).unwrap());
            assert_eq!(floats.len(), tensor.len());
            let worst = floats.iter().zip(&tensor).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{pass:?}: {worst}");
        }
    }

    #[test]
    fn a_smaller_image_has_a_border_to_the_right_and_below() {
        let (images, size) = pictures();
        let seen = PASSES[2].of_floats(&images, size, 32);
        // 64 × 96 at 0.67 is 42 × 64, in 64 × 96.
        let at = |x: usize, y: usize| seen[y * 96 + x];
        assert!(at(63, 41) != BORDER && at(64, 41) == BORDER && at(63, 42) == BORDER);
    }

    /// A box that is moved as the image is, and back.
    #[test]
    fn boxes_come_back_to_where_they_were() {
        let (x, y, w, h, width) = (100.0, 200.0, 30.0, 40.0, 640.0_f32);
        for pass in PASSES {
            let scale = pass.scale as f32;
            let seen_x = if pass.mirrored { width - x } else { x };
            let values = vec![seen_x * scale, y * scale, w * scale, h * scale, 0.9, 0.8];
            let mut predictions = Predictions { n_outputs: 6, values };
            pass.undo(&mut predictions, width as usize);
            for (found, expected) in predictions.values.iter().zip([x, y, w, h, 0.9, 0.8]) {
                assert!((found - expected).abs() < 1e-3, "{pass:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn the_mirrored_pass_mirrors() {
        let images: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 32) as f32 / 31.0).collect();
        let line = &PASSES[1].of_floats(&images, [32, 32], 32)[..26];
        assert!(line.is_sorted_by(|a, b| a > b), "{line:?}");
        assert!(line[0] > 0.95 && line[25] < 0.05, "{line:?}");
    }
}
