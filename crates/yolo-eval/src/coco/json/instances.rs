//! An annotation file as it is written: entries whose references are not checked.

use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::{Category, raw};
use crate::coco::ImageId;
use crate::{EvalError, Ltwh, Result};

/// An annotation file ("instances JSON"). Keys that are not named here are skipped.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Instances {
    /// The images, in file order.
    #[serde(deserialize_with = "images")]
    pub images: Vec<ImageEntry>,
    /// The categories, in file order.
    #[serde(deserialize_with = "categories")]
    pub categories: Vec<Category>,
    /// The annotations, in file order.
    #[serde(deserialize_with = "annotations")]
    pub annotations: Vec<AnnotationEntry>,
}

/// An image of an annotation file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct ImageEntry {
    /// Its id.
    pub id: ImageId,
    /// Its file, possibly with folders; empty if the file does not state it.
    #[serde(default, deserialize_with = "raw::file_name")]
    pub file_name: String,
    #[serde(default)]
    width: Option<raw::Real>,
    #[serde(default)]
    height: Option<raw::Real>,
}

impl ImageEntry {
    /// Width and height in pixels, if the file states both.
    pub fn size_px(&self) -> Option<[f64; 2]> {
        let [width, height] = [self.width?.value, self.height?.value];
        (width > 0.0 && height > 0.0).then_some([width, height])
    }
}

/// An annotation of an annotation file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct AnnotationEntry {
    /// Its id, if it has one.
    #[serde(default)]
    pub id: Option<ImageId>,
    /// Id of its image.
    pub image_id: ImageId,
    /// Id of its category.
    #[serde(deserialize_with = "raw::category_id")]
    pub category_id: i64,
    #[serde(default)]
    bbox: Option<raw::RawBox>,
    #[serde(default)]
    area: Option<raw::Real>,
    /// Whether it covers a group of objects.
    #[serde(default, deserialize_with = "raw::flag")]
    pub iscrowd: bool,
}

impl AnnotationEntry {
    /// The box in pixels of the image.
    ///
    /// # Errors
    /// How many numbers there are instead of four.
    pub fn bbox(&self) -> std::result::Result<Ltwh, String> {
        let found = match self.bbox {
            None => "no bbox".to_owned(),
            Some(bbox) => match bbox.ltwh() {
                Some(bbox) => return Ok(bbox),
                None => format!("a bbox of {} numbers", bbox.len),
            },
        };
        Err(format!("{found}; expected [left, top, width, height]"))
    }

    /// The area in square pixels, if the file states it.
    pub fn area(&self) -> Option<f64> {
        self.area.map(|area| area.value)
    }

    /// Whether its box or its area is written as text.
    pub fn has_text_numbers(&self) -> bool {
        self.bbox.is_some_and(|bbox| bbox.is_text) || self.area.is_some_and(|area| area.is_text)
    }

    /// What messages call it; `position` is its place in the list.
    pub fn name(&self, position: usize) -> String {
        match &self.id {
            Some(id) => format!("annotation id {id}"),
            None => format!("annotations entry {position}"),
        }
    }
}

impl Instances {
    /// Reads an annotation file.
    ///
    /// # Errors
    /// A file that cannot be read or is not such JSON, with the line and the entry of the list (from 0).
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| EvalError::io(path, source))?;
        Self::parse(path, &bytes)
    }

    /// As [`Instances::read`], from the file's content.
    ///
    /// # Errors
    /// As [`Instances::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let expected = "expected an object with images, annotations and categories; is this a results file?";
        raw::parse(path, bytes, b'{', expected)
    }
}

fn images<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<ImageEntry>, D::Error> {
    raw::entries(deserializer, "images")
}

fn annotations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<AnnotationEntry>, D::Error> {
    raw::entries(deserializer, "annotations")
}

fn categories<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Category>, D::Error> {
    #[derive(Deserialize)]
    struct RawCategory {
        #[serde(deserialize_with = "raw::own_id")]
        id: i64,
        /// A text, or a number that stands for itself. Without one, no class has its name; figures need none.
        name: Option<ImageId>,
    }
    let entries: Vec<RawCategory> = raw::entries(deserializer, "categories")?;
    Ok(entries
        .into_iter()
        .map(|raw| Category { id: raw.id, name: raw.name.map(|name| name.to_string()).unwrap_or_default() })
        .collect())
}
