//! The three usual box formats as types, so that one cannot be mistaken for another.
//!
//! A type does not say which frame its numbers are in (fractions of the image, pixels of the network's input, pixels of
//! the original image); the names of variables and fields do.

mod overlap;

pub use overlap::{ciou, diou, giou, iou};

/// A box by its corners: left, top, right, bottom.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Xyxy {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

/// A box by its centre and its size: YOLO's label format.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cxcywh {
    /// Horizontal centre.
    pub cx: f32,
    /// Vertical centre.
    pub cy: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

/// A box by its top-left corner and its size: COCO's format, in `f64` as pycocotools computes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ltwh {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

impl Xyxy {
    /// A box from its corners.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// Width times height; negative sides are not clamped.
    pub fn area(self) -> f32 {
        (self.x2 - self.x1) * (self.y2 - self.y1)
    }

    /// Area of the overlap with `other`; 0 if the boxes do not overlap.
    pub fn intersection(self, other: Self) -> f32 {
        let w = (self.x2.min(other.x2) - self.x1.max(other.x1)).max(0.0);
        let h = (self.y2.min(other.y2) - self.y1.max(other.y1)).max(0.0);
        w * h
    }

    /// The box with `x` multiplied by `width` and `y` by `height`: from fractions of an image to its pixels.
    pub fn scaled(self, width: f32, height: f32) -> Self {
        Self { x1: self.x1 * width, y1: self.y1 * height, x2: self.x2 * width, y2: self.y2 * height }
    }

    /// The box with every edge limited to `[0, width] × [0, height]`.
    pub fn clip(self, width: f32, height: f32) -> Self {
        Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        }
    }
}

impl From<Cxcywh> for Xyxy {
    fn from(b: Cxcywh) -> Self {
        Self { x1: b.cx - b.w / 2.0, y1: b.cy - b.h / 2.0, x2: b.cx + b.w / 2.0, y2: b.cy + b.h / 2.0 }
    }
}

impl From<Xyxy> for Cxcywh {
    fn from(b: Xyxy) -> Self {
        Self { cx: (b.x1 + b.x2) / 2.0, cy: (b.y1 + b.y2) / 2.0, w: b.x2 - b.x1, h: b.y2 - b.y1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_and_centre_convert_both_ways() {
        let corners = Xyxy::new(2.0, 10.0, 8.0, 40.0);
        let centre = Cxcywh { cx: 5.0, cy: 25.0, w: 6.0, h: 30.0 };
        assert_eq!(Cxcywh::from(corners), centre);
        assert_eq!(Xyxy::from(centre), corners);
    }

    #[test]
    fn intersection_of_boxes_that_only_overlap_on_one_axis_is_zero() {
        let a = Xyxy::new(0.0, 0.0, 4.0, 2.0);
        assert_eq!(a.intersection(Xyxy::new(1.0, 5.0, 3.0, 9.0)), 0.0);
        assert_eq!(a.intersection(Xyxy::new(3.0, 1.0, 9.0, 9.0)), 1.0);
    }
}
