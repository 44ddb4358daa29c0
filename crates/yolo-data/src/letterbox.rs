//! From an original image to network input and back: the loading size, the letterbox, and the boxes.
//!
//! Three frames appear here, and names say which one they mean: `_orig` (pixels of the image file, upright),
//! `_px` (pixels of the letterboxed network input) and `_norm` (fractions of the network input). Box
//! arithmetic is done in `f32` and in the order of the reference, because its rounding reaches the metrics.

use std::borrow::Cow;

use yolo_eval::{Convention, Cxcywh, Xyxy};

use crate::dataset::{Item, Label};
use crate::image::RgbImage;
use crate::resize::{Interpolation, resize};

/// Grey of the border, on every channel.
pub const BORDER: u8 = 114;

/// Boxes end this far inside the network input before they are normalised.
pub(crate) const CLIP_MARGIN: f64 = 1e-3;

/// What the letterbox may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterboxOptions {
    /// Keep only the border that makes both sides a multiple of `stride`: for detection on one image.
    pub auto: bool,
    /// Enlarge images that are smaller than the target; validation does not.
    pub scale_up: bool,
    /// The network's largest stride, at least 1; only used with `auto`.
    pub stride: u32,
}

impl LetterboxOptions {
    /// For validation: the whole target is filled, and nothing is enlarged.
    pub const VALIDATION: Self = Self { auto: false, scale_up: false, stride: 32 };
    /// For detection: the smallest rectangle of whole strides.
    pub const DETECTION: Self = Self { auto: true, scale_up: true, stride: 32 };
}

/// Size `(width, height)` at which an image is loaded: its longer side becomes `image_size`, fractions are
/// truncated (as in YOLOv5 up to v7.0), and no side is below 1.
pub fn load_size(size: (u32, u32), image_size: u32) -> (u32, u32) {
    load_size_by(size, image_size, Convention::Yolov5)
}

/// [`load_size`] by the rules of `convention`: [`Convention::Ultralytics`] rounds fractions up, and no side is above
/// `image_size`.
pub fn load_size_by((width, height): (u32, u32), image_size: u32, convention: Convention) -> (u32, u32) {
    let longest = width.max(height);
    if longest == image_size || longest == 0 {
        return (width, height);
    }
    let ratio = f64::from(image_size) / f64::from(longest);
    let scaled = |side: u32| match convention {
        Convention::Yolov5 => ((f64::from(side) * ratio) as u32).max(1),
        Convention::Ultralytics => ((f64::from(side) * ratio).ceil() as u32).clamp(1, image_size),
    };
    (scaled(width), scaled(height))
}

/// Where an image lies in its letterbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// `(height, width)` of the letterbox in pixels.
    pub network: (u32, u32),
    /// `(width, height)` that the image is resized to.
    pub inner: (u32, u32),
    /// Left and top border in whole pixels.
    pub offset: (u32, u32),
    /// Scale of the image, the same on both axes.
    pub ratio: f64,
    /// Nominal border `(x, y)`: half of the free pixels, so it ends in `.5` if their number is odd. Boxes are moved by
    /// it, although the pixels are then half a pixel off.
    pub pad: (f64, f64),
}

impl Placement {
    /// Places an image of `size` = `(width, height)` in a `target` of `(height, width)`; all sides at least 1.
    pub fn new(size: (u32, u32), target: (u32, u32), options: LetterboxOptions) -> Self {
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let (target_h, target_w) = (f64::from(target.0), f64::from(target.1));
        let mut ratio = (target_h / height).min(target_w / width);
        if !options.scale_up {
            ratio = ratio.min(1.0);
        }
        let inner_w = (width * ratio).round_ties_even().max(1.0);
        let inner_h = (height * ratio).round_ties_even().max(1.0);
        let mut free = (target_w - inner_w, target_h - inner_h);
        if options.auto {
            let stride = f64::from(options.stride.max(1));
            free = (free.0.rem_euclid(stride), free.1.rem_euclid(stride));
        }
        let pad = (free.0 / 2.0, free.1 / 2.0);
        // An odd pixel is added on the right and at the bottom.
        let before = |pad: f64| (pad - 0.1).round_ties_even().max(0.0) as u32;
        let after = |pad: f64| (pad + 0.1).round_ties_even().max(0.0) as u32;
        let inner = (inner_w as u32, inner_h as u32);
        let network = (inner.1 + before(pad.1) + after(pad.1), inner.0 + before(pad.0) + after(pad.0));
        Self { network, inner, offset: (before(pad.0), before(pad.1)), ratio, pad }
    }
}

/// Letterboxes `image` into a `target` of `(height, width)` pixels: resized (`INTER_LINEAR`) to fit, centred,
/// with a border of [`BORDER`]. Also returns the ratio and the nominal pad, as in [`Placement`].
///
/// # Panics
/// If a side of `image` or `target` is 0.
pub fn letterbox(
    image: &RgbImage,
    target: (u32, u32),
    options: LetterboxOptions,
) -> (RgbImage, f64, (f64, f64)) {
    assert!(target.0 > 0 && target.1 > 0, "a letterbox of {target:?} pixels");
    let placement = Placement::new((image.width, image.height), target, options);
    let inner = resized(image, placement.inner);
    let (height, width) = placement.network;
    let mut out = RgbImage::filled(width, height, [BORDER; 3]);
    let (left, top) = (placement.offset.0 as usize * 3, placement.offset.1 as usize);
    let rows = inner.pixels.chunks_exact(inner.width as usize * 3);
    for (out_row, row) in out.pixels.chunks_exact_mut(width as usize * 3).skip(top).zip(rows) {
        out_row[left..left + row.len()].copy_from_slice(row);
    }
    (out, placement.ratio, placement.pad)
}

/// [`letterbox`] straight into one image of a batch: `out` is `[3, height, width]`, planes in the order R, G,
/// B, with the size of `placement.network`. Every byte is written.
///
/// # Panics
/// If `out` has another length, or a side of `image` is 0.
pub fn letterbox_into(image: &RgbImage, placement: &Placement, out: &mut [u8]) {
    let (height, width) = (placement.network.0 as usize, placement.network.1 as usize);
    assert_eq!(out.len(), 3 * height * width, "a slot for {height}×{width} pixels");
    let inner = resized(image, placement.inner);
    let inner_stride = inner.width as usize * 3;
    let (left, top) = (placement.offset.0 as usize, placement.offset.1 as usize);
    let right = left + inner.width as usize;
    let bottom = top + inner.height as usize;
    let (red, rest) = out.split_at_mut(height * width);
    let (green, blue) = rest.split_at_mut(height * width);
    for plane in [&mut *red, &mut *green, &mut *blue] {
        plane[..top * width].fill(BORDER);
        plane[bottom * width..].fill(BORDER);
    }
    for (y, row) in (top..bottom).zip(inner.pixels.chunks_exact(inner_stride)) {
        let line = y * width..(y + 1) * width;
        let (red, green, blue) = (&mut red[line.clone()], &mut green[line.clone()], &mut blue[line.clone()]);
        for plane in [&mut *red, &mut *green, &mut *blue] {
            plane[..left].fill(BORDER);
            plane[right..].fill(BORDER);
        }
        split_channels(row, &mut red[left..right], &mut green[left..right], &mut blue[left..right]);
    }
}

fn resized(image: &RgbImage, (width, height): (u32, u32)) -> Cow<'_, RgbImage> {
    if (image.width, image.height) == (width, height) {
        Cow::Borrowed(image)
    } else {
        Cow::Owned(resize(image, width, height, Interpolation::Linear))
    }
}

/// Rows of interleaved pixels as three planes of their length.
pub(crate) fn split_channels(row: &[u8], red: &mut [u8], green: &mut [u8], blue: &mut [u8]) {
    let pixels = row.as_chunks::<3>().0;
    for (((pixel, r), g), b) in pixels.iter().zip(red).zip(green).zip(blue) {
        [*r, *g, *b] = *pixel;
    }
}

/// How one image lies in its network input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Whose rules put boxes back.
    pub convention: Convention,
    /// `(width, height)` of the image file, upright.
    pub original: (u32, u32),
    /// `(width, height)` after loading; the size of the original in detection.
    pub loaded: (u32, u32),
    /// `(height, width)` of the network input.
    pub network: (u32, u32),
    /// Size in the network input per loaded pixel (1 in validation).
    pub ratio: f64,
    /// Border `(x, y)` in network pixels by which boxes are moved: YOLOv5's nominal one may end in `.5`, the other family's is
    /// that of the pixels.
    pub pad: (f64, f64),
    /// The divisors from network pixels to original pixels, horizontal and vertical. YOLOv5 takes `h / h0` on **both** axes: if
    /// loading truncated a fraction, the two axes differ by up to a pixel, which it ignores.
    pub gain: [f64; 2],
}

impl Geometry {
    /// Geometry of validation: load at `image_size`, then letterbox to `network` = `(height, width)` without
    /// enlarging. All sides at least 1.
    pub fn validation(
        original: (u32, u32),
        image_size: u32,
        network: (u32, u32),
        convention: Convention,
    ) -> Self {
        let loaded = load_size_by(original, image_size, convention);
        let placement = Placement::new(loaded, network, LetterboxOptions::VALIDATION);
        Self::new(original, loaded, &placement, convention)
    }

    /// Geometry of an image that was loaded at `loaded` = `(width, height)` and placed by `placement`.
    pub fn new(
        original: (u32, u32),
        loaded: (u32, u32),
        placement: &Placement,
        convention: Convention,
    ) -> Self {
        let vertical = f64::from(loaded.1) / f64::from(original.1) * placement.ratio;
        let horizontal = f64::from(loaded.0) / f64::from(original.0) * placement.ratio;
        let (left, top) = placement.offset;
        let (gain, pad) = match convention {
            Convention::Yolov5 => ([vertical; 2], placement.pad),
            Convention::Ultralytics => ([horizontal, vertical], (f64::from(left), f64::from(top))),
        };
        Self { convention, original, loaded, network: placement.network, ratio: placement.ratio, pad, gain }
    }

    /// Geometry of detection, derived from the two sizes alone: `network` is `(height, width)`. By
    /// [`Convention::Ultralytics`] the gain is that of the whole pixels that the image was resized to.
    pub fn detection(original: (u32, u32), network: (u32, u32), convention: Convention) -> Self {
        let (w0, h0) = (f64::from(original.0), f64::from(original.1));
        let (h1, w1) = (f64::from(network.0), f64::from(network.1));
        let ratio = (h1 / h0).min(w1 / w0);
        let (gain, pad) = match convention {
            Convention::Yolov5 => ([ratio; 2], ((w1 - w0 * ratio) / 2.0, (h1 - h0 * ratio) / 2.0)),
            Convention::Ultralytics => {
                let inner = |side: f64| (side * ratio).round_ties_even().max(1.0);
                let pad = |free: f64| (free / 2.0 - 0.1).round_ties_even();
                ([inner(w0) / w0, inner(h0) / h0], (pad(w1 - inner(w0)), pad(h1 - inner(h0))))
            }
        };
        Self { convention, original, loaded: original, network, ratio, pad, gain }
    }

    /// A box in network pixels as one in original pixels, clipped to the image.
    pub fn to_original(&self, bbox_px: Xyxy) -> Xyxy {
        let (pad_x, pad_y) = (self.pad.0 as f32, self.pad.1 as f32);
        let [gain_x, gain_y] = self.gain.map(|gain| gain as f32);
        Xyxy {
            x1: (bbox_px.x1 - pad_x) / gain_x,
            y1: (bbox_px.y1 - pad_y) / gain_y,
            x2: (bbox_px.x2 - pad_x) / gain_x,
            y2: (bbox_px.y2 - pad_y) / gain_y,
        }
        .clip(self.original.0 as f32, self.original.1 as f32)
    }

    /// A box in original pixels as one in network pixels: the inverse of [`Geometry::to_original`] within
    /// rounding, for boxes inside the image.
    pub fn to_network(&self, bbox_orig: Xyxy) -> Xyxy {
        let (pad_x, pad_y) = (self.pad.0 as f32, self.pad.1 as f32);
        let [gain_x, gain_y] = self.gain.map(|gain| gain as f32);
        Xyxy {
            x1: bbox_orig.x1 * gain_x + pad_x,
            y1: bbox_orig.y1 * gain_y + pad_y,
            x2: bbox_orig.x2 * gain_x + pad_x,
            y2: bbox_orig.y2 * gain_y + pad_y,
        }
    }

    /// The boxes of `labels` as fractions of the network input, by YOLOv5 clipped just inside it; in their order.
    ///
    /// Labels scale with the loaded size on each axis, unlike [`Geometry::to_original`].
    pub fn labels_to_network(&self, labels: &[Label]) -> Vec<Cxcywh> {
        labels.iter().map(|label| self.label_to_network(label.bbox_norm)).collect()
    }

    fn label_to_network(&self, bbox: Cxcywh) -> Cxcywh {
        let width = (self.ratio * f64::from(self.loaded.0)) as f32;
        let height = (self.ratio * f64::from(self.loaded.1)) as f32;
        let (pad_x, pad_y) = (self.pad.0 as f32, self.pad.1 as f32);
        let (network_h, network_w) = (f64::from(self.network.0), f64::from(self.network.1));
        let corners = Xyxy {
            x1: width * (bbox.cx - bbox.w / 2.0) + pad_x,
            y1: height * (bbox.cy - bbox.h / 2.0) + pad_y,
            x2: width * (bbox.cx + bbox.w / 2.0) + pad_x,
            y2: height * (bbox.cy + bbox.h / 2.0) + pad_y,
        };
        let corners = match self.convention {
            Convention::Yolov5 => {
                corners.clip((network_w - CLIP_MARGIN) as f32, (network_h - CLIP_MARGIN) as f32)
            }
            Convention::Ultralytics => corners,
        };
        let centred = Cxcywh::from(corners);
        let (network_w, network_h) = (network_w as f32, network_h as f32);
        Cxcywh {
            cx: centred.cx / network_w,
            cy: centred.cy / network_h,
            w: centred.w / network_w,
            h: centred.h / network_h,
        }
    }

    /// Class and box of every label of `item`, in the frame in which the convention compares detections with them: YOLOv5's
    /// are original pixels, mapped into the network input and back, which are not the labels themselves; the other
    /// family's are pixels of the network input.
    pub fn compared_labels(&self, item: &Item) -> Vec<(u32, Xyxy)> {
        let (network_h, network_w) = (self.network.0 as f32, self.network.1 as f32);
        let compared = |label: &Label| {
            let norm = self.label_to_network(label.bbox_norm);
            let px = Xyxy::from(Cxcywh {
                cx: norm.cx * network_w,
                cy: norm.cy * network_h,
                w: norm.w * network_w,
                h: norm.h * network_h,
            });
            (label.class, self.compared(px))
        };
        item.labels.iter().map(compared).collect()
    }

    /// A box in network pixels in the frame of [`Geometry::compared_labels`]; by the other family's convention it is not
    /// clipped.
    pub fn compared(&self, bbox_px: Xyxy) -> Xyxy {
        match self.convention {
            Convention::Yolov5 => self.to_original(bbox_px),
            Convention::Ultralytics => bbox_px,
        }
    }
}
