//! Statistics of the labels of a data set: objects per class, their boxes, where they lie and how large they are.

use yolo_draw::class_color;
use yolo_eval::Cxcywh;

use super::confusion::color;
use super::scene::{INK, MUTED, Scene, TEXT, fitted};
use crate::format::thousands;
use crate::scale::{Plot, round_ticks};
use crate::svg::Anchor;

/// Sides of the picture and of a panel, in pixels.
const SIDE: u32 = 1000;
const PANEL: f64 = 360.0;
/// Boxes that are drawn over each other; more are a grey area.
const DRAWN: usize = 500;
/// Cells of a panel that counts, along each side.
const CELLS: usize = 50;
/// Classes whose bars have names.
const NAMED: usize = 40;

/// Four panels. `labels` are classes with their boxes as fractions of their images.
pub fn labels(labels: &[(u32, Cxcywh)], class_names: &[String]) -> Scene {
    let title = format!("{} objects of {} classes", thousands(labels.len()), class_names.len());
    let mut scene = Scene::new((SIDE, SIDE), &title, format!("Statistics of {title}"));
    per_class(&mut scene, labels, class_names);
    boxes(&mut scene, labels);
    let places = labels.iter().map(|(_, bbox)| (bbox.cx, bbox.cy));
    // Rows of an image are counted from its top.
    counted(&mut scene, (100.0, 560.0), ["x", "y"], true, places);
    let sizes = labels.iter().map(|(_, bbox)| (bbox.w, bbox.h));
    counted(&mut scene, (590.0, 560.0), ["width", "height"], false, sizes);
    scene
}

/// A bar per class.
fn per_class(scene: &mut Scene, labels: &[(u32, Cxcywh)], class_names: &[String]) {
    let mut counts = vec![0u64; class_names.len().max(1)];
    for (class, _) in labels {
        if let Some(count) = counts.get_mut(*class as usize) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or_default() as f64;
    let ticks = round_ticks(Some((0.0, most.max(1.0))), 5);
    let top = ticks.last().copied().unwrap_or(1.0);
    let height = PANEL - 60.0;
    let n = counts.len() as f64;
    let plot = Plot { left: 100.0, top: 70.0, width: PANEL, height, x: (0.0, n), y: (0.0, top) };
    scene.axes(&plot, &[], &ticks, ["", "objects"]);
    for (class, count) in counts.iter().enumerate() {
        let (left, right) = (plot.x(class as f64 + 0.1), plot.x(class as f64 + 0.9));
        let (y, name) = (plot.y(*count as f64), class_names.get(class).map_or("", String::as_str));
        let hint = format!("{name}: {count}");
        scene.fill([left, y, right - left, plot.bottom() - y], class_color(class), hint);
        if counts.len() <= NAMED {
            let baseline = (left + right) / 2.0 + TEXT / 3.0;
            let name = fitted(name, TEXT, 80.0);
            scene.upright((baseline, plot.bottom() + 8.0), &name, TEXT, INK, Anchor::End);
        }
    }
}

/// The boxes around one centre, in the colours of their classes.
fn boxes(scene: &mut Scene, labels: &[(u32, Cxcywh)]) {
    let unit = (0.0, 1.0);
    let plot = Plot { left: 590.0, top: 70.0, width: PANEL, height: PANEL, x: unit, y: unit };
    let step = labels.len().div_ceil(DRAWN).max(1);
    for (class, bbox) in labels.iter().step_by(step) {
        let (w, h) = (f64::from(bbox.w) / 2.0, f64::from(bbox.h) / 2.0);
        let corners = [(-w, -h), (w, -h), (w, h), (-w, h), (-w, -h)];
        let corners = corners.map(|(x, y)| (plot.x(0.5 + x), plot.y(0.5 + y)));
        scene.line(&corners, class_color(*class as usize), 0.5);
    }
    frame(scene, &plot);
}

/// How many of the points, both coordinates from 0 to 1, lie in each cell of a square.
fn counted(
    scene: &mut Scene,
    (left, top): (f64, f64),
    names: [&str; 2],
    downwards: bool,
    points: impl Iterator<Item = (f32, f32)>,
) {
    let mut counts = vec![0u32; CELLS * CELLS];
    let cell = |value: f32| ((f64::from(value) * CELLS as f64) as usize).min(CELLS - 1);
    for (x, y) in points {
        counts[cell(y) * CELLS + cell(x)] += 1;
    }
    let most = f64::from(counts.iter().copied().max().unwrap_or_default().max(1));
    let side = PANEL / CELLS as f64;
    let y = if downwards { (1.0, 0.0) } else { (0.0, 1.0) };
    let plot = Plot { left, top, width: PANEL, height: PANEL, x: (0.0, 1.0), y };
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (row, column) = (at / CELLS, at % CELLS);
        let row = if downwards { row } else { CELLS - 1 - row };
        let rect = [left + column as f64 * side, top + row as f64 * side, side, side];
        // A single object in a large data set shows as well.
        scene.fill(rect, color(0.15 + 0.85 * f64::from(*count) / most), format!("{count}"));
    }
    let ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    scene.axes(&plot, &ticks, &ticks, names);
    frame(scene, &plot);
}

fn frame(scene: &mut Scene, plot: &Plot) {
    let (left, right, top, bottom) = (plot.left, plot.right(), plot.top, plot.bottom());
    scene.line(&[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], MUTED, 1.0);
}

#[cfg(test)]
mod tests {
    use super::super::scene::Shape;
    use super::*;

    /// The hints of filled shapes with their rectangles.
    fn fills(scene: &Scene) -> Vec<(&str, [f64; 4])> {
        let shapes = scene.shapes.iter();
        shapes
            .filter_map(|shape| match shape {
                Shape::Fill { hint, rect, .. } => Some((hint.as_str(), *rect)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn objects_are_counted_by_class_place_and_size() {
        let bbox = |cx, cy, w, h| Cxcywh { cx, cy, w, h };
        let objects =
            [(1, bbox(0.25, 0.75, 0.5, 0.1)), (1, bbox(0.25, 0.75, 1.0, 1.0)), (0, bbox(0.9, 0.1, 0.5, 0.1))];
        let names = ["red", "green"].map(str::to_owned);
        let scene = labels(&objects, &names);
        let fills = fills(&scene);
        let found: Vec<&str> = fills.iter().map(|(hint, _)| *hint).collect();
        assert_eq!(found, ["red: 1", "green: 2", "1", "2", "2", "1"]);
        // The two objects of one place, low and on the left of their images.
        let [left, top, ..] = fills[3].1;
        assert!((100.0..100.0 + PANEL / 2.0).contains(&left) && top > 560.0 + PANEL / 2.0, "{left} {top}");
        // Two flat boxes of one size, at the bottom of the panel of sizes.
        let [left, top, ..] = fills[4].1;
        assert!(left > 590.0 && top > 560.0 + PANEL * 0.8, "{left} {top}");
    }

    #[test]
    fn a_data_set_without_objects_has_a_picture() {
        assert_eq!(fills(&labels(&[], &["a".to_owned()])).len(), 1);
    }
}
