//! Test-time augmentation: the network runs three times on every image, as it is, smaller and mirrored, and smaller
//! still; the rows of all three passes go into one suppression.

use std::borrow::Cow;
use std::ops::Range;

#[cfg(feature = "nn")]
use burn::tensor::{
    Tensor,
    module::interpolate,
    ops::{InterpolateMode, InterpolateOptions, PadMode},
};
use rayon::prelude::*;
use yolo_model::{Cxcywh, Predictions};

/// The value to the right of a smaller image and below it: the mean of ImageNet's pixels.
const BORDER: f32 = 0.447;

/// One run of a network on an image, which may be made smaller and mirrored first.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
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
    /// The image as it is, with all rows.
    pub const PLAIN: [Self; 1] = [Self { scale: 1.0, mirrored: false, kept: Kept::All }];

    /// The three passes of test-time augmentation, in the order of their rows. The first has the images as they are.
    pub const AUGMENTED: [Self; 3] = [
        Self { scale: 1.0, mirrored: false, kept: Kept::AllButCoarsest },
        Self { scale: 0.83, mirrored: true, kept: Kept::All },
        Self { scale: 0.67, mirrored: false, kept: Kept::AllButFinest },
    ];

    /// `[height, width]` to which an image of `size` is resized, and to which that is padded: multiples of `stride`.
    pub fn sizes(&self, size: [usize; 2], stride: usize) -> [[usize; 2]; 2] {
        let scaled = size.map(|side| side as f64 * self.scale);
        let padded = scaled.map(|side| (side / stride as f64).ceil() as usize * stride);
        [scaled.map(|side| side as usize), padded]
    }

    /// The images of a batch, `[N, 3, height, width]` in `[0, 1]`, as the network of `stride` gets them in this pass.
    pub fn transform<'a>(&self, images: &'a [f32], size: [usize; 2], stride: usize) -> Cow<'a, [f32]> {
        let [inner, padded] = self.sizes(size, stride);
        if inner == size && !self.mirrored {
            return Cow::Borrowed(images);
        }
        let (rows, mut columns) = (taps(size[0], inner[0]), taps(size[1], inner[1]));
        if self.mirrored {
            let mirror = |column: usize| size[1] - 1 - column;
            for tap in &mut columns {
                (tap.low, tap.high) = (mirror(tap.low), mirror(tap.high));
            }
        }
        let mut transformed = vec![BORDER; images.len() / (size[0] * size[1]) * padded[0] * padded[1]];
        let planes = images.par_chunks_exact(size[0] * size[1]);
        planes.zip(transformed.par_chunks_exact_mut(padded[0] * padded[1])).for_each(|(plane, out)| {
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(padded[1])) {
                let line = |y: usize| &plane[y * size[1]..(y + 1) * size[1]];
                let (upper, lower) = (line(row.low), line(row.high));
                for (column, out) in columns.iter().zip(out) {
                    let (above, below) = (column.between(upper), column.between(lower));
                    *out = (1.0 - row.share) * above + row.share * below;
                }
            }
        });
        Cow::Owned(transformed)
    }

    /// [`Pass::transform`] for tensors, on their device and in their format.
    #[cfg(feature = "nn")]
    pub fn transform_tensor(&self, images: Tensor<4>, stride: usize) -> Tensor<4> {
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

    /// Which of an image's `n_rows` rows count, for a network of `n_levels` levels, each with a quarter of the cells of
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

    /// Turns boxes of this pass into boxes of the image, which is `width` pixels wide.
    pub(crate) fn undo(&self, predictions: &mut Predictions, width: usize) {
        if self.scale == 1.0 && !self.mirrored {
            return;
        }
        // Divided by the nominal scale although the image has whole pixels, as the reference does.
        let scale = self.scale as f32;
        for bbox in predictions.boxes_mut() {
            let Cxcywh { cx, cy, w, h } = *bbox;
            *bbox = Cxcywh { cx: cx / scale, cy: cy / scale, w: w / scale, h: h / scale };
            if self.mirrored {
                bbox.cx = width as f32 - bbox.cx;
            }
        }
    }
}

/// The source of a pixel of a resized line: two pixels, and the weight of the second.
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
