//! Validation of a detector on a data set, in the same steps as YOLOv5's `val.py`.

mod accumulator;
mod pipeline;

use std::sync::Arc;

use burn::tensor::Device;
use yolo_data::dataset::Dataset;
use yolo_data::loader::{Batch, Loader, LoaderOptions};
use yolo_data::rect::{BatchOptions, plan_batches};
use yolo_data::train_loader::Target;
use yolo_detect::{Detector, SpeedMs};
use yolo_eval::metrics::{ConfusionMatrix, LabelledBox, NativeReport, ScoredBox};
use yolo_eval::{Convention, Xyxy};
use yolo_model::{Cxcywh, Detection, FusedCheckpoint, NmsOptions, Predictions};

use crate::error::{Result, TrainError};
use crate::loss::{DetectionLoss, LossTerms};
use accumulator::Accumulator;
use pipeline::{DetectedBatch, Pipeline};

/// How to validate.
#[derive(Clone, Debug)]
pub struct ValidationOptions {
    /// Images per batch. In rectangular batches it affects the padding of an image.
    pub batch_size: usize,
    /// Long side of the images in pixels, a multiple of the largest stride.
    pub image_size: usize,
    /// Batches of similar aspect ratio, padded as little as the strides allow plus half a stride; else squares.
    pub rect: bool,
    /// Whose rules resize images, put boxes back, match them and add them up.
    pub convention: Convention,
    /// Thresholds.
    pub nms: NmsOptions,
    /// Threads that decode images.
    pub workers: usize,
    /// All classes count as one.
    pub single_class: bool,
    /// The loss to compute as well, if any.
    pub loss: Option<ValidationLoss>,
    /// Test-time augmentation: the network also runs on the images smaller and mirrored. Two to three times as slow.
    pub augment: bool,
    /// Labels join the detections, with a score of 1, before suppression. The figures are then too high; use it to
    /// complete labels with a network's detections.
    pub hybrid: bool,
}

/// Makes a detector of a network.
pub type Compile<'a> = dyn Fn(FusedCheckpoint<'_>) -> yolo_detect::Result<Detector> + 'a;

/// A loss, and the device that computes it.
#[derive(Clone, Debug)]
pub struct ValidationLoss {
    /// The loss.
    pub loss: DetectionLoss,
    /// The device; it need not be the one that runs the network.
    pub device: Device,
}

impl ValidationOptions {
    /// The defaults of YOLOv5's `val.py`.
    pub fn new(image_size: usize) -> Self {
        Self::by(Convention::Yolov5, image_size)
    }

    /// The defaults of a convention: of YOLOv5's `val.py`, or of the package `ultralytics`.
    pub fn by(convention: Convention, image_size: usize) -> Self {
        let (batch_size, iou_threshold) = match convention {
            Convention::Yolov5 => (32, NmsOptions::validation().iou_threshold),
            Convention::Ultralytics => (16, 0.7),
        };
        Self {
            batch_size,
            image_size,
            rect: true,
            convention,
            nms: NmsOptions { iou_threshold, ..NmsOptions::validation() },
            workers: 2,
            single_class: false,
            loss: None,
            augment: false,
            hybrid: false,
        }
    }
}

/// The results of a validation.
#[derive(Clone, Debug)]
pub struct Validation {
    /// YOLOv5's own precision, recall and mean average precision.
    pub native: NativeReport,
    /// How often each class is detected as each other.
    pub confusion: ConfusionMatrix,
    /// The detections of every image, in the order in which images were processed.
    pub detections: Vec<ImageDetections>,
    /// The number of labels.
    pub instances: usize,
    /// Mean losses over the batches, if they were asked for.
    pub loss: Option<LossTerms>,
    /// Mean times per image.
    pub speed: SpeedMs,
    /// Images that could not be decoded and are not counted.
    pub skipped: Vec<SkippedImage>,
    /// Warnings of the decoders about images that they could read.
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

/// A batch with its detections, while its pixels are in memory.
pub struct ValidatedBatch<'a> {
    /// Position among the batches, from 0.
    pub index: usize,
    /// Its pixels, and where each image lies in them.
    pub batch: &'a Batch,
    /// Detections of every sample of the batch, best first, in pixels of the network's input.
    pub detections: &'a [Vec<ScoredBox>],
}

/// Measures `detector` on `dataset`. `progress` is called with the number of images done after every batch.
///
/// # Errors
/// Different numbers of classes, an image size that is not a multiple of the largest stride, weights that
/// produce NaN, or no image that can be decoded. Single images that cannot be decoded are listed in the result.
pub fn validate(
    detector: &Detector,
    dataset: &Dataset,
    options: &ValidationOptions,
    progress: impl FnMut(usize),
) -> Result<Validation> {
    validate_watched(detector, dataset, options, progress, |_| {})
}

/// [`validate`] that shows every batch to `watch`, which does not count as its time.
///
/// # Errors
/// As [`validate`].
pub fn validate_watched(
    detector: &Detector,
    dataset: &Dataset,
    options: &ValidationOptions,
    mut progress: impl FnMut(usize),
    mut watch: impl FnMut(&ValidatedBatch),
) -> Result<Validation> {
    check(detector, dataset, options)?;
    let mut accumulator = Accumulator::new(dataset, options);
    let mut loader = batches(detector, dataset, options);
    let mut add = |detected: DetectedBatch, loader: &mut Loader| {
        let DetectedBatch { index, batch, found } = &detected;
        watch(&ValidatedBatch { index: *index, batch, detections: &found.boxes });
        loader.recycle(accumulator.add(detected));
        progress(accumulator.images());
    };
    Pipeline { detector, dataset, options }.run(&mut loader, &mut add)?;
    accumulator.finish()
}

fn check(detector: &Detector, dataset: &Dataset, options: &ValidationOptions) -> Result<()> {
    let (model_classes, data_classes) = (detector.num_classes(), dataset.class_names.len());
    if model_classes != data_classes && !options.single_class {
        return Err(TrainError::Classes { model: model_classes, data: data_classes });
    }
    Ok(detector.check_side(options.image_size)?)
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
    let loader = LoaderOptions {
        workers: options.workers,
        image_size,
        convention: options.convention,
        ..LoaderOptions::default()
    };
    Loader::new(Arc::from(dataset.items.as_slice()), plans, loader)
}

/// Appends the labels of every image as rows with a score of 1.
fn add_labels(
    predictions: &mut [Predictions],
    batch: &Batch,
    dataset: &Dataset,
    options: &ValidationOptions,
) {
    for target in targets(batch, dataset, options) {
        let (bbox, rows) = (target.bbox_norm, &mut predictions[target.image]);
        let (width, height) = (batch.width as f32, batch.height as f32);
        let bbox =
            Cxcywh { cx: bbox.cx * width, cy: bbox.cy * height, w: bbox.w * width, h: bbox.h * height };
        let score = |class: usize| if class == target.class as usize { 1.0 } else { 0.0 };
        rows.push(bbox, (0..rows.num_classes()).map(score));
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
        let yolo_model::Xyxy { x1, y1, x2, y2 } = d.bbox;
        ScoredBox { bbox: Xyxy { x1, y1, x2, y2 }, score: d.score, class: class(d.class) }
    };
    detections.into_iter().map(scored).collect()
}

fn labels(native: &[(u32, Xyxy)], options: &ValidationOptions) -> Vec<LabelledBox> {
    let class = |class: u32| if options.single_class { 0 } else { class };
    native.iter().map(|&(c, bbox)| LabelledBox { bbox, class: class(c) }).collect()
}
