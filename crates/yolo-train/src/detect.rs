//! Detection on single images, step by step as YOLOv5's `detect.py` does it.

use std::time::Instant;

use yolo_data::image::RgbImage;
use yolo_data::letterbox::{Geometry, LetterboxOptions, Placement, letterbox_into};
use yolo_data::loader::{Batch, Sample};
use yolo_eval::Xyxy;
use yolo_eval::metrics::ScoredBox;
use yolo_model::{NmsOptions, Predictions, nms};

use crate::detector::{Detector, Look};
use crate::error::{Result, TrainError};
use crate::validate::SpeedMs;

/// How to detect.
#[derive(Clone, Debug)]
pub struct DetectOptions {
    /// Pixels that images are resized to fit into, height and width; multiples of the largest stride.
    pub image_size: (u32, u32),
    /// Pads images to the whole of `image_size`, as exported networks need it; else only to multiples of the stride.
    pub full: bool,
    /// Thresholds.
    pub nms: NmsOptions,
    /// The classes that are looked for; all if there are none.
    pub classes: Vec<usize>,
    /// Test-time augmentation: the image is also looked at smaller and mirrored.
    pub augment: bool,
}

impl DetectOptions {
    /// What `detect.py` does by default.
    pub fn new(image_size: (u32, u32)) -> Self {
        Self { image_size, full: false, nms: NmsOptions::detection(), classes: Vec::new(), augment: false }
    }
}

/// What was found in an image.
#[derive(Clone, Debug)]
pub struct Detected {
    /// Best first, in whole pixels of the image.
    pub boxes: Vec<ScoredBox>,
    /// Milliseconds of this image; their shape is that of the network's input.
    pub speed: SpeedMs,
}

/// Finds objects in `image`.
///
/// # Errors
/// An image without pixels, an image size that is no multiple of the largest stride, or weights that produce NaN.
pub fn detect(detector: &Detector, image: &RgbImage, options: &DetectOptions) -> Result<Detected> {
    let batch = letterboxed(detector.max_stride(), image, options)?;
    detector.prepare([batch.height, batch.width], options.augment)?;
    let start = Instant::now();
    let input = detector.take(&batch, true)?;
    let preprocess = milliseconds(start);

    let start = Instant::now();
    let look =
        Look { min_objectness: options.nms.score_threshold, keep_logits: false, augment: options.augment };
    let answer = detector.run(&input, look)?;
    let inference = milliseconds(start);

    let start = Instant::now();
    let geometry = &batch.samples[0].geometry;
    let rows = answer.predictions.into_iter().next().unwrap_or_default();
    let found = nms(&of_classes(rows, options), &options.nms);
    let boxes = found
        .into_iter()
        .map(|detection| {
            let [x1, y1, x2, y2] = detection.xyxy;
            let bbox = rounded(geometry.to_original(Xyxy { x1, y1, x2, y2 }));
            ScoredBox { bbox, score: detection.score, class: detection.class as u32 }
        })
        .collect();
    let shape = [1, 3, batch.height, batch.width];
    Ok(Detected { boxes, speed: SpeedMs { preprocess, inference, nms: milliseconds(start), shape } })
}

/// The image as a batch of one.
fn letterboxed(stride: usize, image: &RgbImage, options: &DetectOptions) -> Result<Batch> {
    let (height, width) = options.image_size;
    if let Some(side) =
        [height, width].into_iter().find(|side| *side == 0 || !side.is_multiple_of(stride as u32))
    {
        return Err(TrainError::ImageSize { size: side as usize, stride });
    }
    if image.width == 0 || image.height == 0 {
        return Err(yolo_data::DataError::mismatch("an image without pixels").into());
    }
    let letterbox = LetterboxOptions { auto: !options.full, scale_up: true, stride: stride as u32 };
    let original = (image.width, image.height);
    let placement = Placement::new(original, options.image_size, letterbox);
    let (height, width) = (placement.network.0 as usize, placement.network.1 as usize);
    let mut pixels = vec![0; 3 * height * width];
    letterbox_into(image, &placement, &mut pixels);
    let geometry = Geometry::detection(original, placement.network);
    let samples = vec![Sample { item_idx: 0, geometry }];
    Ok(Batch { pixels, height, width, samples, skipped: Vec::new(), warnings: Vec::new() })
}

/// The rows whose best class is looked for, so that others do not suppress them.
fn of_classes(rows: Predictions, options: &DetectOptions) -> Predictions {
    if options.classes.is_empty() {
        return rows;
    }
    let best = |row: &[f32]| {
        let scores = row[5..].iter().map(|score| score * row[4]).enumerate();
        scores.reduce(|best, score| if score.1 > best.1 { score } else { best }).map(|(class, _)| class)
    };
    let wanted = |row: &&[f32]| best(row).is_some_and(|class| options.classes.contains(&class));
    let values = rows.rows().filter(wanted).flatten().copied().collect();
    Predictions { n_outputs: rows.n_outputs, values }
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

    /// Golden vectors B2: `(width, height)` of an image, then height and width of the network's input.
    #[test]
    fn images_are_padded_as_little_as_the_strides_allow() {
        let options = DetectOptions::new((640, 640));
        let cases = [
            ((1280, 720), (384, 640)),
            ((810, 1080), (640, 480)),
            ((640, 427), (448, 640)),
            ((500, 375), (480, 640)),
            ((100, 50), (320, 640)),
            ((2000, 1), (32, 640)),
        ];
        for ((width, height), expected) in cases {
            let image = RgbImage::filled(width, height, [9; 3]);
            let batch = letterboxed(32, &image, &options).unwrap();
            assert_eq!((batch.height, batch.width), expected, "{width}×{height}");
            let full = DetectOptions { full: true, ..options.clone() };
            let batch = letterboxed(32, &image, &full).unwrap();
            assert_eq!((batch.height, batch.width), (640, 640), "{width}×{height}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let image = RgbImage::filled(8, 8, [9; 3]);
        let error = letterboxed(32, &image, &DetectOptions::new((640, 650))).unwrap_err();
        assert!(error.to_string().contains("650 is not a multiple"), "{error}");
        assert!(letterboxed(32, &RgbImage::default(), &DetectOptions::new((64, 64))).is_err());
    }

    /// Two boxes in one place: the weaker one is of the class that is looked for.
    #[test]
    fn other_classes_do_not_suppress_those_looked_for() {
        let values = vec![9.0, 30.0, 8.0, 4.0, 1.0, 0.9, 0.0, 9.0, 30.0, 8.0, 4.0, 1.0, 0.0, 0.8];
        let rows = Predictions { n_outputs: 7, values };
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
