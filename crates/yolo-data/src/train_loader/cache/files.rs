//! Images in files, one for each: what it was made from, then its size and its pixels.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use yolo_eval::Convention;

use crate::augment::sample::Loaded;
use crate::dataset::Item;
use crate::dataset::cache::fnv1a;
use crate::image::RgbImage;
use crate::letterbox::load_size_by;
use crate::{DataError, Result};

/// First bytes of a file. The number changes whenever an image may be decoded or resized to other pixels.
const MAGIC: &str = "yolo-prune image cache 1";

/// The files of a folder for the images of a data set.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    entries: Vec<Entry>,
    written: AtomicUsize,
    /// Whether a file could not be written.
    is_full: AtomicBool,
}

/// An image that may have a file.
#[derive(Debug)]
struct Entry {
    image: PathBuf,
    image_size: u32,
    /// Width and height of the stored pixels.
    size: (u32, u32),
}

impl Files {
    pub(super) fn create(
        items: &[Item],
        (image_size, convention): (u32, Convention),
        folder: PathBuf,
    ) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|error| DataError::io(&folder, error))?;
        let entry = |item: &Item| Entry {
            image: std::path::absolute(&item.image).unwrap_or_else(|_| item.image.clone()),
            image_size,
            size: load_size_by((item.width, item.height), image_size, convention),
        };
        let entries = items.iter().map(entry).collect();
        Ok(Self { folder, entries, written: AtomicUsize::new(0), is_full: AtomicBool::new(false) })
    }

    pub(super) fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn get_or_load(
        &self,
        item_idx: usize,
        read: impl FnOnce() -> Result<Loaded>,
    ) -> Result<Loaded> {
        let entry = &self.entries[item_idx];
        let header = entry.header();
        let file = header.as_deref().map(|header| self.folder.join(name_of(header)));
        if let (Some(file), Some(header)) = (&file, &header)
            && let Some(image) = entry.read(file, header)
        {
            return Ok(Loaded { image, warnings: Vec::new() });
        }
        let mut loaded = read()?;
        // What is wrong with a file is said each time it is used, so it has to be read each time.
        let is_good = loaded.warnings.is_empty() && (loaded.image.width, loaded.image.height) == entry.size;
        if let (Some(file), Some(header), true) = (&file, &header, is_good)
            && !self.is_full.load(Ordering::Relaxed)
        {
            match yolo_files::write(file, [header.as_bytes(), &loaded.image.pixels].concat()) {
                Ok(()) => {
                    self.written.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if !self.is_full.swap(true, Ordering::Relaxed) => {
                    let file = file.display();
                    loaded
                        .warnings
                        .push(format!("{file}: cannot be written ({error}); no more images are cached"));
                }
                Err(_) => {}
            }
        }
        Ok(loaded)
    }
}

impl Entry {
    /// What the pixels follow from, in lines; none for an image that is not there.
    fn header(&self) -> Option<String> {
        let metadata = std::fs::metadata(&self.image).ok()?;
        let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        let (image, (width, height)) = (self.image.display(), self.size);
        let (bytes, long_side) = (metadata.len(), self.image_size);
        Some(format!("{MAGIC}\n{image}\n{bytes} {changed} {long_side} {width} {height}\n"))
    }

    /// The pixels in `file`, if it has this header and all of them.
    fn read(&self, file: &Path, header: &str) -> Option<RgbImage> {
        let mut bytes = std::fs::read(file).ok()?;
        let (width, height) = self.size;
        let is_whole = bytes.len() == header.len() + 3 * width as usize * height as usize;
        if !is_whole || !bytes.starts_with(header.as_bytes()) {
            return None;
        }
        bytes.drain(..header.len());
        Some(RgbImage { width, height, pixels: bytes })
    }
}

/// The name of the file with this header.
fn name_of(header: &str) -> String {
    format!("{:016x}.rgb", fnv1a(header.as_bytes().iter()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn loaded(value: u8) -> Result<Loaded> {
        Ok(Loaded { image: RgbImage::filled(4, 2, [value; 3]), warnings: Vec::new() })
    }

    #[test]
    fn files_are_read_until_the_image_changes_or_they_are_damaged() {
        let temp = tempfile::tempdir().unwrap();
        let (image, folder) = (temp.path().join("a.png"), temp.path().join("cache"));
        std::fs::write(&image, b"one").unwrap();
        let items = [Item { image: image.clone(), width: 8, height: 4, labels: Vec::new() }];
        let get = |value| {
            let files = Files::create(&items, (4, Convention::Yolov5), folder.clone()).unwrap();
            let found = files.get_or_load(0, || loaded(value)).unwrap();
            (found.image.pixels[0], files.written())
        };
        assert_eq!((get(1), get(2)), ((1, 1), (1, 0)));
        let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!((get(3), get(4)), ((3, 1), (3, 0)));
        std::fs::write(&image, b"other").unwrap();
        assert_eq!((get(5), get(6)), ((5, 1), (5, 0)));
    }

    #[test]
    fn a_folder_that_takes_no_files_costs_one_warning() {
        let temp = tempfile::tempdir().unwrap();
        let image = temp.path().join("a.png");
        std::fs::write(&image, b"one").unwrap();
        let items = [Item { image, width: 8, height: 4, labels: Vec::new() }];
        let folder = temp.path().join("cache");
        let files = Files::create(&items, (4, Convention::Yolov5), folder.clone()).unwrap();
        // Not even a superuser can write into a file as if it were a folder.
        std::fs::remove_dir(&folder).unwrap();
        std::fs::write(&folder, b"a file").unwrap();
        let first = files.get_or_load(0, || loaded(1)).unwrap();
        assert!(first.warnings[0].contains("cannot be written"), "{:?}", first.warnings);
        assert!(files.get_or_load(0, || loaded(2)).unwrap().warnings.is_empty());
    }
}
