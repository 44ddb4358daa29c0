//! Detection on one image or frame, in the same steps as YOLOv5's `detect.py`.

use std::time::Instant;

use yolo_data::image::RgbImage;
use yolo_data::letterbox::{Geometry, LetterboxOptions, Placement, letterbox_into};
use yolo_eval::Xyxy;
use yolo_eval::metrics::ScoredBox;
use yolo_model::{NmsOptions, Predictions, best_class, select};

use crate::detector::{Detector, RunOptions};
use crate::error::{DetectError, Result};
use crate::executor::Images;

/// How to detect.
#[derive(Clone, Debug)]
pub struct DetectOptions {
    /// Height and width, in pixels, that images are resized to fit into; multiples of the largest stride.
    pub image_size: (u32, u32),
    /// Pads images to the whole of `image_size`, as exported networks need it; else only to multiples of the stride.
    pub full: bool,
    /// Thresholds.
    pub nms: NmsOptions,
    /// The classes to detect; all if empty.
    pub classes: Vec<usize>,
    /// Test-time augmentation: the network also runs on the image smaller and mirrored.
    pub augment: bool,
}

impl DetectOptions {
    /// The defaults of `detect.py`. `image_size` is height and width.
    pub fn new(image_size: (u32, u32)) -> Self {
        Self { image_size, full: false, nms: NmsOptions::detection(), classes: Vec::new(), augment: false }
    }
}

/// The objects in an image.
#[derive(Clone, Debug)]
pub struct Detected {
    /// Best first, in whole pixels of the image.
    pub boxes: Vec<ScoredBox>,
    /// Milliseconds of this image; `shape` is that of the network's input.
    pub speed: SpeedMs,
}

/// Milliseconds per image, without decoding and resizing of images. If a device computes beside the processor, the
/// steps of different batches overlap: each figure is the time for which a step occupies its thread, and their sum is
/// more than the elapsed time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedMs {
    /// Bytes to floats, and to the device.
    pub preprocess: f64,
    /// Forward pass and decoding of boxes.
    pub inference: f64,
    /// Non-maximum suppression.
    pub nms: f64,
    /// Shape of a full batch of the given image size.
    pub shape: [usize; 4],
}

impl Detector {
    /// Finds objects in `image`.
    ///
    /// # Errors
    /// An image whose buffer does not fit its size, an image size that is not a multiple of the largest stride, or
    /// weights that produce NaN.
    pub fn detect(&self, image: &RgbImage, options: &DetectOptions) -> Result<Detected> {
        let Letterboxed { pixels, size, placement } = self.letterboxed(image, options)?;
        let original = (image.width, image.height);
        let geometry = Geometry::detection(original, placement.network, self.convention());
        self.prepare(size, options.augment)?;
        let start = Instant::now();
        let batch = self.upload(Images::new(&pixels, size)?)?;
        batch.wait()?;
        let preprocess = milliseconds(start);

        let start = Instant::now();
        let run = RunOptions {
            score_threshold: options.nms.score_threshold,
            augment: options.augment,
            keep_logits: false,
        };
        let output = batch.run(run)?;
        let inference = milliseconds(start);

        let start = Instant::now();
        let rows = output.predictions.into_iter().next().unwrap_or_default();
        let boxes = select(&of_classes(rows, options), self.selection(), &options.nms)
            .into_iter()
            .map(|detection| {
                let yolo_model::Xyxy { x1, y1, x2, y2 } = detection.bbox;
                let bbox = rounded(geometry.to_original(Xyxy { x1, y1, x2, y2 }));
                ScoredBox { bbox, score: detection.score, class: detection.class as u32 }
            })
            .collect();
        let shape = [1, 3, size[0], size[1]];
        Ok(Detected { boxes, speed: SpeedMs { preprocess, inference, nms: milliseconds(start), shape } })
    }

    fn letterboxed(&self, image: &RgbImage, options: &DetectOptions) -> Result<Letterboxed> {
        let (height, width) = options.image_size;
        [height, width].into_iter().try_for_each(|side| self.check_side(side as usize))?;
        letterboxed(self.max_stride() as u32, image, options)
    }
}

/// An image as a network takes it.
struct Letterboxed {
    /// `[3, height, width]`, RGB.
    pixels: Vec<u8>,
    /// `[height, width]`.
    size: [usize; 2],
    /// Where the image lies in it.
    placement: Placement,
}

fn letterboxed(stride: u32, image: &RgbImage, options: &DetectOptions) -> Result<Letterboxed> {
    check_pixels(image)?;
    let letterbox = LetterboxOptions { auto: !options.full, scale_up: true, stride };
    let original = (image.width, image.height);
    let placement = Placement::new(original, options.image_size, letterbox);
    let size = [placement.network.0 as usize, placement.network.1 as usize];
    let mut pixels = vec![0; 3 * size[0] * size[1]];
    letterbox_into(image, &placement, &mut pixels);
    Ok(Letterboxed { pixels, size, placement })
}

fn check_pixels(image: &RgbImage) -> Result<()> {
    let expected = 3 * image.width as usize * image.height as usize;
    if expected == 0 || image.pixels.len() != expected {
        let what = format!("an image of {}×{} pixels", image.width, image.height);
        return Err(DetectError::Pixels { what, expected: expected.max(1), found: image.pixels.len() });
    }
    Ok(())
}

/// The rows whose best class is wanted, so that others do not suppress them.
fn of_classes(rows: Predictions, options: &DetectOptions) -> Predictions {
    if options.classes.is_empty() {
        return rows;
    }
    rows.filtered(|scores| best_class(scores).is_some_and(|(class, _)| options.classes.contains(&class)))
}

fn rounded(bbox: Xyxy) -> Xyxy {
    let Xyxy { x1, y1, x2, y2 } = bbox;
    let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(f32::round_ties_even);
    Xyxy { x1, y1, x2, y2 }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use yolo_model::nms;

    /// Golden vectors B2: `(width, height)` of an image, then height and width of the network's input.
    #[test]
    fn images_are_padded_as_little_as_the_strides_allow() {
        let options = DetectOptions::new((640, 640));
        let cases = [
            ((1280, 720), [384, 640]),
            ((810, 1080), [640, 480]),
            ((640, 427), [448, 640]),
            ((500, 375), [480, 640]),
            ((100, 50), [320, 640]),
            ((2000, 1), [32, 640]),
        ];
        for ((width, height), expected) in cases {
            let image = RgbImage::filled(width, height, [9; 3]);
            let input = letterboxed(32, &image, &options).unwrap();
            assert_eq!(input.size, expected, "{width}×{height}");
            let full = DetectOptions { full: true, ..options.clone() };
            let input = letterboxed(32, &image, &full).unwrap();
            assert_eq!(input.size, [640, 640], "{width}×{height}");
        }
    }

    #[test]
    fn images_without_the_pixels_they_state_are_errors() {
        let options = DetectOptions::new((64, 64));
        let cut = RgbImage { pixels: vec![9; 8 * 8 * 3 - 1], ..RgbImage::filled(8, 8, [9; 3]) };
        let error = letterboxed(32, &cut, &options).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("8×8") && error.contains("192") && error.contains("191"), "{error}");
        assert!(letterboxed(32, &RgbImage::default(), &options).is_err());
    }

    /// Two boxes in one place: the weaker one is of the wanted class.
    #[test]
    fn other_classes_do_not_suppress_wanted_ones() {
        let bbox = yolo_model::Cxcywh { cx: 9.0, cy: 30.0, w: 8.0, h: 4.0 };
        let mut rows = Predictions::new(2);
        rows.push(bbox, [0.9, 0.0]);
        rows.push(bbox, [0.0, 0.8]);
        let nms_options = NmsOptions { class_agnostic: true, ..NmsOptions::detection() };
        let options = DetectOptions { nms: nms_options, classes: vec![1], ..DetectOptions::new((64, 64)) };
        let found = nms(&of_classes(rows.clone(), &options), &options.nms);
        assert_eq!(found.iter().map(|d| d.class).collect::<Vec<_>>(), [1]);
        let all = DetectOptions { classes: Vec::new(), ..options };
        assert_eq!(of_classes(rows.clone(), &all), rows);
    }

    #[test]
    fn edges_are_rounded_to_even() {
        let bbox = rounded(Xyxy::new(0.5, 1.5, 2.49, 2.51));
        assert_eq!(bbox, Xyxy::new(0.0, 2.0, 2.0, 3.0));
    }
}
