//! Batches for training: augmented samples, prepared ahead of their use by a few threads, in order.
//!
//! Everything random about a sample follows from the seed, the epoch and its place in the epoch, and everything
//! random about an epoch's order from the seed and the epoch. So batches do not depend on the number of threads,
//! and a resumed run sees the batches that it would have seen without the interruption.

mod cache;
mod epoch;
pub mod memory;
mod seed;

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_eval::{Convention, Cxcywh};

pub use cache::{CachePlace, ImageCache};
pub use epoch::{EpochOptions, epoch_plans, image_weights};

use crate::Result;
use crate::augment::sample::{Augmented, Loaded, Recipe, Scratch};
use crate::augment::{Augmentation, LabelledImage, Object};
use crate::dataset::Item;
use crate::image::{RgbImage, decode_file};
use crate::letterbox::{CLIP_MARGIN, load_size_by, split_channels};
use crate::loader::pipeline::{Pipeline, Prepare, close_gaps};
use crate::loader::queue::{Open, Task};
use crate::loader::{Decode, Skipped, changed_since_scan};
use crate::rect::BatchPlan;
use crate::resize::{Interpolation, resize};

/// How to load for training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainLoaderOptions {
    /// Threads that prepare samples; with 0, the thread that asks for a batch prepares it.
    pub workers: usize,
    /// Longer side of a loaded image, in pixels.
    pub image_size: u32,
    /// Batches that are prepared ahead of the one in use, at least 1.
    pub prefetch_batches: usize,
    /// How much to augment.
    pub augmentation: Augmentation,
    /// Whether batches take the shape of their images, which excludes mosaics; otherwise all are `image_size` square.
    pub rect: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Whether all objects count as class 0.
    pub single_class: bool,
    /// Number of batches at the start of the epoch that are left out, because the run did them before it was
    /// interrupted.
    pub skip_batches: usize,
}

impl Default for TrainLoaderOptions {
    fn default() -> Self {
        Self {
            workers: 2,
            image_size: 640,
            prefetch_batches: 2,
            augmentation: Augmentation::none(),
            rect: false,
            seed: 0,
            single_class: false,
            skip_batches: 0,
        }
    }
}

/// An object to learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Which image of the batch it is on.
    pub image: usize,
    /// Its class.
    pub class: u32,
    /// Its box as a fraction of the network input; no side is 0.
    pub bbox_norm: Cxcywh,
}

/// Samples of one batch, as the network takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainBatch {
    /// `[N, 3, height, width]` values from 0 to 255, planes in the order R, G, B; N = `item_indices.len()`.
    pub pixels: Vec<u8>,
    /// Height of the network input in pixels.
    pub height: usize,
    /// Width of the network input in pixels.
    pub width: usize,
    /// The objects of all images, image by image.
    pub targets: Vec<Target>,
    /// For each image of `pixels`, the item it was made around; empty if none could be read.
    pub item_indices: Vec<usize>,
    /// Images of the plan that could not be read and are not in `pixels`.
    pub skipped: Vec<Skipped>,
    /// Problems of files that were used or that are missing from a mosaic; every sentence begins with the file. A file
    /// is reported each time it is used.
    pub warnings: Vec<String>,
}

/// Iterator over the batches of an epoch. Dropping it stops its threads and waits for them.
///
/// An `Err` means a defect of the loader itself (a thread panicked, or could not be started); it ends the
/// iteration. An unreadable image is not an `Err`: see [`TrainBatch::skipped`].
pub struct TrainLoader {
    pipeline: Pipeline<Training>,
}

impl TrainLoader {
    /// A loader of the `plans` of `epoch` (see [`epoch_plans`]), which must be all plans of the epoch: the other images
    /// of a mosaic are drawn from all of them, and a sample's position among them is part of its seed.
    ///
    /// # Panics
    /// If a plan has an index beyond `items` or a side of 0; if a plan is not `image_size` square, without `rect`;
    /// if `cache` was made for other items or another size.
    pub fn new(
        items: Arc<[Item]>,
        plans: Vec<BatchPlan>,
        epoch: usize,
        options: TrainLoaderOptions,
        cache: Option<Arc<ImageCache>>,
    ) -> Self {
        Self::with_decode(items, plans, epoch, options, cache, |path| decode_file(path))
    }

    fn with_decode(
        items: Arc<[Item]>,
        plans: Vec<BatchPlan>,
        epoch: usize,
        options: TrainLoaderOptions,
        cache: Option<Arc<ImageCache>>,
        decode: Decode,
    ) -> Self {
        let size = options.image_size as usize;
        let square = |plan: &BatchPlan| (plan.height, plan.width) == (size, size);
        assert!(options.rect || plans.iter().all(square), "batches without rect are {size} pixels square");
        if let Some(cache) = &cache {
            assert!(cache.fits(items.len(), options.image_size), "a cache of other images");
        }
        let n = items.len();
        let partners = plans.iter().flat_map(|plan| plan.indices.iter().copied()).collect();
        let prepare = Training { items, partners, epoch, options, cache, decode };
        let TrainLoaderOptions { workers, prefetch_batches, skip_batches, .. } = options;
        Self { pipeline: Pipeline::new(prepare, n, plans, workers, prefetch_batches, skip_batches) }
    }

    /// Number of batches that were not returned yet.
    pub fn remaining(&self) -> usize {
        self.pipeline.remaining()
    }

    /// Gives the memory of a batch back for later ones.
    pub fn recycle(&self, batch: TrainBatch) {
        self.pipeline.recycle(batch.pixels);
    }
}

impl Iterator for TrainLoader {
    type Item = Result<TrainBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.pipeline.next()?.map(|open| finish(&open)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining()))
    }
}

/// Preparation for training.
struct Training {
    items: Arc<[Item]>,
    /// The images of the epoch, in order.
    partners: Vec<usize>,
    epoch: usize,
    options: TrainLoaderOptions,
    cache: Option<Arc<ImageCache>>,
    decode: Decode,
}

/// The outcome for one image.
enum Slot {
    Made { item_idx: usize, targets: Vec<(u32, Cxcywh)>, warnings: Vec<String> },
    Skipped(Skipped),
}

impl Prepare for Training {
    type Scratch = Scratch;
    type Slot = Slot;

    fn prepare(&self, task: &Task<Slot>, scratch: &mut Scratch) -> Slot {
        let item_idx = task.item_idx;
        let recipe = Recipe {
            items: &self.items,
            partners: &self.partners,
            augmentation: &self.options.augmentation,
            image_size: self.options.image_size,
            network: (task.batch.height as u32, task.batch.width as u32),
            mosaics: !self.options.rect,
            load: &|idx| self.load(idx),
        };
        let seed = seed::of_sample(self.options.seed, self.epoch, task.position);
        match recipe.make(item_idx, &mut StdRng::seed_from_u64(seed), scratch) {
            Ok(Augmented { sample, warnings }) => {
                task.batch.write(task.slot, |out| write_planes(&sample.image, out));
                let targets = self.targets(&sample);
                scratch.recycle(sample);
                Slot::Made { item_idx, targets, warnings }
            }
            Err(e) => Slot::Skipped(Skipped { item_idx, error: e.to_string() }),
        }
    }

    fn file(&self, item_idx: usize) -> String {
        self.items[item_idx].image.display().to_string()
    }
}

impl Training {
    /// The image of an item, from the cache if there is one.
    fn load(&self, item_idx: usize) -> Result<Arc<Loaded>> {
        let convention = self.options.augmentation.convention;
        let read = || load(&self.items[item_idx], (self.options.image_size, convention), self.decode);
        match &self.cache {
            Some(cache) => cache.get_or_load(item_idx, read),
            None => read().map(Arc::new),
        }
    }

    /// Class and normalised box of the objects of a sample, by YOLOv5 clipped just inside it.
    fn targets(&self, sample: &LabelledImage) -> Vec<(u32, Cxcywh)> {
        let (width, height) = (f64::from(sample.image.width), f64::from(sample.image.height));
        let margin = match self.options.augmentation.convention {
            Convention::Yolov5 => CLIP_MARGIN,
            Convention::Ultralytics => 0.0,
        };
        let target = |object: &Object| {
            let inside = object.bbox_px.clip((width - margin) as f32, (height - margin) as f32);
            let px = Cxcywh::from(inside);
            let (width, height) = (width as f32, height as f32);
            let bbox = Cxcywh { cx: px.cx / width, cy: px.cy / height, w: px.w / width, h: px.h / height };
            (if self.options.single_class { 0 } else { object.class }, bbox)
        };
        sample.objects.iter().map(target).collect()
    }
}

/// Decodes the image of `item` and resizes it with `INTER_LINEAR`, so that its longer side is `image_size`.
fn load(item: &Item, (image_size, convention): (u32, Convention), decode: Decode) -> Result<Loaded> {
    let decoded = decode(&item.image)?;
    let mut warnings: Vec<String> =
        decoded.warnings.iter().map(|w| format!("{}: {w}", item.image.display())).collect();
    warnings.extend(changed_since_scan(item, &decoded.image));
    let original = (decoded.image.width, decoded.image.height);
    let size = load_size_by(original, image_size, convention);
    let image = if size == original {
        decoded.image
    } else {
        resize(&decoded.image, size.0, size.1, Interpolation::Linear)
    };
    Ok(Loaded { image, warnings })
}

/// Interleaved pixels as `[3, height, width]` planes.
fn write_planes(image: &RgbImage, out: &mut [u8]) {
    let (red, rest) = out.split_at_mut(out.len() / 3);
    let (green, blue) = rest.split_at_mut(rest.len() / 2);
    split_channels(&image.pixels, red, green, blue);
}

/// Separates the outcomes, in the order of the plan, into samples, skipped images and warnings.
fn finish(open: &Open<Slot>) -> TrainBatch {
    let (pixels, slots) = close_gaps(open, |slot| matches!(slot, Slot::Made { .. }));
    let mut batch = TrainBatch {
        pixels,
        height: open.height,
        width: open.width,
        targets: Vec::new(),
        item_indices: Vec::with_capacity(slots.len()),
        skipped: Vec::new(),
        warnings: Vec::new(),
    };
    for slot in slots {
        match slot {
            Slot::Made { item_idx, targets, warnings } => {
                let image = batch.item_indices.len();
                let target = |(class, bbox_norm)| Target { image, class, bbox_norm };
                batch.targets.extend(targets.into_iter().map(target));
                batch.item_indices.push(item_idx);
                batch.warnings.extend(warnings);
            }
            Slot::Skipped(skipped) => batch.skipped.push(skipped),
        }
    }
    batch
}

#[cfg(test)]
mod tests;
