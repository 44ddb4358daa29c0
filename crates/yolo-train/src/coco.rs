//! From the detections of a validation to COCO's figures.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use yolo_data::dataset::{Dataset, category_ids, image_id};
use yolo_eval::coco::{Detection, Evaluation, GroundTruth, ImageId, Params, evaluate};
use yolo_eval::metrics::ScoredBox;

use crate::error::Result;
use crate::validate::ImageDetections;

/// COCO's identifiers for the images and classes of a data set.
#[derive(Clone, Debug)]
pub struct CocoTask {
    category_ids: Vec<i64>,
    image_ids: Vec<ImageId>,
}

impl CocoTask {
    /// With annotations, categories are found by name, and images by file name or by the number in it. Without
    /// annotations, classes are their indices.
    ///
    /// # Errors
    /// Class names that are not categories of the annotations.
    pub fn new(dataset: &Dataset, annotations: Option<&GroundTruth>) -> Result<Self> {
        let categories: Vec<(i64, String)> = annotations
            .map(|gt| gt.categories().iter().map(|c| (c.id, c.name.clone())).collect())
            .unwrap_or_default();
        let by_name: HashMap<&str, i64> = annotations
            .map(|gt| gt.images().iter().map(|i| (file_name(Path::new(&i.file_name)), i.id)).collect())
            .unwrap_or_default();
        let id = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let number = by_name.get(file_name(path)).copied().or_else(|| image_id(stem));
            number.map_or_else(|| ImageId::Name(stem.to_owned()), ImageId::Number)
        };
        Ok(Self {
            category_ids: category_ids(&dataset.class_names, &categories)?,
            image_ids: dataset.items.iter().map(|item| id(&item.image)).collect(),
        })
    }

    /// The detections in COCO's form with the image of each, rounded as `val.py` writes them. For
    /// an image without a number the detection's own `image_id` is −1.
    pub fn results(&self, found: &[ImageDetections]) -> Vec<(ImageId, Detection)> {
        let image = |image: &ImageDetections| {
            let id = self.image_ids.get(image.item_idx).cloned().unwrap_or(ImageId::Number(-1));
            let number = if let ImageId::Number(number) = id { number } else { -1 };
            let category = |class: u32| self.category_ids.get(class as usize).copied().unwrap_or(-1);
            let coco = |d: &ScoredBox| Detection::like_val(number, category(d.class), d.bbox, d.score);
            image.detections.iter().map(|d| (id.clone(), coco(d))).collect::<Vec<_>>()
        };
        found.iter().flat_map(image).collect()
    }

    /// The numbers of the images that were processed and are in `annotations`.
    pub fn known_images(&self, annotations: &GroundTruth, found: &[ImageDetections]) -> Vec<i64> {
        let known: HashSet<i64> = annotations.images().iter().map(|image| image.id).collect();
        let number = |image: &ImageDetections| match self.image_ids.get(image.item_idx) {
            Some(ImageId::Number(number)) if known.contains(number) => Some(*number),
            _ => None,
        };
        found.iter().filter_map(number).collect()
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// COCO's evaluation of `results`, which [`CocoTask::results`] made from `found`, over the images of the annotations.
///
/// # Errors
/// Scores or boxes that are not finite.
pub fn coco_evaluation(
    task: &CocoTask,
    annotations: &GroundTruth,
    found: &[ImageDetections],
    results: &[(ImageId, Detection)],
) -> Result<Evaluation> {
    let images = task.known_images(annotations, found);
    let known: HashSet<i64> = images.iter().copied().collect();
    let detections = results.iter().map(|(_, detection)| *detection);
    let detections: Vec<Detection> = detections.filter(|d| known.contains(&d.image_id)).collect();
    let params = Params { image_ids: Some(images), ..Params::coco() };
    Ok(evaluate(annotations, &detections, &params)?)
}
