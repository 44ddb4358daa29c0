//! COCO's two file formats: annotations ("instances") and detections ("results").
//!
//! Reading accepts what other tools write (ids as `1.0` or `"1"`, no `iscrowd`, no `area`) and refuses what would make
//! a number wrong (duplicate ids, unknown ids, boxes of negative size, NaN). Polygons, licences and other keys are
//! skipped and not stored.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde::Serialize;
use yolo_files::AtomicFile;

use super::Detection;
use crate::{EvalError, Ltwh, Result};

mod raw;

/// How many ids an error message lists.
const LISTED_IDS: usize = 5;

/// An image of the ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its id.
    pub id: i64,
    /// Width in pixels; 0 if the file does not state it.
    pub width: u32,
    /// Height in pixels; 0 if the file does not state it.
    pub height: u32,
    /// File name, possibly with folders; empty if the file does not state it.
    pub file_name: String,
}

/// A category of the ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its id; ids may have gaps.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// An annotated object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annotation {
    /// Its id: unique; 0 is valid.
    pub id: i64,
    /// Id of its image.
    pub image_id: i64,
    /// Id of its category.
    pub category_id: i64,
    /// The box in pixels of the image.
    pub bbox: Ltwh,
    /// Area in square pixels; in COCO's files the area of the outline, not of the box.
    pub area: f64,
    /// Whether the annotation covers a group of objects that are too dense to outline one by one.
    pub iscrowd: bool,
}

/// Images, categories and annotations that are consistent with one another.
#[derive(Clone, Debug, PartialEq)]
pub struct GroundTruth {
    source: PathBuf,
    images: Vec<ImageInfo>,
    categories: Vec<Category>,
    annotations: Vec<Annotation>,
    missing_areas: usize,
}

impl GroundTruth {
    /// Reads an annotation file ("instances JSON").
    ///
    /// A missing `iscrowd` is false, a missing `area` is the area of the box ([`GroundTruth::missing_areas`] counts
    /// these). The whole file is held in memory while it is read.
    ///
    /// # Errors
    /// A file that cannot be read or is not such JSON (with the line, and the entry of the list), and whatever
    /// [`GroundTruth::new`] refuses.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let raw = raw::read_instances(path)?;
        let mut annotations = Vec::with_capacity(raw.annotations.len());
        let mut missing_areas = 0;
        for a in &raw.annotations {
            let Some(bbox) = a.bbox.and_then(raw::RawBox::ltwh) else {
                let found =
                    a.bbox.map_or_else(|| "no bbox".to_owned(), |b| format!("a bbox of {} numbers", b.len));
                let reason = format!("annotation id {}: {found}; expected [left, top, width, height]", a.id);
                return Err(EvalError::invalid(path, reason));
            };
            missing_areas += usize::from(a.area.is_none());
            annotations.push(Annotation {
                id: a.id,
                image_id: a.image_id,
                category_id: a.category_id,
                bbox,
                area: a.area.unwrap_or(bbox.w * bbox.h),
                iscrowd: a.iscrowd,
            });
        }
        let mut gt = Self::new(path, raw.images, raw.categories, annotations)?;
        gt.missing_areas = missing_areas;
        Ok(gt)
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
        let gt = Self { source: source.into(), images, categories, annotations, missing_areas: 0 };
        gt.check_duplicates()?;
        gt.check_references()?;
        gt.check_boxes()?;
        Ok(gt)
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

    fn check_duplicates(&self) -> Result<()> {
        let fix = "ids must be unique; remove or renumber one of them";
        if let Some((first, second)) = duplicate(self.images.iter().map(|image| image.id)) {
            let [a, b] = [&self.images[first], &self.images[second]];
            return Err(self.invalid(format!(
                "image id {} occurs twice: images entry {first} ({:?}) and entry {second} ({:?}); {fix}",
                a.id, a.file_name, b.file_name
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

/// The content of a results file, in file order: a list of [`Detection`]s.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detections(Vec<Detection>);

impl Detections {
    /// Reads a results file: a list of `{image_id, category_id, bbox, score}`, possibly empty.
    ///
    /// # Errors
    /// A file that cannot be read or is not such JSON (with the line, and the entry of the list, from 0), or a box
    /// that is not finite or of negative size.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut detections = Vec::new();
        for (index, raw) in raw::read_results(path)?.into_iter().enumerate() {
            let fail =
                |reason: String| Err(EvalError::invalid(path, format!("detections entry {index}: {reason}")));
            let expected = "expected [left, top, width, height]";
            let Some(bbox) = raw.bbox.ltwh() else {
                return fail(format!("a bbox of {} numbers; {expected}", raw.bbox.len));
            };
            if bbox.w < 0.0 || bbox.h < 0.0 {
                return fail(format!("bbox has a negative size ({} × {}); {expected}", bbox.w, bbox.h));
            }
            detections.push(Detection {
                image_id: raw.image_id,
                category_id: raw.category_id,
                bbox,
                score: raw.score,
            });
        }
        Ok(Self(detections))
    }

    /// The detections themselves.
    pub fn into_vec(self) -> Vec<Detection> {
        self.0
    }
}

impl Deref for Detections {
    type Target = [Detection];

    fn deref(&self) -> &[Detection] {
        &self.0
    }
}

/// How a results file names an image: by its id in COCO's annotations, or by its file name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ImageId {
    /// The id in COCO's annotations.
    Number(i64),
    /// The file name without its extension, for images that have no id.
    Name(String),
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Writes a results file, rounded as in [`Detection::rounded`]. The file appears whole or not at all.
///
/// # Errors
/// A file that cannot be written, or a value that is not finite (JSON has no NaN).
pub fn write_detections(path: impl AsRef<Path>, detections: &[Detection]) -> Result<()> {
    let numbered: Vec<(ImageId, Detection)> =
        detections.iter().map(|d| (ImageId::Number(d.image_id), *d)).collect();
    write_results(path, &numbered)
}

/// As [`write_detections`], with names for images that have no id. The `image_id` of the detections is not used.
///
/// # Errors
/// As [`write_detections`].
pub fn write_results(path: impl AsRef<Path>, results: &[(ImageId, Detection)]) -> Result<()> {
    let path = path.as_ref();
    for (index, (image, d)) in results.iter().enumerate() {
        if !d.score.is_finite() || !is_finite(d.bbox) {
            let reason = format!("detections entry {index} (image {image}) is not finite; remove it");
            return Err(EvalError::invalid(path, reason));
        }
    }
    let entries = results.iter().map(|(image_id, d)| {
        let Detection { category_id, bbox, score, .. } = d.rounded();
        ResultEntry { image_id, category_id, bbox: [bbox.left, bbox.top, bbox.w, bbox.h], score }
    });
    write_list(path, entries).map_err(|source| EvalError::io(path, source))
}

/// An entry of a results file, with its keys in the usual order.
#[derive(Serialize)]
struct ResultEntry<'a> {
    image_id: &'a ImageId,
    category_id: i64,
    bbox: [f64; 4],
    score: f64,
}

fn write_list<'a>(path: &Path, entries: impl Iterator<Item = ResultEntry<'a>>) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    let mut file = AtomicFile::create(path)?;
    file.write_all(b"[")?;
    for (index, entry) in entries.enumerate() {
        if index > 0 {
            file.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut file, &entry)?;
    }
    file.write_all(b"]\n")?;
    file.commit()
}

/// `value` rounded to `decimals` as Python's `round` does: by its exact decimal expansion, ties to even.
pub fn round_like_val(value: f64, decimals: usize) -> f64 {
    // The text of a float always parses, so the fallback is never used.
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

/// `3`, or `3, 5, 8, … (12 in all)`.
pub(super) fn list_ids(ids: &[i64]) -> String {
    let listed: Vec<String> = ids.iter().take(LISTED_IDS).map(i64::to_string).collect();
    let listed = listed.join(", ");
    if ids.len() > LISTED_IDS { format!("{listed}, … ({} in all)", ids.len()) } else { listed }
}

pub(super) fn is_finite(bbox: Ltwh) -> bool {
    [bbox.left, bbox.top, bbox.w, bbox.h].iter().all(|v| v.is_finite())
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

#[cfg(test)]
mod tests;
