//! Detections drawn into images, with YOLOv5's colours and proportions: boxes with labels, and grids of images.
//!
//! ```text
//! image + boxes ── annotate ── image          Canvas: rectangles, lines and text of any colour
//!    several of them ── Mosaic ── one image
//! ```
//!
//! Coordinates are pixels; the centre of the top left pixel is (0, 0), as in OpenCV. What lies outside an image is
//! cut off. The font is Noto Sans with Latin, Greek and Cyrillic letters; others appear as boxes.
//!
//! ```
//! use yolo_data::image::RgbImage;
//! use yolo_eval::Xyxy;
//! use yolo_draw::{BoxAnnotation, Style, annotate};
//!
//! let mut image = RgbImage::filled(640, 480, [114; 3]);
//! let person = BoxAnnotation { bbox: Xyxy::new(100.0, 80.0, 300.0, 420.0), class: 0, label: "person 0.87".to_owned() };
//! annotate(&mut image, &[person], &Style::for_size(640, 480));
//! ```

mod annotate;
mod canvas;
mod crop;
mod font;
mod mosaic;
mod palette;

pub use annotate::{BoxAnnotation, Style, annotate};
pub use canvas::{Canvas, PixelRect};
pub use crop::cut_out;
pub use font::text_width;
pub use mosaic::{Mosaic, MosaicOptions};
pub use palette::{PALETTE, class_color, text_color};
pub use yolo_data::image::RgbImage;
