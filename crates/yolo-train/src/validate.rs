//! Validation of a detector on a data set, step by step as YOLOv5's `val.py` does it.

mod pipeline;
mod tally;

use std::sync::Arc;

use yolo_data::dataset::Dataset;
use yolo_data::loader::{Batch, Loader, LoaderOptions};
use yolo_data::rect::{BatchOptions, plan_batches};
use yolo_data::train_loader::Target;
use yolo_eval::Xyxy;
use yolo_eval::metrics::{ConfusionMatrix, LabelledBox, NativeReport, ScoredBox};
use yolo_model::{Detection, NmsOptions, Predictions};

use crate::detector::Detector;
use crate::error::{Result, TrainError};
use crate::loss::{DetectionLoss, LossItems};
use pipeline::{Bench, Seen, one_by_one, overlapped};
use tally::Tally;

/// How to validate.
#[derive(Clone, Debug)]
pub struct ValidationOptions {
    /// Images per batch. In rectangular batches it decides the padding of an image.
    pub batch_size: usize,
    /// Long side of the images in pixels, a multiple of the largest stride.
    pub image_size: usize,
    /// Batches of similar aspect ratio, padded as little as the strides allow plus half a stride; else squares.
    pub rect: bool,
    /// Thresholds.
    pub nms: NmsOptions,
    /// Threads that decode images.
    pub workers: usize,
    /// All classes count as one.
    pub single_class: bool,
    /// Measures the loss as well.
    pub loss: Option<DetectionLoss>,
    /// Test-time augmentation: images are also looked at smaller and mirrored. Twice to three times as slow.
    pub augment: bool,
    /// Labels join the detections, with a score of 1, before suppression. The figures are then flattered; it is for
    /// labels that a network completes.
    pub hybrid: bool,
}

impl ValidationOptions {
    /// What `val.py` does by default.
    pub fn new(image_size: usize) -> Self {
        Self {
            batch_size: 32,
            image_size,
            rect: true,
            nms: NmsOptions::validation(),
            workers: 2,
            single_class: false,
            loss: None,
            augment: false,
            hybrid: false,
        }
    }
}

/// What a validation found.
#[derive(Clone, Debug)]
pub struct Validation {
    /// YOLOv5's own precision, recall and mean average precision.
    pub native: NativeReport,
    /// Which classes are taken for which.
    pub confusion: ConfusionMatrix,
    /// The detections of every image, in the order in which images were processed.
    pub detections: Vec<ImageDetections>,
    /// Labels that were compared with.
    pub instances: usize,
    /// Mean losses over the batches, where they were asked for.
    pub loss: Option<LossItems>,
    /// Mean times.
    pub speed: SpeedMs,
    /// Images that could not be decoded; they count nowhere.
    pub skipped: Vec<SkippedImage>,
    /// What decoders had to say about images that they could read.
    pub warnings: Vec<String>,
}

/// Detections of one image.
#[derive(Clone, Debug)]
pub struct ImageDetections {
    /// Index of the image in the data set.
    pub item_idx: usize,
    /// Best first, in pixels of the original image.
    pub detections: Vec<ScoredBox>,
}

/// An image that could not be decoded.
#[derive(Clone, Debug)]
pub struct SkippedImage {
    /// Index of the image in the data set.
    pub item_idx: usize,
    /// Why.
    pub error: String,
}

/// Milliseconds per image. Decoding and scaling of images is not part of it. Where a device computes beside the processor,
/// the stages of different batches overlap: what is counted is the time for which each keeps its thread, and the sum is
/// more than passes.
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

/// A batch that was measured, while its pixels are at hand.
pub struct SeenBatch<'a> {
    /// Position among the batches, from 0.
    pub index: usize,
    /// Its pixels, and where each image lies in them.
    pub batch: &'a Batch,
    /// Detections of every sample of the batch, best first, in pixels of the network's input.
    pub detections: &'a [Vec<ScoredBox>],
}

/// Measures `detector` on `dataset`. `progress` hears the number of images done after every batch.
///
/// # Errors
/// Different numbers of classes, an image size that is no multiple of the largest stride, weights that
/// produce NaN, or no image that can be decoded. Single images that cannot be decoded are listed in the result.
pub fn validate(
    detector: &Detector,
    dataset: &Dataset,
    options: &ValidationOptions,
    progress: impl FnMut(usize),
) -> Result<Validation> {
    validate_watched(detector, dataset, options, progress, |_| {})
}

/// [`validate`] with a look at every batch, which does not count as its time.
///
/// # Errors
/// As [`validate`].
pub fn validate_watched(
    detector: &Detector,
    dataset: &Dataset,
    options: &ValidationOptions,
    mut progress: impl FnMut(usize),
    mut watch: impl FnMut(&SeenBatch),
) -> Result<Validation> {
    check(detector, dataset, options)?;
    let mut tally = Tally::new(dataset, options);
    let mut loader = batches(detector, dataset, options);
    let bench = Bench { detector, dataset, options };
    let mut take_in = |seen: Seen, loader: &mut Loader| {
        watch(&SeenBatch { index: seen.index, batch: &seen.batch, detections: &seen.found.boxes });
        loader.recycle(tally.add(seen));
        progress(tally.images());
    };
    if bench.overlaps() {
        overlapped(&bench, &mut loader, &mut take_in)?;
    } else {
        one_by_one(&bench, &mut loader, &mut take_in)?;
    }
    tally.finish()
}

fn check(detector: &Detector, dataset: &Dataset, options: &ValidationOptions) -> Result<()> {
    let (model_classes, data_classes) = (detector.architecture().num_classes(), dataset.class_names.len());
    if model_classes != data_classes && !options.single_class {
        return Err(TrainError::Classes { model: model_classes, data: data_classes });
    }
    let (size, stride) = (options.image_size, detector.max_stride());
    if size == 0 || !size.is_multiple_of(stride) {
        return Err(TrainError::ImageSize { size, stride });
    }
    Ok(())
}

/// The batches of the data set, decoded and scaled in the background.
fn batches(detector: &Detector, dataset: &Dataset, options: &ValidationOptions) -> Loader {
    let sizes: Vec<(u32, u32)> = dataset.items.iter().map(|item| (item.width, item.height)).collect();
    let image_size = options.image_size as u32;
    let plans = plan_batches(
        &sizes,
        &BatchOptions {
            image_size,
            batch_size: options.batch_size,
            stride: detector.max_stride() as u32,
            pad: if options.rect { 0.5 } else { 0.0 },
            rect: options.rect,
        },
    );
    let loader = LoaderOptions { workers: options.workers, image_size, ..LoaderOptions::default() };
    Loader::new(Arc::from(dataset.items.as_slice()), plans, loader)
}

/// Appends the labels of every image as rows of certain boxes.
fn add_labels(
    predictions: &mut [Predictions],
    batch: &Batch,
    dataset: &Dataset,
    options: &ValidationOptions,
) {
    for target in targets(batch, dataset, options) {
        let (bbox, rows) = (target.bbox_norm, &mut predictions[target.image]);
        let (width, height) = (batch.width as f32, batch.height as f32);
        let mut row = vec![0.0; rows.n_outputs];
        row[..5].copy_from_slice(&[bbox.cx * width, bbox.cy * height, bbox.w * width, bbox.h * height, 1.0]);
        if let Some(score) = row.get_mut(5 + target.class as usize) {
            *score = 1.0;
        }
        rows.values.extend(row);
    }
}

/// The objects of a batch, as the loss takes them.
fn targets(batch: &Batch, dataset: &Dataset, options: &ValidationOptions) -> Vec<Target> {
    let mut targets = Vec::new();
    for (image, sample) in batch.samples.iter().enumerate() {
        let labels = &dataset.items[sample.item_idx].labels;
        let boxes = sample.geometry.labels_to_network(labels);
        let class = |class: u32| if options.single_class { 0 } else { class };
        let objects = labels.iter().zip(boxes);
        targets.extend(objects.map(|(l, bbox_norm)| Target { image, class: class(l.class), bbox_norm }));
    }
    targets
}

fn scored(detections: Vec<Detection>, options: &ValidationOptions) -> Vec<ScoredBox> {
    let class = |class: usize| if options.single_class { 0 } else { class as u32 };
    let scored = |d: Detection| {
        let [x1, y1, x2, y2] = d.xyxy;
        ScoredBox { bbox: Xyxy { x1, y1, x2, y2 }, score: d.score, class: class(d.class) }
    };
    detections.into_iter().map(scored).collect()
}

fn labels(native: &[(u32, Xyxy)], options: &ValidationOptions) -> Vec<LabelledBox> {
    let class = |class: u32| if options.single_class { 0 } else { class };
    native.iter().map(|&(c, bbox)| LabelledBox { bbox, class: class(c) }).collect()
}
