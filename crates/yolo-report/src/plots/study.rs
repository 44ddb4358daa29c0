//! mAP over time, one line per network with a dot per image size.

use super::scene::{CAP, INK, MUTED, Scene, TEXT, fitted};
use crate::scale::{Plot, range, round_ticks};
use crate::svg::{Anchor, Rgb};
use yolo_draw::class_color;

const SIZE: (u32, u32) = (900, 600);
const LEGEND: f64 = 652.0;
/// EfficientDet-D0 to -D5 on COCO and a V100, as YOLOv5's study has them: AP in percent, and images per second.
const EFFICIENT_DET: [(f64, f64); 6] =
    [(34.6, 209.0), (40.5, 140.0), (43.0, 97.0), (47.5, 58.0), (49.7, 35.0), (51.5, 18.0)];

/// A network at several image sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyLine {
    /// What it is called.
    pub name: String,
    /// Long side in pixels, milliseconds per image, mAP in `[0, 1]`.
    pub points: Vec<(usize, f64, f64)>,
}

/// mAP over time; with EfficientDet's published line if the images are COCO's.
pub fn study(lines: &[StudyLine], is_coco: bool) -> Scene {
    let published: Vec<(f64, f64)> = match is_coco {
        true => EFFICIENT_DET.iter().map(|(ap, per_second)| (1000.0 / per_second, *ap)).collect(),
        false => Vec::new(),
    };
    let curves: Vec<Vec<(f64, f64)>> = lines
        .iter()
        .map(|line| line.points.iter().map(|&(_, ms, map)| (ms, map * 100.0)).collect())
        .collect();
    let points = || curves.iter().flatten().chain(&published);
    let from_zero = |range: Option<(f64, f64)>| range.map(|(_, high)| (0.0, high));
    let x_ticks = round_ticks(from_zero(range(points().map(|point| point.0))), 6);
    let y_ticks = round_ticks(range(points().map(|point| point.1)), 6);
    let edges = |ticks: &[f64]| range(ticks.iter().copied()).unwrap_or((0.0, 1.0));
    let plot =
        Plot { left: 72.0, top: 52.0, width: 560.0, height: 480.0, x: edges(&x_ticks), y: edges(&y_ticks) };
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let mut scene =
        Scene::new(SIZE, "mAP and time over image sizes", format!("mAP over time of {}", names.join(", ")));
    scene.axes(&plot, &x_ticks, &y_ticks, ["Inference, ms per image", "mAP50-95, %"]);
    curve(&mut scene, &plot, &published, MUTED);
    for (i, (line, points)) in lines.iter().zip(&curves).enumerate() {
        curve(&mut scene, &plot, points, color(i));
        for (&(size, ..), &(ms, map)) in line.points.iter().zip(points) {
            let place = (plot.x(ms), plot.y(map) - 9.0);
            scene.text(place, &size.to_string(), 11.0, MUTED, Anchor::Middle);
        }
    }
    let entries = names.iter().enumerate().map(|(i, name)| (*name, color(i)));
    let reference = is_coco.then_some(("EfficientDet on a V100", MUTED));
    for (i, (name, rgb)) in entries.chain(reference).enumerate() {
        let y = plot.top + 8.0 + 20.0 * i as f64;
        scene.line(&[(LEGEND, y), (LEGEND + 24.0, y)], rgb, 2.0);
        let place = (LEGEND + 32.0, y + TEXT * CAP / 2.0);
        scene.text(place, &fitted(name, TEXT, 200.0), TEXT, INK, Anchor::Start);
    }
    scene
}

fn color(line: usize) -> Rgb {
    // Neighbours in the palette are alike.
    class_color(line * 6 % 20 + line / 10)
}

/// A line with a dot at every point.
fn curve(scene: &mut Scene, plot: &Plot, points: &[(f64, f64)], rgb: Rgb) {
    let placed: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (plot.x(x), plot.y(y))).collect();
    scene.line(&placed, rgb, 2.0);
    for point in placed {
        scene.line(&[point], rgb, 7.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::vector::svg;

    #[test]
    fn every_size_has_its_dot_and_only_coco_has_the_published_line() {
        let points = vec![(256, 4.0, 0.21), (640, 20.0, 0.33)];
        let lines = [StudyLine { name: "yolov5n".to_owned(), points }];
        let own = svg(&study(&lines, false));
        for text in [">256<", ">640<", ">yolov5n<"] {
            assert!(own.contains(text), "{text} is not in {own}");
        }
        assert_eq!(own.matches("stroke-width=\"7\"").count(), 2);
        assert!(!own.contains("EfficientDet"));
        let coco = svg(&study(&lines, true));
        assert_eq!(coco.matches("stroke-width=\"7\"").count(), 8);
        assert!(coco.contains("EfficientDet on a V100"));
    }
}
