//! Precision, recall and F1 over confidence, and precision over recall: a line per class and their mean.

use yolo_draw::class_color;
use yolo_eval::metrics::{ClassCurves, NativeReport};

use super::scene::{CAP, INK, MUTED, Scene, TEXT, fitted};
use crate::format::class_name;
use crate::scale::{Plot, round_ticks};
use crate::svg::{Anchor, Rgb};

const SIZE: (u32, u32) = (900, 600);
const PLOT: Plot = Plot { left: 72.0, top: 52.0, width: 560.0, height: 480.0, x: (0.0, 1.0), y: (0.0, 1.0) };
const LEGEND: f64 = 652.0;
/// Most classes that have a colour and a name each.
const NAMED_CLASSES: usize = 20;
const MEAN: Rgb = [0, 60, 200];
const CROWD: Rgb = [190, 199, 212];

/// One of the four plots.
struct Kind {
    file: &'static str,
    title: &'static str,
    axes: [&'static str; 2],
    of_class: fn(&ClassCurves) -> &[f64],
    is_over_confidence: bool,
}

const KINDS: [Kind; 4] = [
    Kind {
        file: "PR_curve",
        title: "Precision-recall curve",
        axes: ["Recall", "Precision"],
        of_class: |curves| &curves.precision_at_recall,
        is_over_confidence: false,
    },
    Kind {
        file: "F1_curve",
        title: "F1-confidence curve",
        axes: ["Confidence", "F1"],
        of_class: |curves| &curves.f1,
        is_over_confidence: true,
    },
    Kind {
        file: "P_curve",
        title: "Precision-confidence curve",
        axes: ["Confidence", "Precision"],
        of_class: |curves| &curves.precision,
        is_over_confidence: true,
    },
    Kind {
        file: "R_curve",
        title: "Recall-confidence curve",
        axes: ["Confidence", "Recall"],
        of_class: |curves| &curves.recall,
        is_over_confidence: true,
    },
];

/// The plots with the names of their files; none where nothing is labelled.
pub(crate) fn all(report: &NativeReport, class_names: &[String]) -> Vec<(&'static str, Scene)> {
    if report.curves.per_class.is_empty() {
        return Vec::new();
    }
    KINDS.iter().map(|kind| (kind.file, scene(kind, report, class_names))).collect()
}

fn scene(kind: &Kind, report: &NativeReport, class_names: &[String]) -> Scene {
    let curves = &report.curves;
    let n_classes = curves.per_class.len();
    let summary = format!("{} of {n_classes} classes at IoU 0.5", kind.title);
    let mut scene = Scene::new(SIZE, kind.title, summary);
    let ticks = round_ticks(Some((0.0, 1.0)), 5);
    scene.axes(&PLOT, &ticks, &ticks, kind.axes);
    let is_crowd = n_classes > NAMED_CLASSES;
    let color = |class: u32| if is_crowd { CROWD } else { class_color(class as usize) };
    for class in &curves.per_class {
        let width = if is_crowd { 1.0 } else { 1.5 };
        scene.line(&placed(&curves.x, (kind.of_class)(class)), color(class.class), width);
    }
    let mean = curves.mean(kind.of_class);
    if kind.is_over_confidence {
        let x = PLOT.x(curves.best_confidence());
        scene.dashes((x, PLOT.top), (x, PLOT.bottom()), MUTED, 1.0);
    }
    scene.line(&placed(&curves.x, &mean), MEAN, 3.0);
    legend(&mut scene, kind, report, class_names, &mean, &color);
    scene
}

fn legend(
    scene: &mut Scene,
    kind: &Kind,
    report: &NativeReport,
    class_names: &[String],
    mean: &[f64],
    color: &dyn Fn(u32) -> Rgb,
) {
    let curves = &report.curves;
    let best = curves.best_confidence();
    let all = if kind.is_over_confidence {
        let value = mean.get(curves.best_f1_index).copied().unwrap_or(0.0);
        format!("all classes {value:.2} at {best:.3}")
    } else {
        format!("all classes {:.3} mAP@0.5", report.map50)
    };
    let mut y = PLOT.top + 8.0;
    let mut entry = |text: &str, rgb: Rgb, width: f64| {
        scene.line(&[(LEGEND, y), (LEGEND + 24.0, y)], rgb, width);
        let room = f64::from(SIZE.0) - LEGEND - 42.0;
        let place = (LEGEND + 32.0, y + TEXT * CAP / 2.0);
        scene.text(place, &fitted(text, TEXT, room), TEXT, INK, Anchor::Start);
        y += 20.0;
    };
    entry(&all, MEAN, 3.0);
    if curves.per_class.len() > NAMED_CLASSES {
        entry(&format!("each of {} classes", curves.per_class.len()), CROWD, 1.0);
    } else {
        for metrics in &report.per_class {
            let name = class_name(class_names, metrics.class);
            let name = if kind.is_over_confidence {
                name.to_owned()
            } else {
                format!("{name} {:.3}", metrics.map50)
            };
            entry(&name, color(metrics.class), 1.5);
        }
    }
    if kind.is_over_confidence {
        let place = (LEGEND, y + 14.0);
        scene.text(place, &format!("dashed: confidence {best:.3},"), TEXT, MUTED, Anchor::Start);
        scene.text((place.0, place.1 + 18.0), "where mean F1 is largest; P and", TEXT, MUTED, Anchor::Start);
        scene.text((place.0, place.1 + 36.0), "R of the table are read there", TEXT, MUTED, Anchor::Start);
    }
}

fn placed(x: &[f64], y: &[f64]) -> Vec<(f64, f64)> {
    x.iter().zip(y).map(|(&x, &y)| (PLOT.x(x), PLOT.y(y))).collect()
}

#[cfg(test)]
mod tests {
    use yolo_eval::metrics::{MatchedDetection, ap::ap_per_class};

    use super::*;
    use crate::plots::vector::svg;
    use yolo_eval::Convention;

    fn report(n_classes: u32) -> NativeReport {
        let detection = |i: u32| MatchedDetection {
            score: 0.9 - f64::from(i) / 1000.0,
            class: i % n_classes,
            correct: [!i.is_multiple_of(3); 10],
        };
        let targets: Vec<u32> = (0..4 * n_classes).map(|i| i % n_classes).collect();
        ap_per_class((0..6 * n_classes).map(detection).collect(), &targets, Convention::Yolov5)
    }

    fn drawn(n_classes: u32, file: &str) -> String {
        let names: Vec<String> = (0..n_classes).map(|i| format!("class-{i}")).collect();
        let plots = all(&report(n_classes), &names);
        let scene = plots.into_iter().find(|(name, _)| *name == file).map(|(_, scene)| scene);
        scene.map(|scene| svg(&scene)).unwrap_or_default()
    }

    #[test]
    fn few_classes_have_names_and_many_share_a_colour() {
        let few = drawn(3, "PR_curve");
        let report = report(3);
        assert!(few.contains(&format!("all classes {:.3} mAP@0.5", report.map50)), "{few}");
        for class in &report.per_class {
            assert!(few.contains(&format!("class-{} {:.3}", class.class, class.map50)), "{few}");
        }
        let many = drawn(30, "PR_curve");
        assert!(many.contains("each of 30 classes") && !many.contains("class-7"), "{many}");
        assert_eq!(many.matches("stroke=\"#bec7d4\"").count(), 31);
    }

    #[test]
    fn curves_over_confidence_mark_where_the_table_is_read() {
        for file in ["F1_curve", "P_curve", "R_curve"] {
            let svg = drawn(2, file);
            assert!(svg.contains(&format!(" at {:.3}<", report(2).curves.best_confidence())), "{svg}");
            assert!(svg.contains("dashed: confidence"), "{svg}");
        }
    }

    #[test]
    fn nothing_labelled_gives_no_curves() {
        assert!(all(&NativeReport::default(), &[]).is_empty());
    }
}
