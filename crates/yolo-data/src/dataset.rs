//! A detection data set: images, their labels, and the class names.
//!
//! [`DatasetConfig::read`] reads the YAML file; [`Dataset::open`] lists one split, checks every image and parses every
//! label. Nothing is written to the folders of the data set.

pub mod cache;
pub mod check;
pub mod coco_classes;
pub(crate) mod coco_file;
mod coco_images;
pub mod coco_json;
pub mod config;
pub mod labels;
pub mod list;
mod probe;
pub mod scan;
pub mod statistics;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use yolo_eval::Cxcywh;

pub use coco_classes::image_id;
pub use config::{DatasetConfig, Split};
pub use scan::{Dataset, ScanOptions, ScanReport};
pub use statistics::Statistics;

/// One object of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Class index, below the number of classes.
    pub class: u32,
    /// The box, as a fraction of the image's width and height.
    pub bbox_norm: Cxcywh,
    /// The outline as fractions of width and height; empty if the label file gives a box.
    pub polygon_norm: Vec<[f32; 2]>,
}

/// One image of a data set with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Path of the image file.
    pub image: PathBuf,
    /// Width in pixels, after EXIF orientation.
    pub width: u32,
    /// Height in pixels, after EXIF orientation.
    pub height: u32,
    /// Its objects; empty for a background image.
    pub labels: Vec<Label>,
}

/// What a [`Problem`] did to the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// The image is used.
    Warning,
    /// The image was left out of the data set.
    Rejected,
}

/// A problem in the files of a data set that does not end the scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file at fault: an image, a label file, a list or an annotation file.
    pub path: PathBuf,
    /// Line in that file, counted from 1, if one is known.
    pub line: Option<usize>,
    /// Whether the image is used in spite of the problem.
    pub severity: Severity,
    /// What is wrong (with the value), and what to do about it.
    pub reason: String,
}

impl Problem {
    /// A [`Severity::Warning`] on `path`.
    pub fn warning(path: &Path, line: Option<usize>, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, severity: Severity::Warning, reason: reason.into() }
    }

    /// A [`Severity::Rejected`] on `path`.
    pub fn rejected(path: &Path, line: Option<usize>, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, severity: Severity::Rejected, reason: reason.into() }
    }
}

impl Problem {
    /// The file, with the line if one is known.
    fn place(&self) -> String {
        let file = self.path.display();
        self.line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
    }

    /// The sentence for where it stands behind the word "warning" already.
    pub fn as_warning(&self) -> String {
        match self.severity {
            Severity::Warning => format!("{}: {}", self.place(), self.reason),
            Severity::Rejected => self.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.severity {
            Severity::Warning => "warning",
            Severity::Rejected => "image left out",
        };
        write!(f, "{}: {what}: {}", self.place(), self.reason)
    }
}
