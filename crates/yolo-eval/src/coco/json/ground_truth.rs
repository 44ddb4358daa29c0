//! The ground truth: what an annotation file says, checked.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::instances::{ImageEntry, Instances};
use super::tolerance::{Oddity, tolerated};
use super::{Annotation, Category, ImageInfo, is_finite, list_ids};
use crate::coco::classes::ClassMatch;
use crate::coco::image_id::{ImageId, ImageIds};
use crate::{EvalError, Ltwh, Result};

/// Images, categories and annotations that are consistent with one another.
#[derive(Clone, Debug, PartialEq)]
pub struct GroundTruth {
    source: PathBuf,
    ids: ImageIds,
    images: Vec<ImageInfo>,
    categories: Vec<Category>,
    annotations: Vec<Annotation>,
    missing_areas: usize,
    remarks: Vec<String>,
}

impl GroundTruth {
    /// Reads an annotation file ("instances JSON").
    ///
    /// A missing `iscrowd` is false, a missing `area` is the area of the box ([`GroundTruth::missing_areas`] counts
    /// these). What pycocotools ignores or reads in spite of it is left out or read as it does, and listed in
    /// [`GroundTruth::remarks`]: annotations on images or of categories that are not in their lists, images and
    /// categories that are listed twice, numbers written as text. The whole file is held in memory while it is read.
    ///
    /// # Errors
    /// A file that cannot be read or is not such JSON (with the line, and the entry of the list), and whatever
    /// [`GroundTruth::new`] refuses otherwise.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (instances, oddities) = tolerated(Instances::read(path)?);
        let mut gt = Self::from_instances(path, instances)?;
        gt.remarks = oddities.iter().map(Oddity::as_remark).collect();
        Ok(gt)
    }

    /// As [`GroundTruth::read`], without anything to remark on.
    ///
    /// # Errors
    /// As [`GroundTruth::read`], and what would be a remark.
    pub fn read_strictly(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (instances, oddities) = tolerated(Instances::read(path)?);
        match oddities.first() {
            Some(oddity) => Err(EvalError::invalid(path, oddity.as_error())),
            None => Self::from_instances(path, instances),
        }
    }

    /// From a file whose annotations are all on images that it lists.
    fn from_instances(path: &Path, instances: Instances) -> Result<Self> {
        let ids = ImageIds::new(instances.images.iter().map(|image| &image.id));
        let image_number = |id: &ImageId| ids.number(id).unwrap_or_default();
        let own_ids = ImageIds::new(instances.annotations.iter().filter_map(|entry| entry.id.as_ref()));
        let mut next_id = own_ids.highest().saturating_add(1);
        let mut missing_areas = 0;
        let mut annotations = Vec::with_capacity(instances.annotations.len());
        for (position, entry) in instances.annotations.iter().enumerate() {
            let bbox = entry
                .bbox()
                .map_err(|reason| EvalError::invalid(path, format!("{}: {reason}", entry.name(position))))?;
            let id = entry.id.as_ref().and_then(|id| own_ids.number(id)).unwrap_or_else(|| {
                next_id = next_id.saturating_add(1);
                next_id - 1
            });
            missing_areas += usize::from(entry.area().is_none());
            annotations.push(Annotation {
                id,
                image_id: image_number(&entry.image_id),
                category_id: entry.category_id,
                bbox,
                area: entry.area().unwrap_or(bbox.w * bbox.h),
                iscrowd: entry.iscrowd,
            });
        }
        let image = |entry: &ImageEntry| {
            let [width, height] = entry.size_px().unwrap_or_default();
            let id = image_number(&entry.id);
            ImageInfo { id, width: width as u32, height: height as u32, file_name: entry.file_name.clone() }
        };
        let images = instances.images.iter().map(image).collect();
        let gt = Self {
            source: path.to_owned(),
            images,
            ids,
            categories: instances.categories,
            annotations,
            missing_areas,
            remarks: Vec::new(),
        };
        gt.checked()
    }

    /// A ground truth from its parts; `source` names it in errors.
    ///
    /// # Errors
    /// An id that occurs twice, an annotation on an unknown image or of an unknown category, an area that is not
    /// finite, or a box that is not finite or of negative size.
    pub fn new(
        source: impl Into<PathBuf>,
        images: Vec<ImageInfo>,
        categories: Vec<Category>,
        annotations: Vec<Annotation>,
    ) -> Result<Self> {
        let numbers: Vec<ImageId> = images.iter().map(|image| ImageId::Number(image.id)).collect();
        let gt = Self {
            source: source.into(),
            ids: ImageIds::new(numbers.iter()),
            images,
            categories,
            annotations,
            missing_areas: 0,
            remarks: Vec::new(),
        };
        gt.checked()
    }

    fn checked(self) -> Result<Self> {
        self.check_duplicates()?;
        self.check_references()?;
        self.check_boxes()?;
        Ok(self)
    }

    /// The file it was read from, or the name given to [`GroundTruth::new`].
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The images, in file order.
    pub fn images(&self) -> &[ImageInfo] {
        &self.images
    }

    /// The categories, in file order.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The annotations, in file order.
    pub fn annotations(&self) -> &[Annotation] {
        &self.annotations
    }

    /// Number of annotations without an area, which got the area of their box. Warn if it is not 0: COCO's areas are
    /// those of outlines, and results by object size depend on them.
    pub const fn missing_areas(&self) -> usize {
        self.missing_areas
    }

    /// What was left out or read in spite of how it is written; one line each, with the count. Show them as warnings:
    /// the numbers are those of pycocotools, but the file may not say what was meant.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The number that stands for an image id of the file, or of a results file that belongs to it.
    pub fn image_number(&self, id: &ImageId) -> Option<i64> {
        self.ids.number(id)
    }

    /// The id of an image as the file writes it.
    pub fn written_id(&self, image: i64) -> ImageId {
        self.ids.written(image)
    }

    /// Ids of the categories that annotations use.
    pub fn used_categories(&self) -> HashSet<i64> {
        self.annotations.iter().map(|a| a.category_id).collect()
    }

    /// The same with one category for all categories of a class, and without annotations of categories that have none.
    ///
    /// # Errors
    /// As [`GroundTruth::new`].
    pub fn with_classes(mut self, classes: &ClassMatch) -> Result<Self> {
        let category = |id: i64| classes.category_ids.get(*classes.class_of.get(&id)?).copied().flatten();
        let moved = |a: Annotation| Some(Annotation { category_id: category(a.category_id)?, ..a });
        self.annotations = self.annotations.into_iter().filter_map(moved).collect();
        self.categories.retain(|c| category(c.id) == Some(c.id));
        self.checked()
    }

    /// The images by file name without folders and extension; `None` for a name that several have.
    pub(super) fn images_by_stem(&self) -> HashMap<&str, Option<i64>> {
        let mut by_stem = HashMap::new();
        for image in &self.images {
            let name = image.file_name.rsplit(['/', '\\']).next().unwrap_or_default();
            let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            by_stem.entry(stem).and_modify(|id| *id = None).or_insert(Some(image.id));
        }
        by_stem
    }

    fn check_duplicates(&self) -> Result<()> {
        let fix = "ids must be unique; remove or renumber one of them";
        if let Some((first, second)) = duplicate(self.images.iter().map(|image| image.id)) {
            let [a, b] = [&self.images[first], &self.images[second]];
            return Err(self.invalid(format!(
                "image id {} occurs twice: images entry {first} ({:?}) and entry {second} ({:?}); {fix}",
                self.written_id(a.id),
                a.file_name,
                b.file_name
            )));
        }
        if let Some((first, second)) = duplicate(self.categories.iter().map(|category| category.id)) {
            let [a, b] = [&self.categories[first], &self.categories[second]];
            return Err(self.invalid(format!(
                "category id {} occurs twice: categories entry {first} ({:?}) and entry {second} ({:?}); {fix}",
                a.id, a.name, b.name
            )));
        }
        if let Some((first, second)) = duplicate(self.annotations.iter().map(|a| a.id)) {
            let [a, b] = [&self.annotations[first], &self.annotations[second]];
            return Err(self.invalid(format!(
                "annotation id {} occurs twice: annotations entry {first} (image {}) and entry {second} (image {}); \
                 {fix}",
                a.id, a.image_id, b.image_id
            )));
        }
        Ok(())
    }

    fn check_references(&self) -> Result<()> {
        let images: HashSet<i64> = self.images.iter().map(|image| image.id).collect();
        let categories: HashSet<i64> = self.categories.iter().map(|category| category.id).collect();
        let lost: Vec<&Annotation> =
            self.annotations.iter().filter(|a| !images.contains(&a.image_id)).collect();
        if !lost.is_empty() {
            return Err(self.unknown_reference("image_id", "images", &lost, |a| a.image_id));
        }
        let lost: Vec<&Annotation> =
            self.annotations.iter().filter(|a| !categories.contains(&a.category_id)).collect();
        if !lost.is_empty() {
            return Err(self.unknown_reference("category_id", "categories", &lost, |a| a.category_id));
        }
        Ok(())
    }

    fn unknown_reference(
        &self,
        key: &str,
        list: &str,
        lost: &[&Annotation],
        of: fn(&Annotation) -> i64,
    ) -> EvalError {
        let mut ids: Vec<i64> = lost.iter().map(|a| of(a)).collect();
        ids.sort_unstable();
        ids.dedup();
        let annotations: Vec<i64> = lost.iter().map(|a| a.id).collect();
        self.invalid(format!(
            "{key} {} is not in {list} (annotation id {}); add the missing {list} or remove these annotations",
            list_ids(&ids),
            list_ids(&annotations)
        ))
    }

    fn check_boxes(&self) -> Result<()> {
        for a in &self.annotations {
            let Ltwh { w, h, .. } = a.bbox;
            if !is_finite(a.bbox) {
                return Err(
                    self.invalid(format!("annotation id {}: bbox is not finite; correct or remove it", a.id))
                );
            }
            if w < 0.0 || h < 0.0 {
                return Err(self.invalid(format!(
                    "annotation id {}: bbox has a negative size ({w} × {h}); expected [left, top, width, height]",
                    a.id
                )));
            }
            if !a.area.is_finite() {
                return Err(
                    self.invalid(format!("annotation id {}: area is not finite; correct or remove it", a.id))
                );
            }
        }
        Ok(())
    }

    fn invalid(&self, reason: String) -> EvalError {
        EvalError::invalid(&self.source, reason)
    }
}

/// Positions of both occurrences of the first id that is repeated.
fn duplicate(ids: impl Iterator<Item = i64>) -> Option<(usize, usize)> {
    let mut seen = HashMap::new();
    for (second, id) in ids.enumerate() {
        if let Some(first) = seen.insert(id, second) {
            return Some((first, second));
        }
    }
    None
}
