//! Adds up the results of the batches of a validation.

use std::time::Duration;

use yolo_data::dataset::Dataset;
use yolo_data::loader::Batch;
use yolo_detect::SpeedMs;
use yolo_eval::Xyxy;
use yolo_eval::metrics::{ConfusionMatrix, NativeMetrics, ScoredBox};

use super::pipeline::{DetectedBatch, Times};
use super::{ImageDetections, SkippedImage, Validation, ValidationOptions, labels};
use crate::error::{Result, TrainError};
use crate::loss::LossTerms;

/// What the batches so far add up to.
pub(super) struct Accumulator<'a> {
    dataset: &'a Dataset,
    options: &'a ValidationOptions,
    native: NativeMetrics,
    confusion: ConfusionMatrix,
    detections: Vec<ImageDetections>,
    skipped: Vec<SkippedImage>,
    warnings: Vec<String>,
    instances: usize,
    times: Times,
    /// Batches with a loss, and their mean.
    losses: (usize, LossTerms),
}

impl<'a> Accumulator<'a> {
    pub(super) fn new(dataset: &'a Dataset, options: &'a ValidationOptions) -> Self {
        let num_classes = if options.single_class { 1 } else { dataset.class_names.len() };
        Self {
            dataset,
            options,
            native: NativeMetrics::by(options.convention),
            confusion: ConfusionMatrix::new(num_classes),
            detections: Vec::new(),
            skipped: Vec::new(),
            warnings: Vec::new(),
            instances: 0,
            times: Times::default(),
            losses: (0, LossTerms::default()),
        }
    }

    /// Images so far, those that could not be decoded included.
    pub(super) fn images(&self) -> usize {
        self.detections.len() + self.skipped.len()
    }

    /// Adds a batch, and returns it for its memory.
    pub(super) fn add(&mut self, detected: DetectedBatch) -> Batch {
        let DetectedBatch { batch, found, .. } = detected;
        let skipped =
            batch.skipped.iter().map(|s| SkippedImage { item_idx: s.item_idx, error: s.error.clone() });
        self.skipped.extend(skipped);
        self.warnings.extend_from_slice(&batch.warnings);
        if let Some(terms) = found.loss {
            let (n, mean) = &mut self.losses;
            *mean = mean.running_mean(*n, &terms);
            *n += 1;
        }
        self.times.preprocess += found.times.preprocess;
        self.times.inference += found.times.inference;
        self.times.nms += found.times.nms;
        for (sample, found) in batch.samples.iter().zip(found.boxes) {
            let geometry = &sample.geometry;
            let framed = |to: &dyn Fn(Xyxy) -> Xyxy| -> Vec<ScoredBox> {
                found.iter().map(|d| ScoredBox { bbox: to(d.bbox), ..*d }).collect()
            };
            let item = &self.dataset.items[sample.item_idx];
            let labels = labels(&geometry.compared_labels(item), self.options);
            let compared = framed(&|bbox| geometry.compared(bbox));
            self.instances += labels.len();
            self.native.add_image(&compared, &labels);
            self.confusion.add_image(&compared, &labels);
            let detections = framed(&|bbox| geometry.to_original(bbox));
            self.detections.push(ImageDetections { item_idx: sample.item_idx, detections });
        }
        batch
    }

    /// # Errors
    /// No image that could be decoded.
    pub(super) fn finish(self) -> Result<Validation> {
        if let (true, Some(first)) = (self.detections.is_empty(), self.skipped.first()) {
            return Err(TrainError::NoImages { count: self.skipped.len(), first: first.error.clone() });
        }
        Ok(Validation {
            native: self.native.finish(),
            confusion: self.confusion,
            instances: self.instances,
            loss: self.options.loss.is_some().then_some(self.losses.1),
            speed: speed(&self.times, self.detections.len(), self.options),
            detections: self.detections,
            skipped: self.skipped,
            warnings: self.warnings,
        })
    }
}

fn speed(times: &Times, n_images: usize, options: &ValidationOptions) -> SpeedMs {
    let per_image = |total: Duration| total.as_secs_f64() * 1e3 / n_images.max(1) as f64;
    SpeedMs {
        preprocess: per_image(times.preprocess),
        inference: per_image(times.inference),
        nms: per_image(times.nms),
        shape: [options.batch_size, 3, options.image_size, options.image_size],
    }
}
