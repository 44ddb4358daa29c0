//! Decoded and resized images, kept between epochs: in memory or in files.

mod files;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use yolo_eval::Convention;

use super::memory::available;
use crate::augment::sample::Loaded;
use crate::dataset::Item;
use crate::letterbox::load_size;
use crate::{DataError, Result};
use files::Files;

/// Memory that must be free per byte of images.
const SAFETY: f64 = 1.1;

/// Where images are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CachePlace {
    /// In memory, as long as a run takes.
    Memory,
    /// In files of this folder, which later runs read as well.
    Folder(PathBuf),
}

/// Images as training loads them, each filled in when it is first used. Shared by threads and by epochs.
#[derive(Debug)]
pub struct ImageCache {
    image_size: u32,
    items: usize,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<OnceLock<Arc<Loaded>>>),
    Files(Files),
}

impl ImageCache {
    /// An empty cache in memory for `items`, loaded at a longer side of `image_size` pixels.
    ///
    /// # Errors
    /// [`DataError::Mismatch`] if the memory that is available now does not hold all images with a reserve of 10 %, or
    /// if it is not known on this system.
    pub fn new(items: &[Item], image_size: u32) -> Result<Self> {
        let Some(available) = available() else {
            return Err(DataError::mismatch(
                "the available memory is not known on this system; train without the image cache",
            ));
        };
        Self::with_budget(items, image_size, available)
    }

    /// [`ImageCache::new`] with `budget` bytes available.
    ///
    /// # Errors
    /// [`DataError::Mismatch`] if `budget` is too small.
    pub fn with_budget(items: &[Item], image_size: u32, budget: u64) -> Result<Self> {
        let needed = (Self::estimate(items, image_size) as f64 * SAFETY) as u64;
        if needed >= budget {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            return Err(DataError::mismatch(format!(
                "caching {} images at {image_size} pixels takes {:.2} GiB of memory with a reserve, but {:.2} GiB \
                 are available; train without the image cache, or with smaller images",
                items.len(),
                gib(needed),
                gib(budget)
            )));
        }
        let slots = (0..items.len()).map(|_| OnceLock::new()).collect();
        Ok(Self { image_size, items: items.len(), store: Store::Memory(slots) })
    }

    /// A cache in files of `folder`, which is made if it is missing, for `items` at a longer side of `image_size` pixels,
    /// the other side rounded as `convention` does. A file that cannot be written ends the writing, not the training: the first image that this happens to has a
    /// warning.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn in_folder(
        items: &[Item],
        image_size: u32,
        convention: Convention,
        folder: PathBuf,
    ) -> Result<Self> {
        let files = Files::create(items, (image_size, convention), folder)?;
        Ok(Self { image_size, items: items.len(), store: Store::Files(files) })
    }

    /// A cache at `place`.
    ///
    /// # Errors
    /// As [`ImageCache::new`] and [`ImageCache::in_folder`].
    pub fn at(place: &CachePlace, items: &[Item], image_size: u32, convention: Convention) -> Result<Self> {
        match place {
            CachePlace::Memory => Self::new(items, image_size),
            CachePlace::Folder(folder) => Self::in_folder(items, image_size, convention, folder.clone()),
        }
    }

    /// Bytes that the pixels of all `items` need. No image is read, because the sizes are known.
    pub fn estimate(items: &[Item], image_size: u32) -> u64 {
        let bytes = |item: &Item| {
            let (width, height) = load_size((item.width, item.height), image_size);
            3 * u64::from(width) * u64::from(height)
        };
        items.iter().map(bytes).sum()
    }

    /// Number of images in the cache; of a folder, those that this cache wrote.
    pub fn filled(&self) -> usize {
        match &self.store {
            Store::Memory(slots) => slots.iter().filter(|slot| slot.get().is_some()).count(),
            Store::Files(files) => files.written(),
        }
    }

    /// Whether the cache was made for this number of items and this size.
    pub(super) fn fits(&self, items: usize, image_size: u32) -> bool {
        (self.items, self.image_size) == (items, image_size)
    }

    /// The image of an item, read if it is not in the cache. If two threads read it at once, one result is discarded.
    pub(super) fn get_or_load(
        &self,
        item_idx: usize,
        read: impl FnOnce() -> Result<Loaded>,
    ) -> Result<Arc<Loaded>> {
        let slot = match &self.store {
            Store::Memory(slots) => &slots[item_idx],
            Store::Files(files) => return files.get_or_load(item_idx, read).map(Arc::new),
        };
        if let Some(loaded) = slot.get() {
            return Ok(Arc::clone(loaded));
        }
        let mut loaded = read()?;
        // A decoder may have reserved more memory than the pixels need, which the estimate does not include.
        loaded.image.pixels.shrink_to_fit();
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(loaded))))
    }
}
