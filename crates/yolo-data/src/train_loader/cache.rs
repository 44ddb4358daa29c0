//! Decoded and resized images, kept in memory between epochs.

use std::sync::{Arc, OnceLock};

use super::memory::available;
use crate::augment::sample::Loaded;
use crate::dataset::Item;
use crate::letterbox::load_size;
use crate::{DataError, Result};

/// Memory that must be free per byte of images.
const SAFETY: f64 = 1.1;

/// Images as training loads them, each filled in when it is first used. Shared by threads and by epochs.
#[derive(Debug)]
pub struct ImageCache {
    image_size: u32,
    slots: Vec<OnceLock<Arc<Loaded>>>,
}

impl ImageCache {
    /// An empty cache for `items`, loaded at a longer side of `image_size` pixels.
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
        Ok(Self { image_size, slots: (0..items.len()).map(|_| OnceLock::new()).collect() })
    }

    /// Bytes that the pixels of all `items` need. No image is read, because the sizes are known.
    pub fn estimate(items: &[Item], image_size: u32) -> u64 {
        let bytes = |item: &Item| {
            let (width, height) = load_size((item.width, item.height), image_size);
            3 * u64::from(width) * u64::from(height)
        };
        items.iter().map(bytes).sum()
    }

    /// Number of images in the cache.
    pub fn filled(&self) -> usize {
        self.slots.iter().filter(|slot| slot.get().is_some()).count()
    }

    /// Whether the cache was made for this number of items and this size.
    pub(super) fn fits(&self, items: usize, image_size: u32) -> bool {
        (self.slots.len(), self.image_size) == (items, image_size)
    }

    /// The image of an item, read if it is not in the cache. If two threads read it at once, one result is discarded.
    pub(super) fn get_or_load(
        &self,
        item_idx: usize,
        read: impl FnOnce() -> Result<Loaded>,
    ) -> Result<Arc<Loaded>> {
        let slot = &self.slots[item_idx];
        if let Some(loaded) = slot.get() {
            return Ok(Arc::clone(loaded));
        }
        let mut loaded = read()?;
        // A decoder may have reserved more memory than the pixels need, which the estimate does not include.
        loaded.image.pixels.shrink_to_fit();
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(loaded))))
    }
}
