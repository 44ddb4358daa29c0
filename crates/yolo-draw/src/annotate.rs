//! Boxes with their labels, in YOLOv5's proportions.

use yolo_data::image::RgbImage;
use yolo_eval::Xyxy;

use crate::canvas::{Canvas, PixelRect};
use crate::font::{DESCENT, text_width};
use crate::palette::{class_color, text_color};

/// A box to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxAnnotation {
    /// In pixels of the image; fractions are cut off.
    pub bbox: Xyxy,
    /// Its class, which decides the colour.
    pub class: usize,
    /// What the label says, as `person 0.87`; no label if it is empty.
    pub label: String,
}

/// Thickness of lines and size of letters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Pixels across the lines of boxes.
    pub line_width: u32,
    /// Pixels that a capital letter is high.
    pub cap_height: f32,
}

/// Height of a capital of the mean side: that of YOLOv5's letters where it draws with an outline font.
const CAP_OF_SIDE: f64 = 0.025;
/// Edges farther out than this are drawn there, where nobody sees them.
const FARTHEST: f32 = 1e9;
/// Below this many pixels, letters cannot be read.
const MIN_CAP: f32 = 7.0;
impl Style {
    /// YOLOv5's look for images of this size: lines of 0.3 % of the mean side, but two pixels at least.
    pub fn for_size(width: u32, height: u32) -> Self {
        // The reference counts the three channels as well.
        let line = (f64::from(width) + f64::from(height) + 3.0) / 2.0 * 0.003;
        Self::with_line_width(width, height, (line.round_ties_even() as u32).max(2))
    }

    /// The same with lines of `line_width` pixels, at least 1.
    pub fn with_line_width(width: u32, height: u32, line_width: u32) -> Self {
        let mean_side = (f64::from(width) + f64::from(height)) / 2.0;
        let cap_height = ((mean_side * CAP_OF_SIDE) as f32).max(MIN_CAP);
        Self { line_width: line_width.max(1), cap_height }
    }
}

/// Draws `boxes` over `image`, the last on top: a frame in the colour of the class, and the label on a background of
/// that colour, above the box where there is room and else inside its top.
///
/// Boxes with edges that are not finite are left out.
pub fn annotate(image: &mut RgbImage, boxes: &[BoxAnnotation], style: &Style) {
    let size = (i64::from(image.width), i64::from(image.height));
    let mut canvas = Canvas::new(image);
    for annotation in boxes {
        let Xyxy { x1, y1, x2, y2 } = annotation.bbox;
        if [x1, y1, x2, y2].iter().all(|edge| edge.is_finite()) {
            let [left, top, right, bottom] =
                [x1, y1, x2, y2].map(|edge| edge.clamp(-FARTHEST, FARTHEST) as i64);
            let rect = PixelRect { left, top, right, bottom };
            let color = class_color(annotation.class);
            canvas.frame(rect, style.line_width, color);
            if !annotation.label.is_empty() {
                draw_label(&mut canvas, &annotation.label, rect, size, color, style);
            }
        }
    }
}

/// The label of the box `rect` in an image of `(width, height)` pixels.
fn draw_label(
    canvas: &mut Canvas,
    text: &str,
    rect: PixelRect,
    (image_width, image_height): (i64, i64),
    color: [u8; 3],
    style: &Style,
) {
    let cap = style.cap_height;
    let pad = (cap * 0.25).ceil();
    // Accents of capitals need more than the sides do.
    let above = (cap * 0.38).ceil();
    let width = (text_width(text, cap) + 2.0 * pad).ceil() as i64;
    let height = (above + cap * (1.0 + DESCENT)).ceil() as i64;
    // Flush with the outside of the frame.
    let outside = i64::from(style.line_width / 2);
    let (frame_left, frame_top) = (rect.left - outside, rect.top - outside);
    // Not beyond the right side, as long as that does not push it over the left one.
    let left = frame_left.min(image_width - width).max(0);
    let top = if frame_top - height >= 0 { frame_top - height } else { frame_top.max(0) };
    let top = top.min((image_height - height).max(0));
    canvas.fill(PixelRect { left, top, right: left + width, bottom: top + height }, color, 1.0);
    let baseline = top as f32 + above + cap.round();
    canvas.text(text, left as f32 + pad, baseline, cap, text_color(color));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(bbox: Xyxy, label: &str) -> BoxAnnotation {
        BoxAnnotation { bbox, class: 0, label: label.to_owned() }
    }

    fn pixel(image: &RgbImage, x: u32, y: u32) -> [u8; 3] {
        let at = (y * image.width + x) as usize * 3;
        [image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]]
    }

    /// The rows and columns that are not black, first and last.
    fn inked(image: &RgbImage) -> Option<[u32; 4]> {
        let mut found: Option<[u32; 4]> = None;
        for (y, x) in (0..image.height).flat_map(|y| (0..image.width).map(move |x| (y, x))) {
            if pixel(image, x, y) != [0; 3] {
                let [left, top, right, bottom] = found.unwrap_or([x, y, x, y]);
                found = Some([left.min(x), top.min(y), right.max(x), bottom.max(y)]);
            }
        }
        found
    }

    #[test]
    fn lines_have_the_reference_width() {
        assert_eq!(Style::for_size(640, 480).line_width, 2);
        assert_eq!(Style::for_size(1920, 1080).line_width, 5);
        assert_eq!(Style::for_size(64, 64).line_width, 2);
        assert_eq!(Style::for_size(4000, 3000).line_width, 11);
        assert_eq!(Style::with_line_width(640, 480, 0).line_width, 1);
    }

    #[test]
    fn letters_can_be_read_and_do_not_cover_small_images() {
        assert_eq!(Style::for_size(640, 480).cap_height, 14.0);
        assert_eq!(Style::for_size(64, 64).cap_height, 7.0);
        assert_eq!(Style::with_line_width(4000, 3000, 1).cap_height, 87.5);
    }

    #[test]
    fn a_box_is_drawn_where_it_is_in_the_colour_of_its_class() {
        let mut image = RgbImage::filled(100, 80, [0; 3]);
        let style = Style::with_line_width(100, 80, 1);
        annotate(&mut image, &[annotation(Xyxy::new(10.9, 20.0, 60.2, 70.0), "")], &style);
        assert_eq!(inked(&image), Some([10, 20, 60, 70]));
        assert_eq!(pixel(&image, 10, 45), class_color(0));
        assert_eq!(pixel(&image, 35, 45), [0; 3]);
    }

    #[test]
    fn labels_are_above_their_box_or_inside_its_top() {
        let style = Style::with_line_width(300, 200, 1);
        let labelled = |y1: f32| {
            let mut image = RgbImage::filled(300, 200, [0; 3]);
            annotate(&mut image, &[annotation(Xyxy::new(20.0, y1, 200.0, 150.0), "dog 0.5")], &style);
            (
                inked(&image).map(|edges| edges[1]),
                pixel(&image, 21, y1 as u32 - 2),
                pixel(&image, 21, y1 as u32 + 2),
            )
        };
        let (top, above, inside) = labelled(60.0);
        assert!(top.is_some_and(|top| (42..60).contains(&top)), "{top:?}");
        assert_eq!((above, inside), (class_color(0), [0; 3]));
        let (top, above, inside) = labelled(5.0);
        assert_eq!((top, above, inside), (Some(5), [0; 3], class_color(0)));
    }

    #[test]
    fn labels_stay_in_the_image() {
        let mut image = RgbImage::filled(300, 200, [0; 3]);
        let style = Style::with_line_width(300, 200, 1);
        let at_the_right = annotation(Xyxy::new(290.0, 100.0, 298.0, 120.0), "a label");
        annotate(&mut image, &[at_the_right], &style);
        let width = text_width("a label", style.cap_height);
        assert!(inked(&image).is_some_and(|edges| (edges[0] as f32) < 300.0 - width), "{:?}", inked(&image));
        assert_eq!(pixel(&image, 299, 95), class_color(0));
    }

    #[test]
    fn boxes_without_a_place_are_left_out() {
        let mut image = RgbImage::filled(30, 20, [0; 3]);
        let boxes = [
            annotation(Xyxy::new(f32::NAN, 0.0, 9.0, 9.0), "x"),
            annotation(Xyxy::new(0.0, 0.0, f32::INFINITY, 9.0), "x"),
        ];
        annotate(&mut image, &boxes, &Style::for_size(30, 20));
        assert_eq!(inked(&image), None);
    }
}
