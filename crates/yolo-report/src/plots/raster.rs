//! A scene as pixels.

use yolo_draw::{Canvas, PixelRect, RgbImage};

use super::scene::{CAP, Scene, Shape, width_of};
use crate::svg::{Anchor, Rgb};

/// Pixels of the image per pixel of the scene, so that text is sharp on dense screens and on paper.
const SCALE: f64 = 2.0;

/// The image, twice as wide and high as the scene.
pub(crate) fn image(scene: &Scene) -> RgbImage {
    let side = |side: u32| (f64::from(side) * SCALE) as u32;
    let mut image = RgbImage::filled(side(scene.size.0), side(scene.size.1), [255; 3]);
    for shape in &scene.shapes {
        draw(&mut image, shape);
    }
    image
}

fn draw(image: &mut RgbImage, shape: &Shape) {
    match shape {
        Shape::Fill { rect: [x, y, width, height], rgb, .. } => {
            let edge = |value: f64| (value * SCALE).round() as i64;
            let rect =
                PixelRect { left: edge(*x), top: edge(*y), right: edge(x + width), bottom: edge(y + height) };
            Canvas::new(image).fill(rect, *rgb, 1.0);
        }
        Shape::Line { points, rgb, width } => {
            // Pixels are counted from their centres there, and from their edges here.
            let place = |&(x, y): &(f64, f64)| [x * SCALE - 0.5, y * SCALE - 0.5].map(|value| value as f32);
            let mut canvas = Canvas::new(image);
            let width = (width * SCALE) as f32;
            if let [point] = points.as_slice() {
                canvas.line(place(point), place(point), width, *rgb);
            }
            for pair in points.windows(2) {
                canvas.line(place(&pair[0]), place(&pair[1]), width, *rgb);
            }
        }
        Shape::Text { x, y, text, size, rgb, anchor, is_upright } => {
            let (at, size) = ((x * SCALE, y * SCALE), size * SCALE);
            let before = match anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => width_of(text, size) / 2.0,
                Anchor::End => width_of(text, size),
            };
            if *is_upright {
                draw_upright(image, text, at, before, size, *rgb);
            } else {
                let (left, baseline, cap) = ((at.0 - before) as f32, at.1 as f32, (size * CAP) as f32);
                Canvas::new(image).text(text, left, baseline, cap, *rgb);
            }
        }
    }
}

/// Text that reads upwards, `before` pixels of it below `y`: drawn lying, then turned.
fn draw_upright(image: &mut RgbImage, text: &str, (x, y): (f64, f64), before: f64, size: f64, rgb: Rgb) {
    let (width, height) = ((width_of(text, size) + 4.0).ceil() as u32, (size * 1.5).ceil() as u32);
    let mut lying = RgbImage::filled(width, height, [255; 3]);
    let baseline = size.ceil();
    Canvas::new(&mut lying).text(text, 0.0, baseline as f32, (size * CAP) as f32, rgb);
    let (left, bottom) = ((x - baseline).round() as i64, (y + before).round() as i64);
    for (row, pixels) in lying.pixels.chunks_exact(width as usize * 3).enumerate() {
        for (column, pixel) in pixels.as_chunks::<3>().0.iter().enumerate() {
            let (to_x, to_y) = (left + row as i64, bottom - 1 - column as i64);
            let holds = |at: i64, side: u32| (0..i64::from(side)).contains(&at);
            if holds(to_x, image.width) && holds(to_y, image.height) {
                let at = (to_y as usize * image.width as usize + to_x as usize) * 3;
                // The darker of the two, so that neighbours do not cut each other off.
                for (below, above) in image.pixels[at..at + 3].iter_mut().zip(pixel) {
                    *below = (*below).min(*above);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::scene::INK;

    /// First and last column, first and last row that are not white.
    fn inked(image: &RgbImage) -> Option<[usize; 4]> {
        let width = image.width as usize;
        let dark = image.pixels.chunks_exact(3).enumerate().filter(|(_, pixel)| pixel[1] < 128);
        dark.map(|(at, _)| (at % width, at / width)).fold(None, |edges, (x, y)| {
            let [left, right, top, bottom] = edges.unwrap_or([x, x, y, y]);
            Some([left.min(x), right.max(x), top.min(y), bottom.max(y)])
        })
    }

    fn drawn(add: impl FnOnce(&mut Scene)) -> Option<[usize; 4]> {
        let mut scene = Scene::new((100, 80), "", String::new());
        add(&mut scene);
        inked(&image(&scene))
    }

    #[test]
    fn shapes_are_where_the_scene_has_them_at_twice_the_size() {
        let fill = drawn(|scene| scene.fill([10.0, 20.0, 5.0, 7.0], INK, String::new()));
        assert_eq!(fill, Some([20, 29, 40, 53]));
        let line = drawn(|scene| scene.line(&[(10.0, 30.0), (60.0, 30.0)], INK, 2.0));
        assert!(line.is_some_and(|[left, right, top, bottom]| {
            (17..=20).contains(&left) && (119..=122).contains(&right) && (top, bottom) == (58, 61)
        }));
    }

    #[test]
    fn upright_text_stands_on_its_line_and_ends_at_its_place() {
        let edges = drawn(|scene| scene.upright((50.0, 10.0), "HHHH", 20.0, INK, Anchor::End));
        let Some([left, right, top, bottom]) = edges else { panic!("nothing was drawn") };
        assert!((99..=100).contains(&right) && (70..=73).contains(&left), "{left} {right}");
        assert!((20..=26).contains(&top) && bottom > top + 100, "{top} {bottom}");
    }
}
