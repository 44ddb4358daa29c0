//! The confusion matrix as a table of colours: a column per labelled class, a row per predicted one.

use yolo_eval::metrics::ConfusionMatrix;

use super::scene::{CAP, GRID, INK, MUTED, Scene, TEXT, fitted, width_of};
use crate::svg::{Anchor, Rgb};

/// Side of the matrix in pixels, about.
const SIDE: f64 = 780.0;
const MAX_CELL: f64 = 96.0;
const TOP: f64 = 56.0;
/// Longest name beside the matrix, in pixels.
const MAX_NAME: f64 = 150.0;
/// Shares below this are left white.
const SHOWN: f64 = 0.005;
/// Cells have to be this large for a number, and for a name of their row.
const NUMBER_CELL: f64 = 24.0;
const NAME_CELL: f64 = 6.0;
const BACKGROUND: &str = "background";
/// Colours of the shares 0, ½ and 1.
const COLORS: [Rgb; 3] = [[247, 251, 255], [107, 174, 214], [8, 48, 107]];

/// The matrix with its columns divided by their sums.
pub(crate) fn scene(matrix: &ConfusionMatrix, class_names: &[String]) -> Scene {
    let n = matrix.num_classes() + 1;
    let cell = (SIDE / n as f64).min(MAX_CELL);
    let font = (cell * 0.8).clamp(5.0, TEXT);
    let has_names = cell >= NAME_CELL;
    let name = |class: usize| match class_names.get(class) {
        _ if class == n - 1 => BACKGROUND.to_owned(),
        Some(name) => fitted(name, font, MAX_NAME),
        None => class.to_string(),
    };
    let names: Vec<String> = (0..n).map(name).collect();
    let widest = names.iter().map(|name| width_of(name, font)).fold(0.0, f64::max);
    let room = if has_names { widest + 16.0 } else { 16.0 };
    let (left, side) = (36.0 + room, cell * n as f64);
    let size = (left + side + 110.0, TOP + side + room + 36.0);
    let summary = format!("Confusion matrix of {} classes and the background", n - 1);
    let title = "Confusion matrix, shares of each true class";
    let mut scene = Scene::new((size.0.max(420.0) as u32, size.1 as u32), title, summary);
    cells(&mut scene, matrix, &names, (left, cell));
    frame(&mut scene, (left, side), n);
    if has_names {
        for (class, name) in names.iter().enumerate() {
            let middle = (class as f64 + 0.5) * cell + font * CAP / 2.0;
            scene.text((left - 6.0, TOP + middle), name, font, INK, Anchor::End);
            scene.upright((left + middle, TOP + side + 6.0), name, font, INK, Anchor::End);
        }
    }
    let middle = side / 2.0;
    scene.text((left + middle, TOP + side + room + 16.0), "True", TEXT, INK, Anchor::Middle);
    scene.upright((26.0, TOP + middle), "Predicted", TEXT, INK, Anchor::Middle);
    scale(&mut scene, left + side + 28.0, side);
    scene
}

fn cells(scene: &mut Scene, matrix: &ConfusionMatrix, names: &[String], (left, cell): (f64, f64)) {
    let n = names.len();
    for actual in 0..n {
        let sum: u64 = (0..n).map(|predicted| matrix.count(predicted, actual)).sum();
        for predicted in 0..n {
            let count = matrix.count(predicted, actual);
            let share = count as f64 / (sum as f64 + 1e-9);
            if share < SHOWN {
                continue;
            }
            let (x, y) = (left + actual as f64 * cell, TOP + predicted as f64 * cell);
            let hint = format!("{} where {} is labelled: {count} of {sum}", names[predicted], names[actual]);
            scene.fill([x, y, cell, cell], color(share), hint);
            if cell >= NUMBER_CELL {
                let rgb = if share > 0.55 { [255; 3] } else { INK };
                let size = (cell * 0.4).min(15.0);
                let place = (x + cell / 2.0, y + cell / 2.0 + size * CAP / 2.0);
                scene.text(place, &format!("{share:.2}"), size, rgb, Anchor::Middle);
            }
        }
    }
}

/// Lines around the cells; between them only where they are few.
fn frame(scene: &mut Scene, (left, side): (f64, f64), n: usize) {
    let step = if n <= 40 { 1 } else { n };
    for i in (0..=n).step_by(step) {
        let at = side * i as f64 / n as f64;
        let rgb = if i == 0 || i == n { MUTED } else { GRID };
        scene.line(&[(left + at, TOP), (left + at, TOP + side)], rgb, 1.0);
        scene.line(&[(left, TOP + at), (left + side, TOP + at)], rgb, 1.0);
    }
}

/// What the colours mean.
fn scale(scene: &mut Scene, left: f64, side: f64) {
    let (steps, height) = (50, side.min(400.0));
    for i in 0..steps {
        let share = 1.0 - (f64::from(i) + 0.5) / f64::from(steps);
        let top = TOP + height * f64::from(i) / f64::from(steps);
        scene.fill([left, top, 16.0, height / f64::from(steps)], color(share), String::new());
    }
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = TOP + height * (1.0 - tick) + TEXT * CAP / 2.0;
        scene.text((left + 22.0, y), &format!("{tick}"), TEXT, MUTED, Anchor::Start);
    }
}

/// From nearly white over blue to dark blue.
pub(super) fn color(share: f64) -> Rgb {
    let share = share.clamp(0.0, 1.0);
    let (from, to, part) = if share < 0.5 {
        (COLORS[0], COLORS[1], share * 2.0)
    } else {
        (COLORS[1], COLORS[2], share * 2.0 - 1.0)
    };
    std::array::from_fn(|i| (f64::from(from[i]) * (1.0 - part) + f64::from(to[i]) * part).round() as u8)
}

#[cfg(test)]
mod tests {
    use yolo_eval::Xyxy;
    use yolo_eval::metrics::{LabelledBox, ScoredBox};

    use super::*;
    use crate::plots::vector::svg;

    /// Two objects of class 0 are found, a third is taken for class 1, and one of class 1 is missed.
    fn matrix() -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(2);
        let bbox = |i: usize| Xyxy::new(100.0 * i as f32, 0.0, 100.0 * i as f32 + 50.0, 50.0);
        let found = |i: usize, class: u32| ScoredBox { bbox: bbox(i), score: 0.9, class };
        let label = |i: usize, class: u32| LabelledBox { bbox: bbox(i), class };
        let labels = [label(0, 0), label(1, 0), label(2, 0), label(3, 1)];
        matrix.add_image(&[found(0, 0), found(1, 0), found(2, 1)], &labels);
        matrix
    }

    #[test]
    fn columns_are_shares_of_the_true_class() {
        let names = ["cat".to_owned(), "dog".to_owned()];
        let svg = svg(&scene(&matrix(), &names));
        for hint in [
            "cat where cat is labelled: 2 of 3",
            "dog where cat is labelled: 1 of 3",
            "background where dog is labelled: 1 of 1",
        ] {
            assert!(svg.contains(hint), "{hint} is not in {svg}");
        }
        assert_eq!(svg.matches("is labelled").count(), 3, "cells of nothing are white");
        assert!(svg.contains(">0.67<") && svg.contains(">0.33<") && svg.contains(">1.00<"), "{svg}");
    }

    #[test]
    fn many_classes_fit_and_a_thousand_have_no_names() {
        let names: Vec<String> = (0..1000).map(|i| format!("class-{i}")).collect();
        let shown = |n: usize| {
            let scene = scene(&ConfusionMatrix::new(n), &names[..n]);
            assert!(scene.size.0 < 1200 && scene.size.1 < 1200, "{:?}", scene.size);
            svg(&scene).contains("class-79")
        };
        assert!(shown(80) && !shown(1000));
    }

    #[test]
    fn colours_go_from_light_to_dark() {
        let brightness = |share: f64| color(share).map(u32::from).iter().sum::<u32>();
        let shares: Vec<u32> = (0..=20).map(|i| brightness(f64::from(i) / 20.0)).collect();
        assert!(shares.is_sorted_by(|a, b| a > b), "{shares:?}");
    }
}
