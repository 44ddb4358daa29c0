//! Augmentation of training images: mosaics, warps, colour, flips, mixing, and pasted copies.
//!
//! Every step is a function of images, objects and *drawn parameters*. A separate function draws the parameters, so that
//! a test can set them. Pixel arithmetic is that of OpenCV 4 (checked against 4.10): bilinear
//! warps in fixed point with 5 fractional bits, and 8-bit HSV.
//!
//! # Order of random choices
//! All choices of a sample come from one generator, in this order; a probability of 0 still uses its draw:
//!
//! 1. mosaic or single image (not with rectangular batches);
//! 2. a mosaic: four or nine tiles; the other images; order of tiles; centre or crop ([`mosaic`]); objects to copy
//!    ([`copy_paste`], only if its fraction is above 0); warp ([`WarpParams::draw`]);
//! 3. after a mosaic: mix or not; to mix, the image of the second mosaic, all of 2 once more, and the ratio ([`mixup`]);
//! 4. without a mosaic: warp;
//! 5. colour ([`HsvGains::draw`]), upside down or not, mirrored or not.
//!
//! [`Convention::Ultralytics`] differs in 3, which is drawn for every sample and whose second image is a mosaic or not by a draw of
//! its own; in 4, which has no letterbox; and in how the hue changes.

pub mod copy_paste;
pub mod flip;
pub mod hsv;
pub mod mixup;
pub mod mosaic;
pub mod objects;
pub mod perspective;
pub mod polygon;
pub mod sample;
pub mod warp;

use rand::Rng;
use serde::{Deserialize, Serialize};
use yolo_eval::Convention;

pub use hsv::HsvGains;
pub use objects::{LabelledImage, Object};
pub use perspective::WarpParams;

/// How much to augment. Probabilities are in `[0, 1]`; the names are those of YOLOv5's hyper-parameter files.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Whose steps are followed.
    pub convention: Convention,
    /// Largest relative change of the hue.
    pub hsv_h: f32,
    /// Largest relative change of the saturation.
    pub hsv_s: f32,
    /// Largest relative change of the brightness.
    pub hsv_v: f32,
    /// Largest rotation in degrees, either way.
    pub degrees: f32,
    /// Largest shift as a fraction of the output's side, either way.
    pub translate: f32,
    /// Largest relative change of the size, below 1.
    pub scale: f32,
    /// Largest shear in degrees, either way and on both axes.
    pub shear: f32,
    /// Largest perspective term, per pixel; sensible up to 0.001.
    pub perspective: f32,
    /// Probability that an image is turned upside down.
    pub flipud: f32,
    /// Probability that an image is mirrored.
    pub fliplr: f32,
    /// Probability that an image becomes part of a mosaic.
    pub mosaic: f32,
    /// Fraction of the mosaics that have nine tiles in place of four.
    pub mosaic9: f32,
    /// Probability that a mosaic, or by Ultralytics any sample, is blended with another one.
    pub mixup: f32,
    /// Fraction of the outlined objects of a mosaic that are copied to the other side.
    pub copy_paste: f32,
}

impl Augmentation {
    /// No augmentation at all: an image stays as it is loaded.
    pub const fn none() -> Self {
        Self {
            convention: Convention::Yolov5,
            hsv_h: 0.0,
            hsv_s: 0.0,
            hsv_v: 0.0,
            degrees: 0.0,
            translate: 0.0,
            scale: 0.0,
            shear: 0.0,
            perspective: 0.0,
            flipud: 0.0,
            fliplr: 0.0,
            mosaic: 0.0,
            mosaic9: 0.0,
            mixup: 0.0,
            copy_paste: 0.0,
        }
    }

    /// The first value out of range, as a sentence that names its key; `None` if there is none.
    pub fn problem(&self) -> Option<String> {
        let fractions = [
            ("flipud", self.flipud),
            ("fliplr", self.fliplr),
            ("mosaic", self.mosaic),
            ("mosaic9", self.mosaic9),
            ("mixup", self.mixup),
            ("copy_paste", self.copy_paste),
            ("hsv_h", self.hsv_h),
            ("hsv_s", self.hsv_s),
            ("hsv_v", self.hsv_v),
            ("translate", self.translate),
        ];
        for (key, value) in fractions {
            if !(0.0..=1.0).contains(&value) {
                return Some(format!("{key} is {value}, but must be from 0 to 1"));
            }
        }
        // At 1 an image could shrink to nothing.
        if !(0.0..1.0).contains(&self.scale) {
            return Some(format!("scale is {}, but must be at least 0 and below 1", self.scale));
        }
        let limits = [
            ("degrees", self.degrees, 180.0),
            ("shear", self.shear, 89.0),
            ("perspective", self.perspective, 0.01),
        ];
        for (key, value, limit) in limits {
            if !(0.0..=limit).contains(&value) {
                return Some(format!("{key} is {value}, but must be from 0 to {limit}"));
            }
        }
        None
    }
}

impl Default for Augmentation {
    fn default() -> Self {
        Self::none()
    }
}

/// True with the given probability. Uses one draw, whatever the probability.
fn chance(probability: f32, rng: &mut impl Rng) -> bool {
    rng.random::<f32>() < probability
}

/// Uniform in `[-limit, limit)`.
fn symmetric(limit: f32, rng: &mut impl Rng) -> f64 {
    (rng.random::<f64>() * 2.0 - 1.0) * f64::from(limit)
}

#[cfg(test)]
mod tests;
