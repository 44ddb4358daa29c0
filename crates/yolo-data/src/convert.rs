//! The same data set in the other layout: YOLO's label files or COCO's JSON.
//!
//! ```text
//! OUT/data.yaml                                names and splits, in either layout
//! OUT/images/{train,val,test}/…                links to the images, or copies
//! OUT/labels/{train,val,test}/….txt            YOLO: `class cx cy w h` as fractions of the image
//! OUT/annotations/instances_{train,val,test}.json   COCO: boxes in pixels
//! ```
//!
//! Both layouts are read by [`Dataset::open`], so a source is a [`DatasetConfig`]; [`config_of_json`] makes one of
//! COCO files that have no YAML. Boxes are written with 2 (COCO) and 6 decimals (YOLO), as is usual in both; COCO's boxes
//! come back unchanged from a conversion to YOLO and back.

mod coco;
mod images;
mod source;
mod yaml;
mod yolo;

use std::path::Path;

pub use coco::CategoryIds;
pub use images::Placement;
pub use source::{config_of_json, is_coco};

use crate::dataset::{Dataset, DatasetConfig, Split};
use crate::{DataError, Result, atomic};
use images::Place;

/// The layout of a data set on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A text file per image.
    Yolo,
    /// A JSON file per split.
    Coco,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertOptions {
    /// The layout of the result.
    pub layout: Layout,
    /// How the images are put into the new folder.
    pub placement: Placement,
    /// Category ids of the classes in COCO's layout.
    pub category_ids: CategoryIds,
}

/// Number of images and objects that were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Images of all splits.
    pub images: usize,
    /// Objects on them.
    pub objects: usize,
}

/// Writes `splits` (with the class names of the first) into the new folder `out`, which appears whole or not at all.
///
/// `proceed` is called with the number of images done; if it returns false, the conversion stops and nothing is left
/// behind. An image that a split lists twice is written once.
///
/// # Errors
/// `out` exists, `splits` is empty, a file cannot be written or linked, or two images of a split would have the same
/// label file.
pub fn convert(
    splits: &[(Split, &Dataset)],
    out: &Path,
    options: ConvertOptions,
    proceed: &mut dyn FnMut(usize) -> bool,
) -> Result<Converted> {
    let Some((_, first)) = splits.first() else {
        return Err(DataError::mismatch("there is no split to convert"));
    };
    let places = images::places(splits, options.placement)?;
    let mut converted = Converted::default();
    atomic::write_folder(out, |folder| {
        for ((split, dataset), places) in splits.iter().zip(&places) {
            for place in places {
                place.put(dataset, &folder.join("images").join(split.key()), options.placement)?;
                if options.layout == Layout::Yolo {
                    yolo::write(dataset, place, &folder.join("labels").join(split.key()))?;
                }
                converted.images += 1;
                converted.objects += dataset.items[place.item].labels.len();
                if !proceed(converted.images) {
                    return Err(DataError::mismatch("interrupted; nothing was written"));
                }
            }
            if options.layout == Layout::Coco {
                let file = folder.join("annotations").join(format!("instances_{split}.json"));
                coco::write(dataset, places, options.category_ids, &file)?;
            }
        }
        let names: Vec<Split> = splits.iter().map(|(split, _)| *split).collect();
        let image_dir = images::image_dir(splits, options.placement);
        let text = yaml::text(&names, &first.class_names, options.layout, image_dir.as_deref());
        write(&folder.join("data.yaml"), text)
    })?;
    Ok(converted)
}

/// The splits that `config` names, train first.
pub fn splits_of(config: &DatasetConfig) -> Vec<Split> {
    let all = [Split::Train, Split::Val, Split::Test];
    all.into_iter().filter(|split| !config.entries(*split).is_empty()).collect()
}

/// Writes a file inside a folder that is not visible yet.
fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    make_parent(path)?;
    std::fs::write(path, content).map_err(|e| DataError::io(path, e))
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))
}

#[cfg(test)]
mod tests;
