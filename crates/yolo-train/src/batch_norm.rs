//! New running statistics for a network whose weights were changed without training.

use std::sync::Arc;

use burn::tensor::Device;
use yolo_data::dataset::Dataset;
use yolo_data::loader::{Loader, LoaderOptions};
use yolo_data::rect::{BatchOptions, plan_batches};
use yolo_detect::images;
use yolo_model::Checkpoint;

use crate::error::{Result, TrainError};

/// How to measure the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReestimationOptions {
    /// Images per batch.
    pub batch_size: usize,
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Number of images, from the first on.
    pub max_images: usize,
    /// Threads that decode images.
    pub workers: usize,
}

/// The checkpoint with the running means and variances of every batch normalisation re-estimated: the plain
/// average over batches of training images, without labels and without augmentation.
///
/// Pruning shifts the output of every layer, so the old statistics normalise with the wrong scale. Nothing
/// else changes. A fused checkpoint has no statistics left and is returned unchanged.
///
/// # Errors
/// Images of which none can be decoded, or a device that does not return its results.
pub fn reestimate_batch_norm(
    checkpoint: &Checkpoint,
    dataset: &Dataset,
    device: &Device,
    options: &ReestimationOptions,
    mut progress: impl FnMut(usize),
) -> Result<Checkpoint> {
    if checkpoint.architecture.fused {
        return Ok(checkpoint.clone());
    }
    let n_images = dataset.items.len().min(options.max_images);
    let sizes: Vec<(u32, u32)> = dataset.items[..n_images].iter().map(|i| (i.width, i.height)).collect();
    let batches = BatchOptions {
        image_size: options.image_size as u32,
        batch_size: options.batch_size,
        stride: checkpoint.architecture.max_stride() as u32,
        pad: 0.0,
        rect: false,
    };
    let loader_options = LoaderOptions {
        workers: options.workers,
        image_size: options.image_size as u32,
        ..LoaderOptions::default()
    };
    let items = Arc::from(dataset.items.as_slice());
    let mut loader = Loader::new(items, plan_batches(&sizes, &batches), loader_options);
    let device = device.clone().autodiff();
    let (mut done, mut first_error) = (0, None);
    let tensors = std::iter::from_fn(|| {
        loop {
            let Some(batch) = loader.next() else {
                let first = first_error.take().unwrap_or_else(|| "the data set has no images".to_owned());
                return (done == 0).then_some(Err(TrainError::NoImages { count: n_images, first }));
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error.into())),
            };
            first_error = first_error.take().or_else(|| batch.skipped.first().map(|s| s.error.clone()));
            let n = batch.samples.len();
            if n > 0 {
                let tensor = images(&batch.pixels, n, batch.height, batch.width, &device);
                done += n;
                progress(done);
                loader.recycle(batch);
                return Some(Ok(tensor));
            }
        }
    });
    yolo_prune::reestimate_batch_norm(checkpoint, tensors, &device)
}
