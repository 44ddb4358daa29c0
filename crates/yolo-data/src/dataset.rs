//! A detection data set: images, their labels, and the class names.

use std::path::PathBuf;

use crate::Cxcywh;

/// One object of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Class index, below the number of classes.
    pub class: u32,
    /// The box, as a fraction of the image's width and height.
    pub bbox_norm: Cxcywh,
    /// The outline where the label file gives one, as fractions of width and height; else empty.
    pub polygon_norm: Vec<[f32; 2]>,
}

/// One image of a data set with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Where the image is.
    pub image: PathBuf,
    /// Width in pixels, after EXIF orientation.
    pub width: u32,
    /// Height in pixels, after EXIF orientation.
    pub height: u32,
    /// Its objects; empty for a background image.
    pub labels: Vec<Label>,
}
