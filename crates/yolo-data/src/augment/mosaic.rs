//! Mosaics: four or nine images side by side on one grey canvas of twice the network's size.

use rand::Rng;

use super::objects::Frame;
use super::{LabelledImage, Object};
use crate::dataset::Label;
use crate::image::RgbImage;
use crate::letterbox::BORDER;

/// One image for a mosaic.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    /// The image, its longer side as long as the network input.
    pub image: &'a RgbImage,
    /// Its labels.
    pub labels: &'a [Label],
}

/// Draws the point where four tiles meet, x then y: whole pixels, each uniform in `[size / 2, 3 size / 2)`.
pub fn draw_centre(size: u32, rng: &mut impl Rng) -> (u32, u32) {
    let size = f64::from(size);
    let mut side = || (size / 2.0 + rng.random::<f64>() * size) as u32;
    (side(), side())
}

/// Draws the left top corner of the part of nine tiles that is kept, x then y: each uniform in `[0, size)`.
pub fn draw_crop(size: u32, rng: &mut impl Rng) -> (u32, u32) {
    let mut side = || (rng.random::<f64>() * f64::from(size)) as u32;
    (side(), side())
}

/// Puts four images around the point `centre` = `(x, y)` of a canvas of `2 size × 2 size` pixels: above left,
/// above right, below left, below right. Parts outside the canvas are cut off; a missing tile stays grey.
///
/// Boxes are clipped to the canvas and may lose all their area. `memory` is reused for the canvas.
pub fn mosaic4(
    tiles: &[Option<Tile<'_>>; 4],
    size: u32,
    centre: (u32, u32),
    memory: Vec<u8>,
) -> LabelledImage {
    let mut canvas = canvas(2 * size, memory);
    let (x, y) = (i64::from(centre.0), i64::from(centre.1));
    for (i, tile) in tiles.iter().enumerate() {
        let Some(tile) = tile else { continue };
        let (w, h) = (i64::from(tile.image.width), i64::from(tile.image.height));
        let left = if i % 2 == 0 { x - w } else { x };
        let top = if i < 2 { y - h } else { y };
        place(&mut canvas, tile, left, top);
    }
    canvas
}

/// Puts nine images onto a canvas of `3 size × 3 size` pixels and keeps the `2 size × 2 size` pixels that start at
/// `crop` = `(x, y)`.
///
/// The first has its left top corner at `(size, size)`; the others go clockwise around it, beginning above, each
/// touching the one before. A missing tile leaves a grey square. Boxes and `memory` are as in [`mosaic4`].
pub fn mosaic9(tiles: &[Option<Tile<'_>>; 9], size: u32, crop: (u32, u32), memory: Vec<u8>) -> LabelledImage {
    let mut canvas = canvas(2 * size, memory);
    let side = i64::from(size);
    let size_of = |tile: &Option<Tile<'_>>| {
        tile.as_ref().map_or((side, side), |t| (i64::from(t.image.width), i64::from(t.image.height)))
    };
    let (first_w, first_h) = size_of(&tiles[0]);
    let (mut last_w, mut last_h) = (first_w, first_h);
    for (i, tile) in tiles.iter().enumerate() {
        let (w, h) = size_of(tile);
        let (left, top) = match i {
            0 => (0, 0),
            1 => (0, -h),
            2 => (last_w, -h),
            3 => (first_w, 0),
            4 => (first_w, last_h),
            5 => (first_w - w, first_h),
            6 => (first_w - last_w - w, first_h),
            7 => (-w, first_h - h),
            _ => (-w, first_h - last_h - h),
        };
        (last_w, last_h) = (w, h);
        if let Some(tile) = tile {
            place(&mut canvas, tile, side + left - i64::from(crop.0), side + top - i64::from(crop.1));
        }
    }
    canvas
}

/// A grey square without objects.
fn canvas(side: u32, mut memory: Vec<u8>) -> LabelledImage {
    memory.clear();
    memory.resize(3 * side as usize * side as usize, BORDER);
    LabelledImage { image: RgbImage { width: side, height: side, pixels: memory }, objects: Vec::new() }
}

/// Copies the part of `tile` that lies in the canvas, if its left top corner is at `(left, top)`, and its objects.
fn place(canvas: &mut LabelledImage, tile: &Tile<'_>, left: i64, top: i64) {
    let image = tile.image;
    let (canvas_w, canvas_h) = (i64::from(canvas.image.width), i64::from(canvas.image.height));
    let (x0, x1) = (left.max(0), (left + i64::from(image.width)).min(canvas_w));
    let (y0, y1) = (top.max(0), (top + i64::from(image.height)).min(canvas_h));
    if x0 < x1 {
        let len = 3 * (x1 - x0) as usize;
        for y in y0..y1 {
            let to = 3 * (y * canvas_w + x0) as usize;
            let from = 3 * ((y - top) * i64::from(image.width) + x0 - left) as usize;
            canvas.image.pixels[to..to + len].copy_from_slice(&image.pixels[from..from + len]);
        }
    }
    let frame =
        Frame { width: image.width as f32, height: image.height as f32, left: left as f32, top: top as f32 };
    let (width, height) = (canvas_w as f32, canvas_h as f32);
    let clipped = |label: &Label| -> Object { frame.place(label).clip(width, height) };
    canvas.objects.extend(tile.labels.iter().map(clipped));
}
