//! From the detections of a validation to COCO's figures.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use yolo_data::DataError;
use yolo_data::dataset::{Dataset, Item, image_id};
use yolo_eval::coco::classes::{CategoryMap, ClassMatch, match_classes};
use yolo_eval::coco::files::{FileMatch, Listed, match_files};
use yolo_eval::coco::{Detection, Evaluation, GroundTruth, ImageId, Params, evaluate};
use yolo_eval::metrics::ScoredBox;

use crate::error::Result;
use crate::validate::ImageDetections;

/// The number of images that are not in the annotations.
const NOT_ANNOTATED: i64 = i64::MIN;
/// Names that a message lists.
const LISTED_NAMES: usize = 5;

/// COCO's identifiers for the images and classes of a data set, and the annotations if there are any.
#[derive(Clone, Debug)]
pub struct CocoTask {
    annotations: Option<GroundTruth>,
    /// The category of each class; `None` for a class that the annotations do not have.
    category_ids: Vec<Option<i64>>,
    images: Vec<TaskImage>,
    warnings: Vec<String>,
}

/// An image of the data set.
#[derive(Clone, Debug)]
struct TaskImage {
    /// As results files name it.
    id: ImageId,
    /// Its number in the annotations, if they have it.
    number: Option<i64>,
}

impl CocoTask {
    /// Without annotations: classes are their indices, and images are called by the number that their name is, or by
    /// their name.
    pub fn without_annotations(dataset: &Dataset) -> Self {
        let paths: Vec<&Path> = dataset.items.iter().map(|item| item.image.as_path()).collect();
        let (ids, warning) = ids_by_name(&paths);
        Self {
            annotations: None,
            category_ids: (0..).map(Some).take(dataset.class_names.len()).collect(),
            images: ids.into_iter().map(|id| TaskImage { id, number: None }).collect(),
            warnings: warning.into_iter().collect(),
        }
    }

    /// With annotations: categories are matched with the network's classes, which are called `class_names`, by name or by
    /// `map` ([`match_classes`]), images by path, name or number ([`match_files`]).
    ///
    /// # Errors
    /// Categories that do not fit the classes, or an image that could be several of the annotations.
    pub fn with_annotations(
        dataset: &Dataset,
        class_names: &[String],
        annotations: GroundTruth,
        map: Option<&CategoryMap>,
    ) -> Result<Self> {
        let source = annotations.source().to_owned();
        let used = annotations.used_categories();
        let classes = match_classes(class_names, annotations.categories(), &used, map)
            .map_err(|reason| DataError::Classes { path: source.clone(), reason })?;
        let images = images(dataset, &annotations)?;
        let mut warnings = Vec::new();
        warnings.extend(absent_classes(class_names, &classes.category_ids, &source));
        warnings.extend(other_sizes(dataset, &annotations, &images));
        warnings.extend(merged_categories(class_names, &classes, &annotations));
        let annotations = if map.is_some() { annotations.with_classes(&classes)? } else { annotations };
        Ok(Self { annotations: Some(annotations), category_ids: classes.category_ids, images, warnings })
    }

    /// Whether there are annotations.
    pub const fn has_annotations(&self) -> bool {
        self.annotations.is_some()
    }

    /// What about the annotations a user should know; a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Number of objects of the annotations in the images of the data set, crowds aside; 0 without annotations.
    pub fn objects(&self) -> usize {
        let known: HashSet<i64> = self.images.iter().filter_map(|image| image.number).collect();
        let categories: HashSet<i64> = self.category_ids.iter().copied().flatten().collect();
        let all = self.annotations.iter().flat_map(|gt| gt.annotations());
        all.filter(|a| !a.iscrowd && known.contains(&a.image_id) && categories.contains(&a.category_id))
            .count()
    }

    /// Number of images of the annotations that are not in the data set. They do not count.
    pub fn images_outside(&self) -> usize {
        let known: HashSet<i64> = self.images.iter().filter_map(|image| image.number).collect();
        self.annotations.as_ref().map_or(0, |gt| gt.images().len() - known.len())
    }

    /// A line about the images that the annotations do not have, if there are any. Figures without them are not those
    /// of the data set.
    pub fn missing_images(&self, dataset: &Dataset) -> Option<String> {
        let source = self.annotations.as_ref()?.source();
        let mut missing = self.images.iter().zip(&dataset.items).filter(|(image, _)| image.number.is_none());
        let (_, first) = missing.next()?;
        let (count, all) = (1 + missing.count(), self.images.len());
        let listed = self.annotations.as_ref()?.images().iter().find(|image| !image.file_name.is_empty());
        let listed = listed.map(|image| format!(" (there, names are like `{}`)", image.file_name));
        Some(format!(
            "{}: {count} of {all} images are not in the annotations; the first is {}{}. Use the annotations of these images",
            source.display(),
            first.image.display(),
            listed.unwrap_or_default()
        ))
    }

    /// The detections in COCO's form with the image of each, rounded as `val.py` writes them, without those of classes
    /// that the annotations do not have. For an image that is not in the annotations the detection's own `image_id` is no id.
    pub fn results(&self, found: &[ImageDetections]) -> Vec<(ImageId, Detection)> {
        let of_image = |image: &ImageDetections| {
            let TaskImage { id, number } = self
                .images
                .get(image.item_idx)
                .cloned()
                .unwrap_or(TaskImage { id: ImageId::Number(NOT_ANNOTATED), number: None });
            let number = number.unwrap_or(NOT_ANNOTATED);
            let category = |class: u32| self.category_ids.get(class as usize).copied().flatten();
            let coco = |d: &ScoredBox| Some(Detection::like_val(number, category(d.class)?, d.bbox, d.score));
            image.detections.iter().filter_map(|d| Some((id.clone(), coco(d)?))).collect::<Vec<_>>()
        };
        found.iter().flat_map(of_image).collect()
    }

    /// The numbers of the images that were processed and are in the annotations.
    fn known_images(&self, found: &[ImageDetections]) -> Vec<i64> {
        found.iter().filter_map(|image| self.images.get(image.item_idx)?.number).collect()
    }

    /// COCO's evaluation of `results`, which [`CocoTask::results`] made from `found`, over the images of the
    /// annotations; `None` without annotations of any of them.
    ///
    /// # Errors
    /// Scores or boxes that are not finite.
    pub fn evaluation(
        &self,
        found: &[ImageDetections],
        results: &[(ImageId, Detection)],
    ) -> Result<Option<Evaluation>> {
        let images = self.known_images(found);
        let Some(annotations) = self.annotations.as_ref().filter(|_| !images.is_empty()) else {
            return Ok(None);
        };
        let known: HashSet<i64> = images.iter().copied().collect();
        let detections = results.iter().map(|(_, detection)| *detection);
        let detections: Vec<Detection> = detections.filter(|d| known.contains(&d.image_id)).collect();
        let params = Params { image_ids: Some(images), ..Params::coco() };
        Ok(Some(evaluate(annotations, &detections, &params)?))
    }
}

/// The images of the data set in the annotations.
fn images(dataset: &Dataset, annotations: &GroundTruth) -> Result<Vec<TaskImage>> {
    let written: Vec<ImageId> =
        annotations.images().iter().map(|image| annotations.written_id(image.id)).collect();
    let listed =
        annotations.images().iter().zip(&written).map(|(image, id)| match (id, image.file_name.as_str()) {
            (ImageId::Name(name), "") => Listed { file_name: name, number: id.number() },
            (_, file_name) => Listed { file_name, number: id.number() },
        });
    let listed: Vec<Listed> = listed.collect();
    let files: Vec<&Path> = dataset.items.iter().map(|item| item.image.as_path()).collect();
    let matched = match_files(&files, &listed).into_iter().zip(&dataset.items);
    let image = |(matched, item): (FileMatch, &Item)| match matched {
        FileMatch::One(index) => {
            Ok(TaskImage { id: written[index].clone(), number: Some(annotations.images()[index].id) })
        }
        FileMatch::Absent => {
            let id = id_by_name(&item.image);
            // Its number may be the id of another image.
            let is_taken = annotations.image_number(&id).is_some();
            let name = || item.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(TaskImage { id: if is_taken { ImageId::Name(name()) } else { id }, number: None })
        }
        FileMatch::Several(a, b) => {
            let reason = format!(
                "{} could be two images of the annotations: id {} (`{}`) and id {} (`{}`); list it once, or with its \
                 folders",
                item.image.display(),
                written[a],
                listed[a].file_name,
                written[b],
                listed[b].file_name
            );
            Err(DataError::invalid(annotations.source(), reason).into())
        }
    };
    matched.map(image).collect()
}

/// How `val.py` calls an image: by the number that its name is, or by its name.
fn id_by_name(image: &Path) -> ImageId {
    let stem = image.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    image_id(stem).map_or_else(|| ImageId::Name(stem.to_owned()), ImageId::Number)
}

/// The same for all images: those whose names are not unique are called by their paths below the folder of all, and a
/// warning says so.
fn ids_by_name(images: &[&Path]) -> (Vec<ImageId>, Option<String>) {
    let mut ids: Vec<ImageId> = images.iter().map(|image| id_by_name(image)).collect();
    let mut paths_of: HashMap<ImageId, HashSet<&Path>> = HashMap::new();
    for (id, image) in ids.iter().zip(images) {
        paths_of.entry(id.clone()).or_default().insert(image);
    }
    let mut first = None;
    let mut count = 0;
    for (id, image) in ids.iter_mut().zip(images).filter(|(id, _)| paths_of[*id].len() > 1) {
        let below = image.strip_prefix(common_folder(images)).unwrap_or(image);
        *id = ImageId::Name(below.to_string_lossy().replace('\\', "/"));
        first.get_or_insert_with(|| id.clone());
        count += 1;
    }
    let warning = first.map(|id| {
        format!("{count} images share their name with another, so files of results call them by their paths: `{id}`")
    });
    (ids, warning)
}

/// The folder that all are in.
fn common_folder(images: &[&Path]) -> PathBuf {
    let Some(first) = images.first().and_then(|image| image.parent()) else { return PathBuf::new() };
    let holds_all = |folder: &&Path| images.iter().all(|image| image.starts_with(folder));
    first.ancestors().find(holds_all).map(Path::to_owned).unwrap_or_default()
}

fn absent_classes(class_names: &[String], category_ids: &[Option<i64>], source: &Path) -> Option<String> {
    let pairs = class_names.iter().zip(category_ids);
    let absent: Vec<&str> = pairs.filter(|(_, id)| id.is_none()).map(|(name, _)| name.as_str()).collect();
    if absent.is_empty() {
        return None;
    }
    let more = if absent.len() > LISTED_NAMES { ", …" } else { "" };
    Some(format!(
        "{}: no category for {} of {} classes ({}{more}): they have no ground truth and do not count in COCO's figures",
        source.display(),
        absent.len(),
        category_ids.len(),
        absent[..absent.len().min(LISTED_NAMES)].join(", ")
    ))
}

/// A warning about a class that a category map gives several categories with annotations.
fn merged_categories(
    class_names: &[String],
    classes: &ClassMatch,
    annotations: &GroundTruth,
) -> Option<String> {
    let used = annotations.used_categories();
    class_names.iter().enumerate().find_map(|(class, name)| {
        let of_class = annotations
            .categories()
            .iter()
            .filter(|c| used.contains(&c.id) && classes.class_of.get(&c.id) == Some(&class));
        let merged: Vec<String> = of_class.map(|c| format!("`{}` (id {})", c.name, c.id)).collect();
        (merged.len() > 1).then(|| {
            format!(
                "{}: the category map makes {} one class, `{name}`",
                annotations.source().display(),
                merged.join(" and ")
            )
        })
    })
}

/// A warning about images that have another size in the annotations, whose boxes cannot fit.
fn other_sizes(dataset: &Dataset, annotations: &GroundTruth, images: &[TaskImage]) -> Option<String> {
    let sizes: HashMap<i64, (u32, u32)> =
        annotations.images().iter().map(|image| (image.id, (image.width, image.height))).collect();
    let pairs = dataset.items.iter().zip(images);
    let mut others = pairs.filter_map(|(item, image)| {
        let (width, height) = *sizes.get(&image.number?)?;
        let is_other = width > 0 && height > 0 && (width, height) != (item.width, item.height);
        is_other.then_some((item, width, height))
    });
    let (item, width, height) = others.next()?;
    Some(format!(
        "{}: {} images have another size in the annotations; the first is {}: {} x {}, annotated as {width} x {height}. \
         Boxes are compared in pixels; check that images and annotations belong together",
        annotations.source().display(),
        1 + others.count(),
        item.image.display(),
        item.width,
        item.height
    ))
}
