//! Shapes and text, drawn over the pixels of an image.

use yolo_data::image::RgbImage;

use crate::font;

/// Whole pixels: columns from `left` to before `right`, rows from `top` to before `bottom`; may reach out of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelRect {
    /// First column.
    pub left: i64,
    /// First row.
    pub top: i64,
    /// The column after the last.
    pub right: i64,
    /// The row after the last.
    pub bottom: i64,
}

/// Draws into an image. Edges are anti-aliased, and what lies outside is cut off.
pub struct Canvas<'a> {
    image: &'a mut RgbImage,
}

impl<'a> Canvas<'a> {
    /// Draws over `image`.
    pub fn new(image: &'a mut RgbImage) -> Self {
        Self { image }
    }

    /// Fills `rect` with `rgb`, of which `opacity` in `[0, 1]` covers what was there.
    pub fn fill(&mut self, rect: PixelRect, rgb: [u8; 3], opacity: f32) {
        let PixelRect { left, top, right, bottom } = self.clipped(rect);
        for y in top..bottom {
            for x in left..right {
                self.blend(x, y, rgb, opacity);
            }
        }
    }

    /// A frame around `rect`, its lines `width` pixels thick and half of that outside; corners are rounded there.
    ///
    /// An even width has no middle pixel: one more of its pixels lies to the left of and above each edge, and every
    /// pixel is either covered or not.
    pub fn frame(&mut self, rect: PixelRect, width: u32, rgb: [u8; 3]) {
        let half = width.max(1) as f32 / 2.0;
        let shift = if width.is_multiple_of(2) { 0.5 } else { 0.0 };
        let (left, top) = (rect.left as f32 - shift, rect.top as f32 - shift);
        let (right, bottom) = (rect.right as f32 - shift, rect.bottom as f32 - shift);
        let reach = half.ceil() as i64 + 1;
        let outer = PixelRect {
            left: rect.left.saturating_sub(reach),
            top: rect.top.saturating_sub(reach),
            right: rect.right.saturating_add(reach + 1),
            bottom: rect.bottom.saturating_add(reach + 1),
        };
        let outer = self.clipped(outer);
        for y in outer.top..outer.bottom {
            // Rows through the middle meet only the two upright lines.
            let is_middle = y - reach > rect.top && y + reach < rect.bottom;
            let mut x = outer.left;
            while x < outer.right {
                if is_middle && x - reach > rect.left && x + reach < rect.right {
                    x = rect.right - reach;
                    continue;
                }
                let (px, py) = (x as f32, y as f32);
                let (dx, dy) = ((left - px).max(px - right), (top - py).max(py - bottom));
                let outside = dx.max(0.0).hypot(dy.max(0.0));
                let distance = if outside > 0.0 { outside } else { -dx.max(dy) };
                self.blend(x, y, rgb, half + 0.5 - distance);
                x += 1;
            }
        }
    }

    /// A line between two points, `width` pixels thick, with round ends.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], width: f32, rgb: [u8; 3]) {
        if ![from[0], from[1], to[0], to[1], width].iter().all(|value| value.is_finite()) {
            return;
        }
        let reach = width.max(0.0) / 2.0 + 1.0;
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length_squared = dx * dx + dy * dy;
        let at = |along: f32| [from[0] + along * dx, from[1] + along * dy];
        let nearest = |x: f32, y: f32| {
            let along = ((x - from[0]) * dx + (y - from[1]) * dy) / length_squared;
            at(if along.is_nan() { 0.0 } else { along.clamp(0.0, 1.0) })
        };
        let rows = self.rows(from[1].min(to[1]) - reach, from[1].max(to[1]) + reach);
        for y in rows {
            // The part of the line that comes near this row says which columns to look at.
            let part =
                |edge: f32| if dy == 0.0 { None } else { Some(((edge - from[1]) / dy).clamp(0.0, 1.0)) };
            let first = at(part(y as f32 - reach).unwrap_or(0.0))[0];
            let last = at(part(y as f32 + reach).unwrap_or(1.0))[0];
            for x in self.columns(first.min(last) - reach, first.max(last) + reach) {
                let [near_x, near_y] = nearest(x as f32, y as f32);
                let distance = (x as f32 - near_x).hypot(y as f32 - near_y);
                self.blend(x, y, rgb, width / 2.0 + 0.5 - distance);
            }
        }
    }

    /// `text` from `x` on, standing on the line `baseline`, its capitals `cap_height` pixels high.
    pub fn text(&mut self, text: &str, x: f32, baseline: f32, cap_height: f32, rgb: [u8; 3]) {
        for glyph in font::glyphs(text, cap_height, x, baseline) {
            let bounds = glyph.px_bounds();
            let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
            glyph.draw(|x, y, covered| self.blend(left + i64::from(x), top + i64::from(y), rgb, covered));
        }
    }

    /// Puts `image` with its top left pixel at `(left, top)`.
    pub fn paste(&mut self, image: &RgbImage, left: i64, top: i64) {
        let (width, height) = (i64::from(image.width), i64::from(image.height));
        let seen = self.clipped(PixelRect { left, top, right: left + width, bottom: top + height });
        let length = (seen.right - seen.left).max(0) as usize * 3;
        for y in seen.top..seen.bottom {
            let from = ((y - top) * width + (seen.left - left)) as usize * 3;
            let to = self.index(seen.left, y);
            self.image.pixels[to..to + length].copy_from_slice(&image.pixels[from..from + length]);
        }
    }

    /// Mixes `rgb` into a pixel; `covered` is limited to `[0, 1]`.
    fn blend(&mut self, x: i64, y: i64, rgb: [u8; 3], covered: f32) {
        if covered <= 0.0 || !self.holds(x, y) {
            return;
        }
        let (covered, at) = (covered.min(1.0), self.index(x, y));
        for (below, above) in self.image.pixels[at..at + 3].iter_mut().zip(rgb) {
            let (old, new) = (f32::from(*below), f32::from(above));
            *below = (old + (new - old) * covered).round() as u8;
        }
    }

    fn holds(&self, x: i64, y: i64) -> bool {
        (0..i64::from(self.image.width)).contains(&x) && (0..i64::from(self.image.height)).contains(&y)
    }

    fn index(&self, x: i64, y: i64) -> usize {
        (y * i64::from(self.image.width) + x) as usize * 3
    }

    fn clipped(&self, rect: PixelRect) -> PixelRect {
        let (width, height) = (i64::from(self.image.width), i64::from(self.image.height));
        PixelRect {
            left: rect.left.clamp(0, width),
            top: rect.top.clamp(0, height),
            right: rect.right.clamp(0, width),
            bottom: rect.bottom.clamp(0, height),
        }
    }

    fn rows(&self, first: f32, last: f32) -> std::ops::Range<i64> {
        between(first, last, self.image.height)
    }

    fn columns(&self, first: f32, last: f32) -> std::ops::Range<i64> {
        between(first, last, self.image.width)
    }
}

/// The whole numbers from `first` to `last` that are below `limit` and not negative.
fn between(first: f32, last: f32, limit: u32) -> std::ops::Range<i64> {
    let limit = i64::from(limit);
    (first.floor() as i64).clamp(0, limit)..(last.ceil() as i64).saturating_add(1).clamp(0, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: [u8; 3] = [255; 3];

    /// What `draw` paints on black, one letter per pixel: `#` full, `+` half, `.` none.
    fn painted(width: u32, height: u32, draw: impl FnOnce(&mut Canvas)) -> Vec<String> {
        let mut image = RgbImage::filled(width, height, [0; 3]);
        draw(&mut Canvas::new(&mut image));
        let letter = |pixel: &[u8]| match pixel[0] {
            0..32 => '.',
            32..224 => '+',
            _ => '#',
        };
        let row = |row: &[u8]| row.chunks_exact(3).map(letter).collect();
        image.pixels.chunks_exact(width as usize * 3).map(row).collect()
    }

    #[test]
    fn a_frame_of_one_pixel_goes_through_the_edges() {
        let rect = PixelRect { left: 1, top: 1, right: 5, bottom: 3 };
        let rows = painted(7, 5, |canvas| canvas.frame(rect, 1, WHITE));
        assert_eq!(rows, [".......", ".#####.", ".#...#.", ".#####.", "......."]);
    }

    #[test]
    fn an_even_frame_is_crisp_and_its_outer_corners_are_round() {
        let rect = PixelRect { left: 2, top: 2, right: 7, bottom: 6 };
        let rows = painted(9, 8, |canvas| canvas.frame(rect, 2, WHITE));
        assert_eq!(
            rows,
            [
                ".........",
                ".+#####+.",
                ".#######.",
                ".##...##.",
                ".##...##.",
                ".#######.",
                ".+#####+.",
                "........."
            ]
        );
    }

    #[test]
    fn frames_of_any_thickness_leave_their_inside_alone() {
        for width in 1..9 {
            let rect = PixelRect { left: 20, top: 20, right: 60, bottom: 50 };
            let rows = painted(80, 70, |canvas| canvas.frame(rect, width, WHITE));
            let count = |row: &str| row.chars().filter(|pixel| *pixel == '#').count();
            assert_eq!(count(&rows[35]), 2 * width as usize, "{width}");
            let column = rows.iter().filter(|row| row.as_bytes()[40] == b'#').count();
            assert_eq!(column, 2 * width as usize, "{width}");
        }
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let rect = PixelRect { left: -5, top: 2, right: 3, bottom: 900 };
        let rows = painted(5, 4, |canvas| canvas.frame(rect, 1, WHITE));
        assert_eq!(rows, [".....", ".....", "####.", "...#."]);
        let far = PixelRect { left: i64::from(i32::MIN), top: 50, right: i64::from(i32::MAX), bottom: 60 };
        let rows = painted(3, 1, |canvas| {
            canvas.frame(far, 3, WHITE);
            canvas.fill(far, WHITE, 1.0);
            canvas.text("far", 1e9, -1e9, 10.0, WHITE);
            canvas.line([-1e9, 1e9], [f32::NAN, 0.0], 3.0, WHITE);
            canvas.paste(&RgbImage::filled(2, 2, WHITE), 2, -1);
        });
        assert_eq!(rows, ["..#"]);
    }

    #[test]
    fn lines_join_their_ends() {
        let rows = painted(6, 4, |canvas| canvas.line([1.0, 1.0], [4.0, 1.0], 1.0, WHITE));
        assert_eq!(rows, ["......", ".####.", "......", "......"]);
        let rows = painted(4, 5, |canvas| canvas.line([2.0, 3.0], [2.0, 0.0], 1.0, WHITE));
        assert_eq!(rows, ["..#.", "..#.", "..#.", "..#.", "...."]);
        let rows = painted(5, 5, |canvas| canvas.line([0.0, 0.0], [4.0, 4.0], 1.0, WHITE));
        let diagonal: String = (0..5).map(|i| rows[i].as_bytes()[i] as char).collect();
        assert_eq!(diagonal, "#####");
        assert_eq!(rows[0].as_bytes()[4], b'.');
        let dot = painted(3, 3, |canvas| canvas.line([1.0, 1.0], [1.0, 1.0], 1.0, WHITE));
        assert_eq!(dot, ["...", ".#.", "..."]);
    }

    #[test]
    fn opacity_mixes_with_what_was_there() {
        let mut image = RgbImage::filled(1, 1, [100, 0, 200]);
        let all = PixelRect { left: 0, top: 0, right: 1, bottom: 1 };
        Canvas::new(&mut image).fill(all, [200, 255, 0], 0.5);
        assert_eq!(image.pixels, [150, 128, 100]);
    }

    #[test]
    fn text_stands_on_its_line() {
        let rows = painted(40, 20, |canvas| canvas.text("HH", 2.0, 15.0, 10.0, WHITE));
        let inked: Vec<usize> = (0..20).filter(|&y| rows[y].contains('#')).collect();
        assert_eq!((inked[0], inked[inked.len() - 1]), (5, 14));
    }
}
