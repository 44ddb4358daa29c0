//! A drawing as data: filled rectangles, lines and text, which SVG and PNG show alike.

use yolo_draw::text_width;

use crate::scale::{Plot, tick_labels};
use crate::svg::{Anchor, Rgb};

pub(crate) const INK: Rgb = [34, 40, 49];
pub(crate) const MUTED: Rgb = [96, 106, 120];
pub(crate) const GRID: Rgb = [226, 230, 236];
/// Size of most text, in pixels per em.
pub(crate) const TEXT: f64 = 13.0;
pub(crate) const TITLE: f64 = 18.0;

/// Height of a capital of the embedded font, in em.
pub(crate) const CAP: f64 = 0.714;
/// How far a simplified line may lie from the true one, in pixels.
const TOLERANCE: f64 = 0.2;

/// A drawing of a size in pixels on a white ground.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub(crate) size: (u32, u32),
    /// What a screen reader says.
    pub(crate) summary: String,
    pub(crate) shapes: Vec<Shape>,
}

/// What a scene is made of, in pixels from its top left corner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A rectangle: left, top, width, height. SVG shows the hint under the mouse.
    Fill { rect: [f64; 4], rgb: Rgb, hint: String },
    /// A line through points.
    Line { points: Vec<(f64, f64)>, rgb: Rgb, width: f64 },
    /// Text that stands on the line at `y`; turned to read upwards where `is_upright`.
    Text { x: f64, y: f64, text: String, size: f64, rgb: Rgb, anchor: Anchor, is_upright: bool },
}

impl Scene {
    /// Nothing but white, and a title.
    pub(crate) fn new(size: (u32, u32), title: &str, summary: String) -> Self {
        let mut scene = Self { size, summary, shapes: Vec::new() };
        scene.text((f64::from(size.0) / 2.0, 30.0), title, TITLE, INK, Anchor::Middle);
        scene
    }

    pub(crate) fn fill(&mut self, rect: [f64; 4], rgb: Rgb, hint: String) {
        self.shapes.push(Shape::Fill { rect, rgb, hint });
    }

    /// A line through the points that are finite, broken at the others; without points that change nothing.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], rgb: Rgb, width: f64) {
        for run in points.split(|(x, y)| !(x.is_finite() && y.is_finite())).filter(|run| !run.is_empty()) {
            self.shapes.push(Shape::Line { points: simplified(run), rgb, width });
        }
    }

    /// A line of dashes.
    pub(crate) fn dashes(&mut self, from: (f64, f64), to: (f64, f64), rgb: Rgb, width: f64) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let count = (dx.hypot(dy) / 8.0).ceil().clamp(1.0, 1000.0) as usize;
        let at = |share: f64| (from.0 + dx * share, from.1 + dy * share);
        for i in 0..count {
            let (start, end) = (i as f64 / count as f64, (i as f64 + 0.5) / count as f64);
            self.line(&[at(start), at(end)], rgb, width);
        }
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), text: &str, size: f64, rgb: Rgb, anchor: Anchor) {
        let text = text.to_owned();
        self.shapes.push(Shape::Text { x, y, text, size, rgb, anchor, is_upright: false });
    }

    /// Text that reads upwards; `x` is the line it stands on.
    pub(crate) fn upright(&mut self, (x, y): (f64, f64), text: &str, size: f64, rgb: Rgb, anchor: Anchor) {
        let text = text.to_owned();
        self.shapes.push(Shape::Text { x, y, text, size, rgb, anchor, is_upright: true });
    }

    /// Grid lines with their numbers, and the names of the axes.
    pub(crate) fn axes(&mut self, plot: &Plot, x_ticks: &[f64], y_ticks: &[f64], names: [&str; 2]) {
        for (tick, label) in x_ticks.iter().zip(tick_labels(x_ticks)) {
            let x = plot.x(*tick);
            self.line(&[(x, plot.top), (x, plot.bottom())], GRID, 1.0);
            self.text((x, plot.bottom() + 20.0), &label, TEXT, MUTED, Anchor::Middle);
        }
        for (tick, label) in y_ticks.iter().zip(tick_labels(y_ticks)) {
            let y = plot.y(*tick);
            self.line(&[(plot.left, y), (plot.right(), y)], GRID, 1.0);
            self.text((plot.left - 8.0, y + TEXT * CAP / 2.0), &label, TEXT, MUTED, Anchor::End);
        }
        let corner = (plot.left, plot.bottom());
        self.line(&[(plot.left, plot.top), corner, (plot.right(), plot.bottom())], MUTED, 1.0);
        let middle = (plot.left + plot.width / 2.0, plot.top + plot.height / 2.0);
        self.text((middle.0, plot.bottom() + 44.0), names[0], TEXT, INK, Anchor::Middle);
        self.upright((plot.left - 44.0, middle.1), names[1], TEXT, INK, Anchor::Middle);
    }
}

/// Width of text in pixels.
pub(crate) fn width_of(text: &str, size: f64) -> f64 {
    f64::from(text_width(text, (size * CAP) as f32))
}

/// The beginning of a text that fits into `width` pixels, with a sign that something is missing.
pub(crate) fn fitted(text: &str, size: f64, width: f64) -> String {
    if width_of(text, size) <= width {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    loop {
        let shown: String = kept.iter().collect::<String>().trim_end().to_owned() + "…";
        if kept.pop().is_none() || width_of(&shown, size) <= width {
            return shown;
        }
    }
}

/// The line without the points that lie on it anyway (Douglas and Peucker).
fn simplified(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept = vec![false; points.len()];
    let mut pending = vec![(0, points.len() - 1)];
    while let Some((first, last)) = pending.pop() {
        (kept[first], kept[last]) = (true, true);
        let distance = |at: usize| distance_to(points[first], points[last], points[at]);
        let farthest = (first + 1..last).max_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        if let Some(farthest) = farthest.filter(|&at| distance(at) > TOLERANCE) {
            pending.extend([(first, farthest), (farthest, last)]);
        }
    }
    points.iter().zip(kept).filter_map(|(&point, kept)| kept.then_some(point)).collect()
}

/// Distance of a point from the line between two others.
fn distance_to(from: (f64, f64), to: (f64, f64), point: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (point.0 - from.0, point.1 - from.1);
    let squared = dx * dx + dy * dy;
    let along = if squared > 0.0 { ((px * dx + py * dy) / squared).clamp(0.0, 1.0) } else { 0.0 };
    (px - along * dx).hypot(py - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_corners_and_lose_what_lies_between() {
        let mut points: Vec<(f64, f64)> = (0..=100).map(|i| (f64::from(i), 0.1 * f64::from(i % 2))).collect();
        points.extend((0..=50).map(|i| (100.0, f64::from(i))));
        let simple = simplified(&points);
        assert!((3..=5).contains(&simple.len()), "{simple:?}");
        assert_eq!((simple[0], simple[simple.len() - 1]), ((0.0, 0.0), (100.0, 50.0)));
        let worst = points.iter().map(|&point| {
            simple.windows(2).map(|pair| distance_to(pair[0], pair[1], point)).fold(f64::INFINITY, f64::min)
        });
        assert!(worst.fold(0.0, f64::max) <= TOLERANCE);
        assert_eq!(simplified(&[(1.0, 2.0)]), [(1.0, 2.0)]);
    }

    #[test]
    fn what_is_not_a_number_breaks_a_line() {
        let mut scene = Scene::new((100, 100), "", String::new());
        scene.line(&[(0.0, 0.0), (9.0, 0.0), (f64::NAN, 5.0), (20.0, 0.0), (29.0, 9.0)], INK, 1.0);
        let lines = scene.shapes.iter().filter(|shape| matches!(shape, Shape::Line { .. })).count();
        assert_eq!(lines, 2);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(fitted("dog", 13.0, 100.0), "dog");
        let cut = fitted("a very long name of a class", 13.0, 80.0);
        assert!(cut.ends_with('…') && cut.starts_with("a very") && width_of(&cut, 13.0) <= 80.0, "{cut}");
    }
}
