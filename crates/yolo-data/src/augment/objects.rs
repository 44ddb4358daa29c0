//! An image in memory with its objects, in pixels.

use yolo_eval::Xyxy;

use crate::dataset::Label;
use crate::image::RgbImage;

/// One object of an image, in the pixels of that image.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Class index.
    pub class: u32,
    /// The box.
    pub bbox_px: Xyxy,
    /// The outline; empty if there is none. It may extend beyond the image.
    pub polygon_px: Vec<[f32; 2]>,
}

/// An image with its objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelledImage {
    /// The image.
    pub image: RgbImage,
    /// Its objects.
    pub objects: Vec<Object>,
}

/// The position of an image in a larger one, for its normalised labels: the image is `width × height` pixels, and its
/// left top corner is at `(left, top)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Width of the image.
    pub width: f32,
    /// Height of the image.
    pub height: f32,
    /// Left edge of the image; may be negative.
    pub left: f32,
    /// Top edge of the image; may be negative.
    pub top: f32,
}

impl Frame {
    /// `label` in pixels, not clipped.
    pub fn place(&self, label: &Label) -> Object {
        let b = label.bbox_norm;
        let bbox_px = Xyxy {
            x1: self.width * (b.cx - b.w / 2.0) + self.left,
            y1: self.height * (b.cy - b.h / 2.0) + self.top,
            x2: self.width * (b.cx + b.w / 2.0) + self.left,
            y2: self.height * (b.cy + b.h / 2.0) + self.top,
        };
        let point = |&[x, y]: &[f32; 2]| [self.width * x + self.left, self.height * y + self.top];
        Object { class: label.class, bbox_px, polygon_px: label.polygon_norm.iter().map(point).collect() }
    }
}

impl Object {
    /// The object with its box and the points of its outline limited to `[0, width] × [0, height]`.
    pub fn clip(mut self, width: f32, height: f32) -> Self {
        self.bbox_px = self.bbox_px.clip(width, height);
        for [x, y] in &mut self.polygon_px {
            *x = x.clamp(0.0, width);
            *y = y.clamp(0.0, height);
        }
        self
    }
}
