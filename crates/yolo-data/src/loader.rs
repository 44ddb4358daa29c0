//! Batches of letterboxed images, decoded ahead of their use by a few threads, in order.
//!
//! Work is handed out image by image, so all threads work on the batch that is needed next. An image that
//! cannot be decoded is left out of its batch and reported.

pub(crate) mod pipeline;
pub(crate) mod queue;

use std::path::Path;
use std::sync::Arc;

use yolo_eval::Convention;

use crate::Result;
use crate::dataset::Item;
use crate::image::{Decoded, RgbImage, decode_file};
use crate::letterbox::{Geometry, LetterboxOptions, Placement, letterbox_into, load_size_by};
use crate::rect::BatchPlan;
use crate::resize::{Interpolation, resize_into};
use pipeline::{Pipeline, Prepare, close_gaps};
use queue::{Open, Task};

/// How to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Threads that decode; with 0, the thread that asks for a batch decodes it.
    pub workers: usize,
    /// Longer side of a loaded image, in pixels.
    pub image_size: u32,
    /// Batches that are decoded ahead of the one in use, at least 1. With it, at most one more is in memory.
    pub prefetch_batches: usize,
    /// Whether images are loaded for augmentation: they are then shrunk with `INTER_LINEAR`, not with `INTER_AREA`.
    pub augment: bool,
    /// Whose rules resize images and put boxes back; [`Convention::Ultralytics`] always shrinks with `INTER_LINEAR`.
    pub convention: Convention,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            workers: 2,
            image_size: 640,
            prefetch_batches: 2,
            augment: false,
            convention: Convention::Yolov5,
        }
    }
}

/// Images of one batch, as the network takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[N, 3, height, width]` values from 0 to 255, planes in the order R, G, B, with N = `samples.len()`.
    pub pixels: Vec<u8>,
    /// Height of the network input in pixels.
    pub height: usize,
    /// Width of the network input in pixels.
    pub width: usize,
    /// Where each image of `pixels` comes from, in order; empty if none could be read.
    pub samples: Vec<Sample>,
    /// Images of the plan that could not be read and are not in `pixels`.
    pub skipped: Vec<Skipped>,
    /// Problems of images that could still be read; every sentence begins with the file.
    pub warnings: Vec<String>,
}

/// One image of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Index into the loader's items.
    pub item_idx: usize,
    /// How the image lies in the network input.
    pub geometry: Geometry,
}

/// An image that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Index into the loader's items.
    pub item_idx: usize,
    /// Why: a message that names the file.
    pub error: String,
}

/// Reads an image file; [`decode_file`] except in tests.
pub(crate) type Decode = fn(&Path) -> Result<Decoded>;

/// Iterator over the batches of a list of plans. Dropping it stops its threads and waits for them.
///
/// An `Err` means a defect of the loader itself (a thread panicked, or could not be started); it ends the
/// iteration. An unreadable image is not an `Err`: see [`Batch::skipped`].
pub struct Loader {
    pipeline: Pipeline<Letterboxed>,
}

/// Preparation for validation and detection: decode, resize, letterbox.
struct Letterboxed {
    items: Arc<[Item]>,
    options: LoaderOptions,
    decode: Decode,
}

impl Loader {
    /// A loader of `plans`, whose indices point into `items`.
    ///
    /// # Panics
    /// If a plan has an index beyond `items`, or a side of 0.
    pub fn new(items: impl Into<Arc<[Item]>>, plans: Vec<BatchPlan>, options: LoaderOptions) -> Self {
        Self::with_decode(items.into(), plans, options, |path| decode_file(path))
    }

    fn with_decode(
        items: Arc<[Item]>,
        plans: Vec<BatchPlan>,
        options: LoaderOptions,
        decode: Decode,
    ) -> Self {
        let n = items.len();
        let prepare = Letterboxed { items, options, decode };
        Self { pipeline: Pipeline::new(prepare, n, plans, options.workers, options.prefetch_batches, 0) }
    }

    /// Number of batches that were not returned yet.
    pub fn remaining(&self) -> usize {
        self.pipeline.remaining()
    }

    /// Gives the memory of a batch back for later ones.
    pub fn recycle(&self, batch: Batch) {
        self.pipeline.recycle(batch.pixels);
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.pipeline.next()?.map(|open| finish(&open)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining()))
    }
}

/// A warning if the size of the image differs from that of its item.
pub(crate) fn changed_since_scan(item: &Item, image: &RgbImage) -> Option<String> {
    ((image.width, image.height) != (item.width, item.height)).then(|| {
        format!(
            "{}: the image is {}×{}, but {}×{} when the data set was read; it has changed since",
            item.image.display(),
            image.width,
            image.height,
            item.width,
            item.height
        )
    })
}

impl Prepare for Letterboxed {
    type Scratch = RgbImage;
    type Slot = Slot;

    fn prepare(&self, task: &Task<Slot>, scratch: &mut RgbImage) -> Slot {
        let item = &self.items[task.item_idx];
        let Decoded { image, warnings } = match (self.decode)(&item.image) {
            Ok(decoded) => decoded,
            Err(e) => return Slot::Skipped(Skipped { item_idx: task.item_idx, error: e.to_string() }),
        };
        let mut warnings: Vec<String> =
            warnings.into_iter().map(|w| format!("{}: {w}", item.image.display())).collect();
        let original = (image.width, image.height);
        warnings.extend(changed_since_scan(item, &image));
        let convention = self.options.convention;
        let size = load_size_by(original, self.options.image_size, convention);
        let loaded = if size == original {
            &image
        } else {
            resize_into(&image, size.0, size.1, self.interpolation(original), scratch);
            &*scratch
        };
        let network = (task.batch.height as u32, task.batch.width as u32);
        let placement = Placement::new(size, network, LetterboxOptions::VALIDATION);
        task.batch.write(task.slot, |out| letterbox_into(loaded, &placement, out));
        let geometry = Geometry::new(original, size, &placement, convention);
        Slot::Loaded { sample: Sample { item_idx: task.item_idx, geometry }, warnings }
    }

    fn file(&self, item_idx: usize) -> String {
        self.items[item_idx].image.display().to_string()
    }
}

impl Letterboxed {
    fn interpolation(&self, (width, height): (u32, u32)) -> Interpolation {
        let is_linear = self.options.augment || self.options.convention == Convention::Ultralytics;
        if self.options.image_size < width.max(height) && !is_linear {
            Interpolation::Area
        } else {
            Interpolation::Linear
        }
    }
}

/// The outcome for one image.
enum Slot {
    Loaded { sample: Sample, warnings: Vec<String> },
    Skipped(Skipped),
}

/// Separates the outcomes, in the order of the plan, into samples, skipped images and warnings.
fn finish(open: &Open<Slot>) -> Batch {
    let (pixels, slots) = close_gaps(open, |slot| matches!(slot, Slot::Loaded { .. }));
    let mut batch = Batch {
        pixels,
        height: open.height,
        width: open.width,
        samples: Vec::with_capacity(slots.len()),
        skipped: Vec::new(),
        warnings: Vec::new(),
    };
    for slot in slots {
        match slot {
            Slot::Loaded { sample, warnings } => {
                batch.samples.push(sample);
                batch.warnings.extend(warnings);
            }
            Slot::Skipped(skipped) => batch.skipped.push(skipped),
        }
    }
    batch
}

#[cfg(test)]
mod tests;
