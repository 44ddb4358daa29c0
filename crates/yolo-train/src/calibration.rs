//! Images for calibration: from any folder, or from the images of a data set, without labels.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use yolo_data::dataset::Item;
use yolo_data::dataset::config::Entry;
use yolo_data::dataset::list::list_images;
use yolo_data::image::decode_file;
use yolo_data::loader::{Loader, LoaderOptions};
use yolo_data::rect::{BatchOptions, plan_batches};
use yolo_prune::{CalibrationImages, ImageBatch};

use crate::error::{Result, TrainError};

/// How to load images for calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrationOptions {
    /// Largest number of images, spread evenly over the list.
    pub max_images: usize,
    /// Long side of the images in pixels.
    pub image_size: usize,
    /// The network's largest stride.
    pub stride: usize,
    /// Threads that decode images.
    pub workers: usize,
}

/// Images per batch; they share a shape, as in validation.
const BATCH_SIZE: usize = 8;

/// The images of a folder, with those below it.
///
/// # Errors
/// A folder that cannot be read or has no images, or none that can be decoded.
pub fn calibration_from_folder(
    folder: &Path,
    options: &CalibrationOptions,
) -> Result<(CalibrationImages, Vec<String>)> {
    let entry = Entry { root: folder.to_owned(), path: folder.to_owned() };
    let listed = list_images(&[entry], None)?;
    calibration_images(&listed.images, options)
}

/// The images at `paths`, and a sentence about each that could not be used.
///
/// # Errors
/// None of the images can be decoded.
pub fn calibration_images(
    paths: &[PathBuf],
    options: &CalibrationOptions,
) -> Result<(CalibrationImages, Vec<String>)> {
    let n = paths.len().min(options.max_images.max(1));
    let chosen: Vec<&PathBuf> = (0..n).map(|i| &paths[i * paths.len() / n.max(1)]).collect();
    let sizes: Vec<std::result::Result<Item, String>> = chosen
        .par_iter()
        .map(|path| match decode_file(path) {
            Ok(decoded) => Ok(Item {
                image: (*path).clone(),
                width: decoded.image.width,
                height: decoded.image.height,
                labels: Vec::new(),
            }),
            Err(error) => Err(error.to_string()),
        })
        .collect();
    let mut warnings: Vec<String> = sizes.iter().filter_map(|item| item.as_ref().err().cloned()).collect();
    let items: Vec<Item> = sizes.into_iter().flatten().collect();
    let batches = BatchOptions {
        image_size: options.image_size as u32,
        batch_size: BATCH_SIZE,
        stride: options.stride as u32,
        pad: 0.5,
        rect: true,
    };
    let shapes: Vec<(u32, u32)> = items.iter().map(|item| (item.width, item.height)).collect();
    let loader_options = LoaderOptions {
        workers: options.workers,
        image_size: options.image_size as u32,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(Arc::from(items), plan_batches(&shapes, &batches), loader_options);
    let mut loaded = Vec::new();
    for batch in loader {
        let batch = batch?;
        warnings.extend(batch.skipped.iter().map(|skipped| skipped.error.clone()));
        loaded.push(ImageBatch {
            n: batch.samples.len(),
            height: batch.height,
            width: batch.width,
            pixels: batch.pixels,
        });
    }
    if loaded.iter().all(|batch| batch.n == 0) {
        let first = warnings.first().cloned().unwrap_or_else(|| "there are no images".to_owned());
        return Err(TrainError::NoImages { count: n, first });
    }
    Ok((CalibrationImages::new(loaded)?, warnings))
}
