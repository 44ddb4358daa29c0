//! From the detections of a validation to COCO's figures.

use std::path::Path;

use yolo_data::coco::{Detection, Evaluation, GroundTruth, Params, evaluate};
use yolo_data::dataset::Dataset;
use yolo_data::dataset::coco_classes::{category_ids, image_id};

use crate::error::Result;
use crate::validate::ImageDetections;

/// The identifiers of COCO for the images and classes of a data set.
#[derive(Clone, Debug)]
pub struct CocoTask {
    category_ids: Vec<i64>,
    image_ids: Vec<Option<i64>>,
}

impl CocoTask {
    /// With annotations, categories are found by name and images by file name, then by the number that their
    /// name is. Without, classes are their indices.
    ///
    /// # Errors
    /// Class names that are not categories of the annotations.
    pub fn new(dataset: &Dataset, annotations: Option<&GroundTruth>) -> Result<Self> {
        let categories: Vec<(i64, String)> = annotations
            .map(|gt| gt.categories().iter().map(|c| (c.id, c.name.clone())).collect())
            .unwrap_or_default();
        let by_name: std::collections::HashMap<&str, i64> = annotations
            .map(|gt| gt.images().iter().map(|i| (file_name(Path::new(&i.file_name)), i.id)).collect())
            .unwrap_or_default();
        let id = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            by_name.get(file_name(path)).copied().or_else(|| image_id(stem))
        };
        Ok(Self {
            category_ids: category_ids(&dataset.class_names, &categories)?,
            image_ids: dataset.items.iter().map(|item| id(&item.image)).collect(),
        })
    }

    /// The detections in COCO's form, rounded as `val.py` writes them. Images without an id are left out.
    pub fn detections(&self, found: &[ImageDetections]) -> Vec<Detection> {
        let image = |image: &ImageDetections| {
            let id = self.image_ids.get(image.item_idx).copied().flatten()?;
            let category = |class: u32| self.category_ids.get(class as usize).copied().unwrap_or(-1);
            let coco = |d: &yolo_data::metrics::ScoredBox| {
                Detection::like_val(id, category(d.class), d.bbox, d.score)
            };
            Some(image.detections.iter().map(coco).collect::<Vec<_>>())
        };
        found.iter().filter_map(image).flatten().collect()
    }

    /// The ids of the images that were processed.
    fn images(&self, found: &[ImageDetections]) -> Vec<i64> {
        found.iter().filter_map(|image| self.image_ids.get(image.item_idx).copied().flatten()).collect()
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// COCO's evaluation of the detections of a validation, over the images that were processed.
///
/// # Errors
/// Images that the annotations do not know.
pub fn coco_summary(
    task: &CocoTask,
    annotations: &GroundTruth,
    found: &[ImageDetections],
) -> Result<Evaluation> {
    let params = Params { image_ids: Some(task.images(found)), ..Params::coco() };
    Ok(evaluate(annotations, &task.detections(found), &params)?)
}
