//! Batches of letterboxed images, decoded ahead of their use by a few threads, in order.
//!
//! Work is handed out image by image, so all threads work on the batch that is needed next. An image that
//! cannot be decoded is left out of its batch and reported; the run goes on.

mod queue;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::dataset::Item;
use crate::image::{Decoded, RgbImage, decode_file};
use crate::letterbox::{Geometry, LetterboxOptions, Placement, letterbox_into, load_size};
use crate::rect::BatchPlan;
use crate::resize::{Interpolation, resize_into};
use crate::{DataError, Result};
use queue::{Open, Queue, Task};

/// How to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Threads that decode; with 0, the thread that asks for a batch decodes it.
    pub workers: usize,
    /// Longer side of a loaded image, in pixels.
    pub image_size: u32,
    /// Batches that are decoded ahead of the one in use, at least 1. With it, at most one more is in memory.
    pub prefetch_batches: usize,
    /// Whether images are loaded for augmentation, which shrinks them with `INTER_LINEAR`, not `INTER_AREA`.
    pub augment: bool,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self { workers: 2, image_size: 640, prefetch_batches: 2, augment: false }
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
    /// What each image of `pixels` is, in order; empty if none could be read.
    pub samples: Vec<Sample>,
    /// Images of the plan that could not be read and are not in `pixels`.
    pub skipped: Vec<Skipped>,
    /// What was odd about images that could be read; every sentence begins with the file.
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

/// Reads an image file: [`decode_file`], but for tests.
type Decode = fn(&Path) -> Result<Decoded>;

/// Iterator over the batches of a list of plans. Dropping it stops its threads and waits for them.
///
/// An `Err` means a defect of the loader itself (a thread panicked, or could not be started); it ends the
/// iteration. Unreadable images are no `Err`: see [`Batch::skipped`].
pub struct Loader {
    job: Arc<Job>,
    workers: Vec<JoinHandle<()>>,
    /// Scratch for decoding on this thread.
    scratch: RgbImage,
}

/// What threads share.
struct Job {
    items: Arc<[Item]>,
    options: LoaderOptions,
    decode: Decode,
    queue: Queue,
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
        for plan in &plans {
            assert!(plan.height > 0 && plan.width > 0, "a batch of {}×{} pixels", plan.height, plan.width);
            assert!(plan.indices.iter().all(|&i| i < items.len()), "a plan points beyond the items");
        }
        // Without threads there is nobody to decode ahead.
        let ahead = if options.workers == 0 { 1 } else { options.prefetch_batches.max(1) };
        let job = Arc::new(Job { items, options, decode, queue: Queue::new(plans, ahead) });
        let mut workers = Vec::with_capacity(options.workers);
        for i in 0..options.workers {
            let shared = Arc::clone(&job);
            match std::thread::Builder::new().name(format!("loader-{i}")).spawn(move || shared.work()) {
                Ok(handle) => workers.push(handle),
                Err(e) => {
                    job.queue.fail(format!("cannot start a loader thread ({e}); ask for fewer workers"))
                }
            }
        }
        Self { job, workers, scratch: RgbImage::default() }
    }

    /// Batches that were not returned yet.
    pub fn remaining(&self) -> usize {
        self.job.queue.remaining()
    }

    /// Gives the memory of a batch back for later ones.
    pub fn recycle(&self, batch: Batch) {
        self.job.queue.recycle(batch.pixels);
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.job.options.workers == 0 {
            while let Some(task) = self.job.queue.try_take() {
                self.job.run(task, &mut self.scratch);
            }
        }
        match self.job.queue.wait_for_next() {
            Ok(open) => open.map(|open| Ok(finish(open))),
            Err(reason) => Some(Err(DataError::invalid("image loader", reason))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining()))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.job.queue.stop();
        for worker in self.workers.drain(..) {
            // A panic was reported by `next` already.
            let _ = worker.join();
        }
    }
}

impl Job {
    /// What a thread does until there is nothing left.
    fn work(&self) {
        let mut scratch = RgbImage::default();
        while let Some(task) = self.queue.wait_for_task() {
            self.run(task, &mut scratch);
        }
    }

    /// Loads the image of `task`. A panic ends the iteration with an error in place of a wait without end.
    fn run(&self, task: Task, scratch: &mut RgbImage) {
        let item = &self.items[task.item_idx];
        let loaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.load(&task, scratch)));
        match loaded {
            Ok(slot) => self.queue.complete(&task, slot),
            Err(_) => self.queue.fail(format!(
                "a thread panicked at {}; this is a bug in the loader, please report it with this file",
                item.image.display()
            )),
        }
    }

    fn load(&self, task: &Task, scratch: &mut RgbImage) -> Slot {
        let item = &self.items[task.item_idx];
        let Decoded { image, warnings } = match (self.decode)(&item.image) {
            Ok(decoded) => decoded,
            Err(e) => return Slot::Skipped(Skipped { item_idx: task.item_idx, error: e.to_string() }),
        };
        let mut warnings: Vec<String> =
            warnings.into_iter().map(|w| format!("{}: {w}", item.image.display())).collect();
        let original = (image.width, image.height);
        if original != (item.width, item.height) {
            warnings.push(format!(
                "{}: the image is {}×{}, but {}×{} when the data set was read; it was changed since",
                item.image.display(),
                original.0,
                original.1,
                item.width,
                item.height
            ));
        }
        let size = load_size(original, self.options.image_size);
        let loaded = if size == original {
            &image
        } else {
            resize_into(&image, size.0, size.1, self.interpolation(original), scratch);
            &*scratch
        };
        let network = (task.batch.height as u32, task.batch.width as u32);
        let placement = Placement::new(size, network, LetterboxOptions::VALIDATION);
        task.batch.write(task.slot, |out| letterbox_into(loaded, &placement, out));
        let geometry = Geometry::new(original, size, &placement);
        Slot::Loaded { sample: Sample { item_idx: task.item_idx, geometry }, warnings }
    }

    fn interpolation(&self, (width, height): (u32, u32)) -> Interpolation {
        if self.options.image_size < width.max(height) && !self.options.augment {
            Interpolation::Area
        } else {
            Interpolation::Linear
        }
    }
}

/// What became of one image.
enum Slot {
    Loaded { sample: Sample, warnings: Vec<String> },
    Skipped(Skipped),
}

/// Closes the gaps that unreadable images left, and lists what happened in the order of the plan.
fn finish(open: Arc<Open>) -> Batch {
    let (mut pixels, slots) = open.take();
    let image_len = open.image_len();
    let mut batch = Batch {
        pixels: Vec::new(),
        height: open.height,
        width: open.width,
        samples: Vec::with_capacity(slots.len()),
        skipped: Vec::new(),
        warnings: Vec::new(),
    };
    for (i, slot) in slots.into_iter().enumerate() {
        match slot {
            Some(Slot::Loaded { sample, warnings }) => {
                let to = batch.samples.len();
                if to != i {
                    pixels.copy_within(i * image_len..(i + 1) * image_len, to * image_len);
                }
                batch.samples.push(sample);
                batch.warnings.extend(warnings);
            }
            Some(Slot::Skipped(skipped)) => batch.skipped.push(skipped),
            // Only finished batches get here.
            None => {}
        }
    }
    pixels.truncate(batch.samples.len() * image_len);
    batch.pixels = pixels;
    batch
}

#[cfg(test)]
mod tests;
