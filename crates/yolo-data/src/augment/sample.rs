//! Makes one training sample: the order of the steps and of the random choices.

use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom;
use yolo_eval::Convention;

use super::copy_paste::{copy_paste, draw_copies};
use super::flip::{flip_left_right, flip_upside_down};
use super::hsv::{HsvGains, scale_hsv};
use super::mixup::{draw_ratio, mixup};
use super::mosaic::{Tile, draw_centre, draw_crop, mosaic4, mosaic9};
use super::objects::Frame;
use super::perspective::{WarpParams, random_perspective};
use super::{Augmentation, LabelledImage, chance};
use crate::Result;
use crate::dataset::Item;
use crate::image::RgbImage;
use crate::letterbox::{LetterboxOptions, letterbox};

/// An image as training loads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The image, its longer side as long as the network input.
    pub image: RgbImage,
    /// Problems of its file; every sentence begins with the file.
    pub warnings: Vec<String>,
}

/// A finished sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmented {
    /// The image at the size of the network input, with the objects that are left.
    pub sample: LabelledImage,
    /// Problems of the files it is made of.
    pub warnings: Vec<String>,
}

/// Memory that is reused from sample to sample.
#[derive(Debug, Default)]
pub struct Scratch {
    canvas: Vec<u8>,
    output: Vec<u8>,
}

/// What samples are made of.
pub struct Recipe<'a> {
    /// The data set.
    pub items: &'a [Item],
    /// Indices into `items` that the other images of a mosaic are drawn from, each equally likely; not empty.
    pub partners: &'a [usize],
    /// How much to augment.
    pub augmentation: &'a Augmentation,
    /// Longer side of a loaded image, and the sides of a mosaic's result, in pixels.
    pub image_size: u32,
    /// `(height, width)` of the network input; `image_size` square if there may be mosaics.
    pub network: (u32, u32),
    /// Whether mosaics are allowed; they are not in rectangular batches.
    pub mosaics: bool,
    /// Loads the image of an item.
    pub load: &'a dyn Fn(usize) -> Result<Arc<Loaded>>,
}

impl Scratch {
    /// Takes back the memory of a sample that is no longer needed.
    pub fn recycle(&mut self, sample: LabelledImage) {
        self.output = sample.image.pixels;
    }
}

impl Recipe<'_> {
    /// Makes the sample of `items[item_idx]`. The other images of a mosaic that cannot be read stay grey, with a
    /// warning.
    ///
    /// # Errors
    /// `items[item_idx]` cannot be loaded.
    pub fn make(&self, item_idx: usize, rng: &mut impl Rng, scratch: &mut Scratch) -> Result<Augmented> {
        let main = (self.load)(item_idx)?;
        let load = |idx: usize| if idx == item_idx { Ok(Arc::clone(&main)) } else { (self.load)(idx) };
        let mut warnings = Vec::new();
        let mosaic = chance(self.augmentation.mosaic, rng) && self.mosaics;
        let mut sample = if mosaic {
            self.mosaic(item_idx, &load, rng, scratch, &mut warnings)
        } else {
            warnings.extend(main.warnings.iter().cloned());
            self.single(item_idx, &main.image, rng, scratch)
        };
        let may_mix = mosaic || self.augmentation.convention == Convention::Ultralytics;
        if may_mix && chance(self.augmentation.mixup, rng) {
            let second = self.partner(rng);
            if let Some(other) = self.second(second, &load, rng, scratch, &mut warnings) {
                mixup(&mut sample, other, draw_ratio(rng));
            }
        }
        let gains = HsvGains::draw(self.augmentation, rng);
        if [self.augmentation.hsv_h, self.augmentation.hsv_s, self.augmentation.hsv_v] != [0.0; 3] {
            scale_hsv(&mut sample.image, gains);
        }
        if chance(self.augmentation.flipud, rng) {
            flip_upside_down(&mut sample);
        }
        if chance(self.augmentation.fliplr, rng) {
            flip_left_right(&mut sample);
        }
        Ok(Augmented { sample, warnings })
    }

    /// The sample that is mixed into another: a mosaic around `items[item_idx]`, or by Ultralytics also that item
    /// alone. `None`, with a warning, if it alone cannot be read.
    fn second(
        &self,
        item_idx: usize,
        load: &dyn Fn(usize) -> Result<Arc<Loaded>>,
        rng: &mut impl Rng,
        scratch: &mut Scratch,
        warnings: &mut Vec<String>,
    ) -> Option<LabelledImage> {
        let is_mosaic = match self.augmentation.convention {
            Convention::Yolov5 => true,
            Convention::Ultralytics => chance(self.augmentation.mosaic, rng) && self.mosaics,
        };
        if is_mosaic {
            return Some(self.mosaic(item_idx, load, rng, scratch, warnings));
        }
        match load(item_idx) {
            Ok(loaded) => {
                warnings.extend(loaded.warnings.iter().cloned());
                Some(self.single(item_idx, &loaded.image, rng, scratch))
            }
            Err(e) => {
                warnings.push(format!("{e}; it is not mixed into another image"));
                None
            }
        }
    }

    fn partner(&self, rng: &mut impl Rng) -> usize {
        self.partners[rng.random_range(0..self.partners.len())]
    }

    /// A mosaic around `items[first]`, with copies, warped to the size of the network input.
    fn mosaic(
        &self,
        first: usize,
        load: &dyn Fn(usize) -> Result<Arc<Loaded>>,
        rng: &mut impl Rng,
        scratch: &mut Scratch,
        warnings: &mut Vec<String>,
    ) -> LabelledImage {
        let nine = chance(self.augmentation.mosaic9, rng);
        let mut indices = vec![first];
        indices.extend((1..if nine { 9 } else { 4 }).map(|_| self.partner(rng)));
        indices.shuffle(rng);
        let mut fetch = |&idx: &usize| match load(idx) {
            Ok(loaded) => {
                warnings.extend(loaded.warnings.iter().cloned());
                Some(loaded)
            }
            Err(e) => {
                warnings.push(format!("{e}; its tile of the mosaic stays grey"));
                None
            }
        };
        let images: Vec<Option<Arc<Loaded>>> = indices.iter().map(&mut fetch).collect();
        let tile = |i: usize| {
            let image = &images[i].as_ref()?.image;
            Some(Tile { image, labels: &self.items[indices[i]].labels })
        };
        let (size, memory) = (self.image_size, std::mem::take(&mut scratch.canvas));
        let mut canvas = if nine {
            mosaic9(&std::array::from_fn(tile), size, draw_crop(size, rng), memory)
        } else {
            mosaic4(&std::array::from_fn(tile), size, draw_centre(size, rng), memory)
        };
        if self.augmentation.copy_paste > 0.0 {
            let chosen = draw_copies(&canvas.objects, self.augmentation.copy_paste, rng);
            copy_paste(&mut canvas, &chosen);
        }
        self.warp(canvas, (size, size), rng, scratch)
    }

    /// `items[item_idx]` alone, letterboxed to the network input and warped in place; by Ultralytics without the
    /// letterbox, its centre in the centre of the input.
    fn single(
        &self,
        item_idx: usize,
        image: &RgbImage,
        rng: &mut impl Rng,
        scratch: &mut Scratch,
    ) -> LabelledImage {
        let (height, width) = self.network;
        let place =
            |frame: Frame| self.items[item_idx].labels.iter().map(|label| frame.place(label)).collect();
        if self.augmentation.convention == Convention::Ultralytics {
            let size = (image.width as f32, image.height as f32);
            let objects = place(Frame { width: size.0, height: size.1, left: 0.0, top: 0.0 });
            return self.warp(LabelledImage { image: image.clone(), objects }, (width, height), rng, scratch);
        }
        let options = LetterboxOptions { scale_up: true, ..LetterboxOptions::VALIDATION };
        let (boxed, ratio, pad) = letterbox(image, self.network, options);
        let frame = Frame {
            width: (ratio * f64::from(image.width)) as f32,
            height: (ratio * f64::from(image.height)) as f32,
            left: pad.0 as f32,
            top: pad.1 as f32,
        };
        let objects = place(frame);
        self.warp(LabelledImage { image: boxed, objects }, (width, height), rng, scratch)
    }

    fn warp(
        &self,
        sample: LabelledImage,
        size: (u32, u32),
        rng: &mut impl Rng,
        scratch: &mut Scratch,
    ) -> LabelledImage {
        let params = WarpParams::draw(self.augmentation, rng);
        let memory = std::mem::take(&mut scratch.output);
        let (warped, memory) = random_perspective(sample, &params, size, memory);
        if memory.capacity() > scratch.canvas.capacity() {
            scratch.canvas = memory;
        }
        warped
    }
}
