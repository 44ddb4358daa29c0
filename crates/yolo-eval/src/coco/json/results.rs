//! A results file: a list of detections.

use std::io::Write;
use std::ops::Deref;
use std::path::Path;

use serde::Serialize;
use yolo_files::AtomicFile;

use super::{GroundTruth, is_finite, list_names, raw};
use crate::coco::{Detection, ImageId};
use crate::{EvalError, Result};

/// The content of a results file, in file order: a list of [`Detection`]s.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detections(Vec<Detection>);

impl Detections {
    /// Reads a results file: a list of `{image_id, category_id, bbox, score}`, possibly empty.
    ///
    /// # Errors
    /// A file that cannot be read or is not such JSON (with the line, and the entry of the list, from 0), a box that is
    /// not finite or of negative size, or an `image_id` that is not a number: only the annotations tell which image a
    /// text names ([`Detections::read_for`]).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let number = |index: usize, id: &ImageId| {
            id.number().ok_or_else(|| {
                let reason =
                    format!("detections entry {index}: image_id {id} is not a number; ids are whole numbers");
                EvalError::invalid(path, reason)
            })
        };
        let raw = raw::read_results(path)?.into_iter().enumerate();
        raw.map(|(index, raw)| detection(path, index, &raw, number(index, &raw.image_id)?)).collect()
    }

    /// As [`Detections::read`], on images of `gt`: an `image_id` may also be a text that `gt` has as an id, or the file
    /// name of one of its images without folders and extension, as `val` writes it without annotations.
    ///
    /// # Errors
    /// As [`Detections::read`], and an image that `gt` does not have.
    pub fn read_for(path: impl AsRef<Path>, gt: &GroundTruth) -> Result<Self> {
        let path = path.as_ref();
        let by_stem = gt.images_by_stem();
        let number = |id: &ImageId| match id {
            ImageId::Name(name) => {
                gt.image_number(id).or_else(|| by_stem.get(name.as_str()).copied().flatten())
            }
            ImageId::Number(_) => gt.image_number(id),
        };
        let raw = raw::read_results(path)?;
        let unknown: Vec<&ImageId> =
            raw.iter().map(|raw| &raw.image_id).filter(|id| number(id).is_none()).collect();
        if !unknown.is_empty() {
            let reason = format!(
                "image_id {} is not in the images of {}; use the annotation file of the images that the detections \
                 belong to",
                list_names(unknown),
                gt.source().display()
            );
            return Err(EvalError::invalid(path, reason));
        }
        let numbered =
            raw.iter().enumerate().filter_map(|(index, raw)| Some((index, raw, number(&raw.image_id)?)));
        numbered.map(|(index, raw, image)| detection(path, index, raw, image)).collect()
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

impl FromIterator<Detection> for Detections {
    fn from_iter<I: IntoIterator<Item = Detection>>(detections: I) -> Self {
        Self(detections.into_iter().collect())
    }
}

fn detection(path: &Path, index: usize, raw: &raw::RawResult, image_id: i64) -> Result<Detection> {
    let fail = |reason: String| Err(EvalError::invalid(path, format!("detections entry {index}: {reason}")));
    let expected = "expected [left, top, width, height]";
    let Some(bbox) = raw.bbox.ltwh() else {
        return fail(format!("a bbox of {} numbers; {expected}", raw.bbox.len));
    };
    if bbox.w < 0.0 || bbox.h < 0.0 {
        return fail(format!("bbox has a negative size ({} × {}); {expected}", bbox.w, bbox.h));
    }
    Ok(Detection { image_id, category_id: raw.category_id, bbox, score: raw.score })
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
