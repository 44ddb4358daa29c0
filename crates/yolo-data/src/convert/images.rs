//! The images of a converted data set: their new names, and how they are linked or copied.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::make_parent;
use crate::dataset::{Dataset, Split};
use crate::{DataError, Result};

/// How images get into the new folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// As symbolic links (hard links if the system is not a Unix); they break if the images are moved.
    Link,
    /// As copies.
    Copy,
    /// Not at all: COCO files refer to the images where they are; for YOLO's labels the images must be added later.
    Leave,
}

/// An image and its name in the new folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the image in its data set.
    pub(super) item: usize,
    /// Its path with slashes, below the folder of its split, or below the folder of all images with
    /// [`Placement::Leave`].
    pub(super) name: String,
}

impl Place {
    /// Links or copies the image into `folder`.
    pub(super) fn put(&self, dataset: &Dataset, folder: &Path, placement: Placement) -> Result<()> {
        let image = &dataset.items[self.item].image;
        let target = folder.join(&self.name);
        let placed = match placement {
            Placement::Leave => return Ok(()),
            Placement::Copy => make_parent(&target).map(|()| std::fs::copy(image, &target).map(drop)),
            Placement::Link => make_parent(&target).map(|()| link(image, &target)),
        };
        placed?.map_err(|e| DataError::io(image, e))
    }
}

#[cfg(unix)]
fn link(image: &Path, target: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(std::path::absolute(image)?, target)
}

#[cfg(not(unix))]
fn link(image: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::hard_link(image, target)
}

/// The images of every split, each once, with their names.
pub(super) fn places(splits: &[(Split, &Dataset)], placement: Placement) -> Result<Vec<Vec<Place>>> {
    let shared = image_dir(splits, placement);
    let of_split = |(_, dataset): &(Split, &Dataset)| {
        let root =
            shared.clone().or_else(|| common_folder(dataset.items.iter().map(|item| item.image.as_path())));
        let mut seen = HashSet::new();
        let indices = dataset.items.iter().enumerate().filter(|(_, item)| seen.insert(&item.image));
        let places = indices.map(|(index, item)| Place {
            item: index,
            name: name_below(&item.image, root.as_deref().unwrap_or(Path::new(""))),
        });
        let places: Vec<Place> = places.collect();
        check_stems(dataset, &places)?;
        Ok(places)
    };
    splits.iter().map(of_split).collect()
}

/// The folder of the images if they are left where they are.
pub(super) fn image_dir(splits: &[(Split, &Dataset)], placement: Placement) -> Option<PathBuf> {
    let images = splits.iter().flat_map(|(_, dataset)| &dataset.items).map(|item| item.image.as_path());
    (placement == Placement::Leave).then(|| common_folder(images)).flatten()
}

/// The innermost folder that all of `images` are in.
fn common_folder<'a>(images: impl IntoIterator<Item = &'a Path>) -> Option<PathBuf> {
    let mut folders = images.into_iter().filter_map(Path::parent);
    let mut common = folders.next()?.to_owned();
    for folder in folders {
        while !folder.starts_with(&common) {
            common.pop();
        }
    }
    Some(common)
}

fn name_below(image: &Path, root: &Path) -> String {
    let below = image.strip_prefix(root).unwrap_or(image);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// Refuses two images whose names differ only in their extension, because they would share a label file.
fn check_stems(dataset: &Dataset, places: &[Place]) -> Result<()> {
    let mut seen: HashMap<PathBuf, usize> = HashMap::new();
    for place in places {
        if let Some(other) = seen.insert(Path::new(&place.name).with_extension(""), place.item) {
            let [a, b] = [other, place.item].map(|item| dataset.items[item].image.display().to_string());
            let reason = format!("{a} and {b} would have the same label file; rename one of them");
            return Err(DataError::mismatch(reason));
        }
    }
    Ok(())
}
