//! A synthetic detection data set, drawn in seconds: five shapes in random colours on textured grounds.
//!
//! It is small enough to train on with a CPU in minutes, and hard enough to show the damage of pruning: only the shape
//! decides the class, because colour, size, rotation and ground are random. Everything is a pure function of
//! [`DemoOptions`]; only arithmetic that IEEE 754 defines exactly is used, so that the pixels are the same on every
//! machine.
//!
//! ```text
//! demo.yaml                       the data set's YAML
//! images/{train,val}/000001.jpg   numbered through both splits; the number is the COCO image id
//! labels/{train,val}/000001.txt   class cx cy w h
//! annotations/instances_{train,val}.json
//! demo-options.json               what it was made with
//! ```

mod files;
mod ground;
mod scene;
mod shape;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::atomic::temporary_folder;
use crate::dataset::Split;
use crate::{DataError, Result};
use scene::Scene;

/// Version of the drawing. Raise it with every change of the pixels or labels, so that old folders are not reused.
const VERSION: u32 = 1;
/// The largest data set that is written; the file names have six digits.
const MAX_IMAGES: u32 = 100_000;
/// Images that are drawn between two reports of progress.
const CHUNK: usize = 32;

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoOptions {
    /// Images to train on; at least 1.
    pub train_images: u32,
    /// Images to validate on; at least 1.
    pub val_images: u32,
    /// Width and height of every image in pixels, 64 to 2048.
    pub image_size: u32,
    /// Seed of the random numbers; every seed gives another data set.
    pub seed: u64,
}

impl Default for DemoOptions {
    /// 320 images of 256 pixels to train on and 120 to validate on: about 4 MB.
    fn default() -> Self {
        Self { train_images: 320, val_images: 120, image_size: 256, seed: 0 }
    }
}

impl DemoOptions {
    fn check(&self) -> Result<()> {
        let fail = |what: &str| Err(DataError::mismatch(format!("demo data set: {what}")));
        if self.train_images == 0 || self.val_images == 0 {
            return fail("both splits need at least one image");
        }
        if u64::from(self.train_images) + u64::from(self.val_images) > u64::from(MAX_IMAGES) {
            return fail(&format!("more than {MAX_IMAGES} images; ask for fewer"));
        }
        if !(64..=2048).contains(&self.image_size) {
            return fail(&format!("image size {}; choose one from 64 to 2048", self.image_size));
        }
        Ok(())
    }

    /// Each image as its split and its index in it, in the order of their numbers.
    fn images(&self) -> impl Iterator<Item = (Split, u32)> {
        let split = |split, n: u32| (0..n).map(move |index| (split, index));
        split(Split::Train, self.train_images).chain(split(Split::Val, self.val_images))
    }

    fn count(&self, split: Split) -> u32 {
        if split == Split::Train { self.train_images } else { self.val_images }
    }

    /// The number of an image: its COCO id and the stem of its file name.
    fn number(&self, split: Split, index: u32) -> u32 {
        1 + index + if split == Split::Train { 0 } else { self.train_images }
    }
}

/// The content of the file that records how a folder was made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    options: DemoOptions,
}

/// Names of the classes, in order of their index.
pub fn class_names() -> [&'static str; 5] {
    shape::Shape::ALL.map(shape::Shape::name)
}

/// Writes the data set to `folder`, which must be missing or empty, and returns the path of its `demo.yaml`.
/// `progress` is called with the number of images done.
///
/// The folder appears whole at the end: a run that is interrupted leaves at most a hidden folder beside it.
/// A folder that already holds the data set of the same options is used as it is.
///
/// # Errors
/// Options are out of range, the folder holds anything else (it is not changed), or the file system reports an error.
pub fn write(folder: &Path, options: &DemoOptions, mut progress: impl FnMut(usize)) -> Result<PathBuf> {
    options.check()?;
    if exists(folder, options)? {
        return Ok(folder.join(files::YAML));
    }
    let absolute = std::path::absolute(folder).map_err(|e| DataError::io(folder, e))?;
    let Some(parent) = absolute.parent() else {
        return Err(DataError::invalid(folder, "this folder cannot be made; choose another"));
    };
    std::fs::create_dir_all(parent).map_err(|e| DataError::io(parent, e))?;
    let partial = temporary_folder(parent, ".demo-partial-").map_err(|e| DataError::io(parent, e))?;
    draw_all(partial.path(), options, &mut progress)?;
    move_into_place(partial, &absolute, options)?;
    Ok(folder.join(files::YAML))
}

/// True if `folder` holds the complete data set of `options`, false if it is missing or empty.
fn exists(folder: &Path, options: &DemoOptions) -> Result<bool> {
    let mut entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(DataError::io(folder, e)),
    };
    if entries.next().is_none() {
        return Ok(false);
    }
    let refuse = |what: &str| Err(DataError::invalid(folder, format!("{what}; remove it or choose another")));
    let Ok(text) = std::fs::read_to_string(folder.join(files::RECORD)) else {
        return refuse("the folder holds something that is not a demo data set");
    };
    match serde_json::from_str::<Record>(&text) {
        Ok(record) if record == (Record { version: VERSION, options: *options }) => {}
        Ok(_) => return refuse("the folder holds a demo data set made with other options"),
        Err(_) => return refuse("the folder holds a demo data set of another version"),
    }
    match files::first_missing(folder, options) {
        None => Ok(true),
        Some(file) => refuse(&format!("the folder's demo data set is incomplete: {file} is missing")),
    }
}

fn draw_all(folder: &Path, options: &DemoOptions, progress: &mut impl FnMut(usize)) -> Result<()> {
    files::make_folders(folder)?;
    let images: Vec<(Split, u32)> = options.images().collect();
    let mut scenes = Vec::with_capacity(images.len());
    for chunk in images.chunks(CHUNK) {
        let drawn: Vec<_> = chunk
            .par_iter()
            .map(|&(split, index)| draw(folder, options, split, index))
            .collect::<Result<_>>()?;
        scenes.extend(drawn);
        progress(scenes.len());
    }
    let (train, val) = scenes.split_at(options.train_images as usize);
    files::write_annotations(folder, options, Split::Train, train)?;
    files::write_annotations(folder, options, Split::Val, val)?;
    files::write_yaml(folder)?;
    files::write_record(folder, &Record { version: VERSION, options: *options })
}

/// Draws one image, writes it with its labels, and returns its objects.
fn draw(folder: &Path, options: &DemoOptions, split: Split, index: u32) -> Result<Vec<scene::Object>> {
    let Scene { image, objects } = Scene::draw(options, split, index);
    files::write_image(folder, options, split, index, &image)?;
    files::write_labels(folder, options, split, index, &objects)?;
    Ok(objects)
}

fn move_into_place(partial: tempfile::TempDir, folder: &Path, options: &DemoOptions) -> Result<()> {
    // Not every system moves a folder onto an empty one. `remove_dir` never removes a folder that is not empty.
    if let Err(e) = std::fs::remove_dir(folder)
        && e.kind() != ErrorKind::NotFound
    {
        return if exists(folder, options)? { Ok(()) } else { Err(DataError::io(folder, e)) };
    }
    match std::fs::rename(partial.path(), folder) {
        Ok(()) => {
            // Nothing is left under the old name, so there is nothing to remove.
            let _ = partial.keep();
            Ok(())
        }
        // Another process may have made the same data set in the meantime.
        Err(e) => {
            if exists(folder, options)? {
                Ok(())
            } else {
                Err(DataError::io(folder, e))
            }
        }
    }
}

#[cfg(test)]
mod tests;
