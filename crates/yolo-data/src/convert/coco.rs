//! COCO's instances file.

use std::path::Path;

use yolo_eval::Cxcywh;

use super::Place;
use crate::dataset::coco_classes::{COCO80_NAMES, COCO80_TO_91};
use crate::dataset::coco_file::{Annotation, Category, CocoFile, Image, Info};
use crate::dataset::{Dataset, Item, Label, image_id};
use crate::{DataError, Result};

/// The category id of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CategoryIds {
    /// COCO's own ids (1 to 90) for COCO's 80 names; otherwise counted from 1.
    #[default]
    Auto,
    /// Counted from 1.
    FromOne,
    /// The class index, from 0.
    FromZero,
}

impl CategoryIds {
    fn of(self, names: &[String]) -> Vec<usize> {
        match self {
            Self::Auto if names == COCO80_NAMES => COCO80_TO_91.iter().map(|&id| usize::from(id)).collect(),
            Self::Auto | Self::FromOne => (1..=names.len()).collect(),
            Self::FromZero => (0..names.len()).collect(),
        }
    }
}

/// Writes the images `places` of `dataset` with their objects.
pub(super) fn write(dataset: &Dataset, places: &[Place], ids: CategoryIds, path: &Path) -> Result<()> {
    let category_ids = ids.of(&dataset.class_names);
    let image_ids = image_ids(places);
    let mut annotations = Vec::with_capacity(dataset.num_instances());
    for (place, &image_id) in places.iter().zip(&image_ids) {
        let item = &dataset.items[place.item];
        for label in &item.labels {
            let id = annotations.len() + 1;
            annotations.push(annotation(id, image_id, category_ids[label.class as usize], item, label));
        }
    }
    let images = places.iter().zip(&image_ids).map(|(place, &id)| {
        let Item { width, height, .. } = dataset.items[place.item];
        Image { id, file_name: place.name.clone(), width, height }
    });
    let names = dataset.class_names.iter().zip(&category_ids);
    let file = CocoFile {
        info: Info { description: format!("Converted by yolo-prune from {}", dataset.source) },
        images: images.collect(),
        annotations,
        categories: names.map(|(name, &id)| Category { id, name, supercategory: Some("none") }).collect(),
    };
    let text = serde_json::to_vec(&file).map_err(|e| DataError::io(path, e.into()))?;
    super::write(path, text)
}

/// The image ids: the numbers in the file names, as in COCO, if all names are different numbers; otherwise counted
/// from 1.
fn image_ids(places: &[Place]) -> Vec<i64> {
    let stem = |place: &Place| Path::new(&place.name).file_stem().and_then(|stem| image_id(stem.to_str()?));
    let numbers: Option<Vec<i64>> = places.iter().map(stem).collect();
    let is_distinct =
        |ids: &Vec<i64>| ids.iter().collect::<std::collections::HashSet<_>>().len() == ids.len();
    numbers.filter(is_distinct).unwrap_or_else(|| (1..).take(places.len()).collect())
}

fn annotation(id: usize, image_id: i64, category_id: usize, item: &Item, label: &Label) -> Annotation<f64> {
    let (width, height) = (f64::from(item.width), f64::from(item.height));
    let Cxcywh { cx, cy, w, h } = label.bbox_norm;
    let [cx, cy, w, h] = [cx, cy, w, h].map(f64::from);
    let bbox = [(cx - w / 2.0) * width, (cy - h / 2.0) * height, w * width, h * height].map(to_hundredths);
    let outline: Vec<[f64; 2]> =
        label.polygon_norm.iter().map(|&[x, y]| [f64::from(x) * width, f64::from(y) * height]).collect();
    // The area of the outline, or of the box if there is no outline.
    let area = if outline.is_empty() { bbox[2] * bbox[3] } else { area(&outline) };
    let flat: Vec<f64> = outline.into_iter().flatten().map(to_hundredths).collect();
    let segmentation = Some(if flat.is_empty() { vec![] } else { vec![flat] });
    Annotation { id, image_id, category_id, bbox, area: to_hundredths(area), iscrowd: 0, segmentation }
}

/// Rounds to two decimals; zero has no minus sign.
fn to_hundredths(pixels: f64) -> f64 {
    (pixels * 100.0).round() / 100.0 + 0.0
}

/// The area inside an outline that does not cross itself.
fn area(outline: &[[f64; 2]]) -> f64 {
    let next = outline.iter().cycle().skip(1);
    let twice: f64 = outline.iter().zip(next).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum();
    twice.abs() / 2.0
}
