//! Grids of images with their boxes and names.

use yolo_data::image::RgbImage;
use yolo_data::resize::{Interpolation, resize};
use yolo_eval::Xyxy;

use crate::annotate::{BoxAnnotation, Style, annotate};
use crate::canvas::{Canvas, PixelRect};
use crate::font::{DESCENT, text_width};

/// How large a grid may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MosaicOptions {
    /// Images at most; more are left out.
    pub max_images: usize,
    /// Pixels of the longer side at most.
    pub max_side: u32,
    /// Pixels of the longer side of a cell at least, where `max_side` allows it: smaller images are enlarged, so that
    /// their labels have room.
    pub min_cell: u32,
}

impl Default for MosaicOptions {
    /// YOLOv5's: 16 images, 1920 pixels.
    fn default() -> Self {
        Self { max_images: 16, max_side: 1920, min_cell: 320 }
    }
}

/// A square grid of images, filled column by column. Images come one at a time, so that only one has to be in memory.
pub struct Mosaic {
    grid: RgbImage,
    /// Width and height of a cell.
    cell: (u32, u32),
    /// Cells in a column.
    per_column: usize,
    capacity: usize,
    used: usize,
}

/// What is around images that do not fill their cell, and in cells without one.
const BACKGROUND: [u8; 3] = [255; 3];
/// Letters of a name that are shown.
const MAX_NAME: usize = 40;

impl Mosaic {
    /// A grid for `images` images, the largest of which are `(width, height)` pixels large.
    pub fn new(images: usize, (width, height): (u32, u32), options: &MosaicOptions) -> Self {
        let capacity = images.clamp(1, options.max_images.max(1));
        let per_column = (1..).find(|side| side * side >= capacity).unwrap_or(1);
        let longest = f64::from(width.max(height).max(1));
        let room = f64::from(options.max_side.max(1)) / per_column as f64;
        let factor = (room / longest).min((f64::from(options.min_cell) / longest).max(1.0));
        let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
        let cell = (side(width), side(height));
        let count = per_column as u32;
        Self {
            grid: RgbImage::filled(cell.0 * count, cell.1 * count, BACKGROUND),
            cell,
            per_column,
            capacity,
            used: 0,
        }
    }

    /// Whether no more images fit.
    pub fn is_full(&self) -> bool {
        self.used == self.capacity
    }

    /// Puts `image` into the next cell, resized to fit and centred, with `boxes` in its own pixels and its name.
    /// Without effect on a full grid or for an image without pixels.
    pub fn add(&mut self, image: &RgbImage, boxes: &[BoxAnnotation], name: &str) {
        if self.is_full() || image.width == 0 || image.height == 0 {
            return;
        }
        let (across, down) = (self.used / self.per_column, self.used % self.per_column);
        self.used += 1;
        let mut shown = fitted(image, self.cell);
        let (fx, fy) = (shown.width as f32 / image.width as f32, shown.height as f32 / image.height as f32);
        let scaled = |of: &BoxAnnotation| {
            let Xyxy { x1, y1, x2, y2 } = of.bbox;
            BoxAnnotation { bbox: Xyxy::new(x1 * fx, y1 * fy, x2 * fx, y2 * fy), ..of.clone() }
        };
        let style = style(self.cell);
        annotate(&mut shown, &boxes.iter().map(scaled).collect::<Vec<_>>(), &style);
        let cell_left = i64::from(self.cell.0) * across as i64;
        let cell_top = i64::from(self.cell.1) * down as i64;
        let left = cell_left + i64::from((self.cell.0 - shown.width) / 2);
        let top = cell_top + i64::from((self.cell.1 - shown.height) / 2);
        let mut canvas = Canvas::new(&mut self.grid);
        canvas.paste(&shown, left, top);
        draw_name(&mut canvas, &shortened(name), cell_left, cell_top, self.cell);
        let cell = PixelRect {
            left: cell_left,
            top: cell_top,
            right: cell_left + i64::from(self.cell.0),
            bottom: cell_top + i64::from(self.cell.1),
        };
        canvas.frame(cell, 2, BACKGROUND);
    }

    /// The grid.
    pub fn finish(self) -> RgbImage {
        self.grid
    }
}

/// Thinner and smaller than in an image on its own, since many boxes share little room.
fn style((width, height): (u32, u32)) -> Style {
    let mean_side = (width + height) as f32 / 2.0;
    Style {
        line_width: ((mean_side * 0.003).round() as u32).max(1),
        cap_height: (mean_side * 0.016).max(7.0),
    }
}

/// `image` as large as it fits into `(width, height)`.
fn fitted(image: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let (from_w, from_h) = (f64::from(image.width), f64::from(image.height));
    let factor = (f64::from(width) / from_w).min(f64::from(height) / from_h);
    let side = |from: f64, most: u32| ((from * factor).round() as u32).clamp(1, most);
    let mode = if factor < 1.0 { Interpolation::Area } else { Interpolation::Linear };
    resize(image, side(from_w, width), side(from_h, height), mode)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= MAX_NAME {
        return name.to_owned();
    }
    name.chars().take(MAX_NAME - 1).chain(['…']).collect()
}

/// The name in the cell's top left corner, on a dark strip so that it can be read on any image.
fn draw_name(canvas: &mut Canvas, name: &str, left: i64, top: i64, cell: (u32, u32)) {
    if name.is_empty() {
        return;
    }
    let cap = (cell.0.max(cell.1) as f32 * 0.018).max(7.0);
    let pad = (cap * 0.4).ceil();
    let width = ((text_width(name, cap) + 2.0 * pad).ceil() as i64).min(i64::from(cell.0));
    let height = (cap * (1.0 + DESCENT) + 1.6 * pad).ceil() as i64;
    canvas.fill(PixelRect { left, top, right: left + width, bottom: top + height }, [0; 3], 0.55);
    canvas.text(name, left as f32 + pad, top as f32 + pad + cap.round(), cap, [255; 3]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(image: &RgbImage, x: u32, y: u32) -> [u8; 3] {
        let at = (y * image.width + x) as usize * 3;
        [image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]]
    }

    #[test]
    fn grids_are_square_and_filled_by_columns() {
        let mut mosaic = Mosaic::new(3, (400, 400), &MosaicOptions::default());
        for grey in [10, 20, 30] {
            mosaic.add(&RgbImage::filled(400, 400, [grey; 3]), &[], "");
        }
        assert!(mosaic.is_full());
        let grid = mosaic.finish();
        assert_eq!((grid.width, grid.height), (800, 800));
        let cells = [(200, 200), (200, 600), (600, 200), (600, 600)];
        assert_eq!(cells.map(|(x, y)| pixel(&grid, x, y)[0]), [10, 20, 30, 255]);
    }

    #[test]
    fn grids_keep_their_limits() {
        let options = MosaicOptions::default();
        let size = |images, largest| {
            let grid = Mosaic::new(images, largest, &options).finish();
            (grid.width, grid.height)
        };
        assert_eq!(size(16, (640, 480)), (1920, 1440));
        assert_eq!(size(100, (640, 480)), (1920, 1440));
        assert_eq!(size(1, (64, 32)), (320, 160));
        assert_eq!(size(1, (6400, 3200)), (1920, 960));
        assert_eq!(size(0, (0, 0)), (1, 1).max(size(1, (0, 0))));
        let mut one = Mosaic::new(1, (10, 10), &options);
        one.add(&RgbImage::default(), &[], "no pixels");
        assert!(!one.is_full());
    }

    #[test]
    fn boxes_scale_with_their_image_and_images_are_centred() {
        let options = MosaicOptions { min_cell: 0, ..MosaicOptions::default() };
        let mut mosaic = Mosaic::new(1, (400, 400), &options);
        let bbox = Xyxy::new(20.0, 10.0, 180.0, 90.0);
        let boxes = [BoxAnnotation { bbox, class: 14, label: String::new() }];
        mosaic.add(&RgbImage::filled(200, 100, [0; 3]), &boxes, "");
        let grid = mosaic.finish();
        // Twice as large, and with 100 pixels above.
        assert_eq!(pixel(&grid, 40, 200), [0x00, 0x18, 0xEC]);
        assert_eq!(pixel(&grid, 200, 120), [0x00, 0x18, 0xEC]);
        assert_eq!((pixel(&grid, 200, 50), pixel(&grid, 200, 200)), ([255; 3], [0; 3]));
    }

    #[test]
    fn names_are_shortened_to_forty_letters() {
        assert_eq!(shortened("short.jpg"), "short.jpg");
        let long = shortened(&"ä".repeat(60));
        assert_eq!((long.chars().count(), long.ends_with("ä…")), (40, true));
    }
}
