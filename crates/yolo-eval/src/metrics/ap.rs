//! Precision, recall and average precision per class from matched detections.

use super::{MatchedDetection, descending};
use crate::Convention;
use crate::coco::{pairwise_sum, params::linspace};

/// Points of a curve over confidence or recall.
const CURVE_POINTS: usize = 1000;
/// Points of the integral of precision over recall.
const INTEGRAL_POINTS: usize = 101;
/// Width of the box filter that smooths the mean F1 before its maximum is searched: a tenth of the curve, odd.
const SMOOTHING_TAPS: usize = 101;
/// Keeps denominators above 0.
const EPS: f64 = 1e-16;

/// YOLOv5's metrics over a data set; all zero without labels or without detections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeReport {
    /// Whose rules it follows.
    pub convention: Convention,
    /// Mean precision over the classes that have labels, at the operating point.
    pub precision: f64,
    /// Mean recall over the classes that have labels, at the operating point.
    pub recall: f64,
    /// Mean average precision at IoU 0.5.
    pub map50: f64,
    /// Mean average precision over IoU 0.5:0.95.
    pub map: f64,
    /// One entry per class that has labels, ascending by class.
    pub per_class: Vec<ClassMetrics>,
    /// The curves behind the numbers.
    pub curves: Curves,
}

impl NativeReport {
    /// [`fitness`] of this report.
    pub fn fitness(&self) -> f64 {
        fitness(self.map50, self.map, self.convention)
    }
}

/// The criterion for the best checkpoint: YOLOv5's `0.1 · mAP50 + 0.9 · mAP`, the other family's mAP alone.
pub fn fitness(map50: f64, map: f64, convention: Convention) -> f64 {
    match convention {
        Convention::Yolov5 => 0.1 * map50 + 0.9 * map,
        Convention::Ultralytics => map,
    }
}

/// Metrics of one class; precision, recall, F1 and counts at the operating point shared by all classes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassMetrics {
    /// Class index.
    pub class: u32,
    /// Labels of the class.
    pub instances: usize,
    /// Share of detections that are true.
    pub precision: f64,
    /// Share of labels that are found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Average precision at IoU 0.5.
    pub map50: f64,
    /// Average precision over IoU 0.5:0.95.
    pub map: f64,
    /// Average precision at each of [`super::IOU_THRESHOLDS`].
    pub ap: [f64; 10],
    /// True positives, derived from recall.
    pub true_positives: usize,
    /// False positives, derived from precision.
    pub false_positives: usize,
}

/// Curves at IoU 0.5, each of 1000 points over `x`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// 0 to 1 in equal steps: a confidence for precision, recall and F1, a recall for the PR curve.
    pub x: Vec<f64>,
    /// One entry per class that has labels, ascending by class.
    pub per_class: Vec<ClassCurves>,
    /// Position in `x` of the operating point: the first maximum of the smoothed mean F1.
    pub best_f1_index: usize,
}

impl Curves {
    /// The confidence of the operating point.
    pub fn best_confidence(&self) -> f64 {
        self.x.get(self.best_f1_index).copied().unwrap_or(0.0)
    }

    /// The mean over classes of the curve that `of_class` picks, a value for each of `x`; zeros without classes.
    pub fn mean(&self, of_class: fn(&ClassCurves) -> &[f64]) -> Vec<f64> {
        let n_classes = self.per_class.len().max(1) as f64;
        let sum = |i: usize| self.per_class.iter().filter_map(|class| of_class(class).get(i)).sum::<f64>();
        (0..self.x.len()).map(|i| sum(i) / n_classes).collect()
    }
}

/// Curves of one class at IoU 0.5.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassCurves {
    /// Class index.
    pub class: u32,
    /// Precision over confidence.
    pub precision: Vec<f64>,
    /// Recall over confidence.
    pub recall: Vec<f64>,
    /// F1 over confidence.
    pub f1: Vec<f64>,
    /// Precision envelope over recall, for a PR plot; zeros without detections.
    pub precision_at_recall: Vec<f64>,
}

/// Computes the metrics per class from matched `detections`, which may be in any order; those of equal score keep
/// their order.
///
/// Classes without labels are left out, and so are their detections. Behind the last recall the precision falls along a line
/// to (1, 0); by [`Convention::Ultralytics`] it falls there at once.
pub fn ap_per_class(
    mut detections: Vec<MatchedDetection>,
    target_classes: &[u32],
    convention: Convention,
) -> NativeReport {
    detections.sort_by(|a, b| descending(a.score, b.score));
    let x = linspace(0.0, 1.0, CURVE_POINTS);
    let mut classes = target_classes.to_vec();
    classes.sort_unstable();
    let (mut per_class, mut curves) = (Vec::new(), Vec::new());
    for same in classes.chunk_by(|a, b| a == b) {
        let of_class: Vec<&MatchedDetection> = detections.iter().filter(|d| d.class == same[0]).collect();
        let (metrics, class_curves) = class_curves(same[0], same.len(), &of_class, &x, convention);
        per_class.push(metrics);
        curves.push(class_curves);
    }
    let best = best_f1_index(&curves);
    for (metrics, curves) in per_class.iter_mut().zip(&curves) {
        set_operating_point(metrics, curves, best);
    }
    let mean = |of: fn(&ClassMetrics) -> f64| {
        let values: Vec<f64> = per_class.iter().map(of).collect();
        if values.is_empty() { 0.0 } else { pairwise_sum(&values) / values.len() as f64 }
    };
    NativeReport {
        convention,
        precision: mean(|m| m.precision),
        recall: mean(|m| m.recall),
        map50: mean(|m| m.map50),
        map: mean(|m| m.map),
        per_class,
        curves: Curves { x, per_class: curves, best_f1_index: best },
    }
}

/// Average precisions and curves of one class; the operating point is not known yet.
fn class_curves(
    class: u32,
    instances: usize,
    detections: &[&MatchedDetection],
    x: &[f64],
    convention: Convention,
) -> (ClassMetrics, ClassCurves) {
    let mut metrics = ClassMetrics { class, instances, ..ClassMetrics::default() };
    let zeros = vec![0.0; x.len()];
    let mut curves = ClassCurves {
        class,
        precision: zeros.clone(),
        recall: zeros.clone(),
        f1: zeros.clone(),
        precision_at_recall: zeros,
    };
    if detections.is_empty() {
        return (metrics, curves);
    }
    for (t, ap) in metrics.ap.iter_mut().enumerate() {
        let (recall, precision) = cumulative(detections, t, instances);
        let (recall_envelope, precision_envelope) = envelope(&recall, &precision, convention);
        *ap = average_precision(&recall_envelope, &precision_envelope);
        if t == 0 {
            // Interpolation needs ascending abscissae: confidences are descending, so both are negated.
            let negated: Vec<f64> = detections.iter().map(|d| -d.score).collect();
            let over_confidence =
                |values: &[f64], left| x.iter().map(|&c| interpolate(-c, &negated, values, left)).collect();
            curves.recall = over_confidence(&recall, 0.0);
            curves.precision = over_confidence(&precision, 1.0);
            let pairs = curves.precision.iter().zip(&curves.recall);
            curves.f1 = pairs.map(|(p, r)| 2.0 * p * r / (p + r + EPS)).collect();
            let at = |&r: &f64| interpolate(r, &recall_envelope, &precision_envelope, precision_envelope[0]);
            curves.precision_at_recall = x.iter().map(at).collect();
        }
    }
    metrics.map50 = metrics.ap[0];
    metrics.map = pairwise_sum(&metrics.ap) / metrics.ap.len() as f64;
    (metrics, curves)
}

/// Recall and precision after each detection, at threshold `t`.
fn cumulative(detections: &[&MatchedDetection], t: usize, instances: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut tp, mut seen) = (0.0, 0.0);
    let after = |d: &&MatchedDetection| {
        tp += f64::from(u8::from(d.correct[t]));
        seen += 1.0;
        (tp / (instances as f64 + EPS), tp / seen)
    };
    detections.iter().map(after).unzip()
}

/// The curve with the point (0, 1) added in front and (1, 0) at the end, by [`Convention::Ultralytics`] behind a fall to 0 at
/// the last recall; precision is made non-increasing.
fn envelope(recall: &[f64], precision: &[f64], convention: Convention) -> (Vec<f64>, Vec<f64>) {
    let fall = match convention {
        Convention::Yolov5 => None,
        Convention::Ultralytics => recall.last().copied(),
    };
    let enclose = |first: f64, values: &[f64], behind: Option<f64>, last: f64| -> Vec<f64> {
        std::iter::once(first).chain(values.iter().copied()).chain(behind).chain([last]).collect()
    };
    let mut falling = enclose(1.0, precision, fall.map(|_| 0.0), 0.0);
    for i in (1..falling.len()).rev() {
        falling[i - 1] = f64::max(falling[i - 1], falling[i]);
    }
    (enclose(0.0, recall, fall, 1.0), falling)
}

/// Area under an [`envelope`], by trapezoids between 101 equally spaced recalls.
fn average_precision(recall: &[f64], precision: &[f64]) -> f64 {
    let x = linspace(0.0, 1.0, INTEGRAL_POINTS);
    let y: Vec<f64> = x.iter().map(|&r| interpolate(r, recall, precision, precision[0])).collect();
    let trapezoid = |(x, y): (&[f64], &[f64])| (x[1] - x[0]) * (y[1] + y[0]) / 2.0;
    let areas: Vec<f64> = x.windows(2).zip(y.windows(2)).map(trapezoid).collect();
    pairwise_sum(&areas)
}

/// Linear interpolation of `values` over ascending abscissae `xs`, which may repeat and are not empty.
///
/// Of equal abscissae the last counts. Below the first the result is `left`, above the last it is the last value, as in
/// numpy's `interp`.
fn interpolate(x: f64, xs: &[f64], values: &[f64], left: f64) -> f64 {
    let Some(j) = xs.partition_point(|&at| at <= x).checked_sub(1) else { return left };
    if j + 1 == xs.len() || xs[j] == x {
        return values[j];
    }
    let slope = (values[j + 1] - values[j]) / (xs[j + 1] - xs[j]);
    slope * (x - xs[j]) + values[j]
}

/// The first maximum of the mean F1 over the classes, smoothed.
fn best_f1_index(curves: &[ClassCurves]) -> usize {
    if curves.is_empty() {
        return 0;
    }
    let mean = |i: usize| curves.iter().map(|c| c.f1[i]).sum::<f64>() / curves.len() as f64;
    let smoothed = smooth(&(0..CURVE_POINTS).map(mean).collect::<Vec<f64>>());
    let mut best = 0;
    for (i, &value) in smoothed.iter().enumerate() {
        if value > smoothed[best] {
            best = i;
        }
    }
    best
}

/// Box filter; the ends are extended by repeating their values.
fn smooth(values: &[f64]) -> Vec<f64> {
    let half = SMOOTHING_TAPS / 2;
    let (first, last) = (values[0], values[values.len() - 1]);
    let padded: Vec<f64> = std::iter::repeat_n(first, half)
        .chain(values.iter().copied())
        .chain(std::iter::repeat_n(last, half))
        .collect();
    let weight = 1.0 / SMOOTHING_TAPS as f64;
    padded.windows(SMOOTHING_TAPS).map(|window| window.iter().map(|v| v * weight).sum()).collect()
}

fn set_operating_point(metrics: &mut ClassMetrics, curves: &ClassCurves, index: usize) {
    metrics.precision = curves.precision[index];
    metrics.recall = curves.recall[index];
    metrics.f1 = curves.f1[index];
    let tp = (metrics.recall * metrics.instances as f64).round_ties_even();
    let fp = (tp / (metrics.precision + EPS) - tp).round_ties_even();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, never negative")]
    {
        metrics.true_positives = tp as usize;
        metrics.false_positives = fp as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Xyxy;
    use crate::metrics::{LabelledBox, NativeMetrics, ScoredBox};

    fn matched(score: f64, class: u32, at_50: bool, at_55: bool) -> MatchedDetection {
        let mut correct = [false; 10];
        (correct[0], correct[1]) = (at_50, at_55);
        MatchedDetection { score, class, correct }
    }

    fn assert_printed(found: f64, printed: f64) {
        assert!((found - printed).abs() <= 0.5e-8, "{found} is not {printed}");
    }

    #[test]
    fn golden_classes_score_as_measured() {
        let detections = vec![
            matched(0.9, 0, true, true),
            matched(0.8, 0, true, false),
            matched(0.7, 0, false, false),
            matched(0.6, 1, true, true),
            matched(0.5, 1, false, false),
            matched(0.4, 0, true, false),
        ];
        let report = ap_per_class(detections, &[0, 1, 0, 0, 1, 0], Convention::Yolov5);
        let [a, b] = report.per_class[..] else { panic!("two classes") };
        assert_eq!((a.class, a.instances, b.class, b.instances), (0, 4, 1, 2));
        assert_printed(a.ap[0], 0.78);
        assert_printed(a.ap[1], 0.34);
        assert_printed(b.ap[0], 0.6225);
        assert_printed(b.ap[1], 0.6225);
        assert_printed(a.precision, 0.708_458_46);
        assert_printed(b.precision, 0.747_747_75);
        assert_printed(a.recall, 0.625_375_38);
        assert_printed(b.recall, 0.5);
        assert_printed(a.f1, 0.664_329_34);
        assert_printed(b.f1, 0.599_277_98);
        assert_eq!((a.true_positives, a.false_positives), (3, 1));
        assert_eq!((b.true_positives, b.false_positives), (1, 0));
        assert_printed(report.map50, (0.78 + 0.6225) / 2.0);
        assert_printed(report.map, (0.78 + 0.34 + 0.6225 + 0.6225) / 20.0);
        assert_printed(report.fitness(), 0.1 * report.map50 + 0.9 * report.map);
    }

    #[test]
    fn golden_curve_has_the_area_measured() {
        let (recall, precision) =
            envelope(&[0.25, 0.5, 0.5, 0.75], &[1.0, 1.0, 2.0 / 3.0, 0.75], Convention::Yolov5);
        assert!((average_precision(&recall, &precision) - 0.78).abs() < 1e-12);
    }

    /// The specification's three curves of the other convention (§8).
    #[test]
    fn by_the_other_convention_precision_falls_behind_the_last_recall() {
        let area = |recall: &[f64], precision: &[f64]| {
            let (recall, precision) = envelope(recall, precision, Convention::Ultralytics);
            average_precision(&recall, &precision)
        };
        assert!((area(&[0.25, 0.5, 0.75, 1.0], &[1.0; 4]) - 0.995).abs() < 1e-12);
        assert!((area(&[0.25, 0.5], &[1.0; 2]) - 0.495).abs() < 1e-12);
        let falling = area(&[0.25, 0.5, 0.5, 0.75], &[1.0, 1.0, 2.0 / 3.0, 0.75]);
        assert!((falling - 0.6825).abs() < 1e-12, "{falling}");
        assert_eq!(fitness(0.5, 0.25, Convention::Ultralytics), 0.25);
    }

    #[test]
    fn interpolation_takes_the_last_of_equal_abscissae() {
        let (xs, values) = ([0.0, 0.5, 0.5, 1.0], [10.0, 20.0, 30.0, 50.0]);
        let at = |x| interpolate(x, &xs, &values, -7.0);
        assert_eq!([at(-0.1), at(0.0), at(0.25), at(0.5), at(0.75)], [-7.0, 10.0, 15.0, 30.0, 40.0]);
        assert_eq!([at(1.0), at(2.0)], [50.0, 50.0]);
    }

    #[test]
    fn smoothing_keeps_a_constant_and_spreads_a_peak() {
        assert!(smooth(&[0.5; 300]).iter().all(|v| (v - 0.5).abs() < 1e-12));
        let mut peak = vec![0.0; 300];
        peak[120] = 101.0;
        let smoothed = smooth(&peak);
        assert_eq!(smoothed.len(), 300);
        let risen: Vec<usize> = (0..300).filter(|&i| smoothed[i] > 0.0).collect();
        assert_eq!((risen[0], risen.len()), (70, 101));
    }

    #[test]
    fn without_detections_or_labels_all_is_zero() {
        let bbox = Xyxy::new(0.0, 0.0, 10.0, 20.0);
        let empty = NativeMetrics::new().finish();
        assert_eq!((empty.precision, empty.recall, empty.map50, empty.map), (0.0, 0.0, 0.0, 0.0));
        assert!(empty.per_class.is_empty());

        let mut unlabelled = NativeMetrics::new();
        unlabelled.add_image(&[ScoredBox { bbox, score: 0.9, class: 0 }], &[]);
        unlabelled.add_image(&[], &[]);
        assert_eq!(unlabelled.images(), 2);
        assert_eq!(unlabelled.finish().map, 0.0);

        let mut undetected = NativeMetrics::new();
        undetected.add_image(&[], &[LabelledBox { bbox, class: 4 }]);
        assert_eq!(undetected.labels(), 1);
        let report = undetected.finish();
        let expected = ClassMetrics { class: 4, instances: 1, ..ClassMetrics::default() };
        assert_eq!(report.per_class, [expected]);
        assert_eq!((report.precision, report.map), (0.0, 0.0));
    }

    #[test]
    fn images_accumulate_and_their_detections_are_sorted() {
        let [near, far] = [Xyxy::new(0.0, 0.0, 10.0, 20.0), Xyxy::new(50.0, 0.0, 60.0, 20.0)];
        let mut metrics = NativeMetrics::new();
        let detections = [
            ScoredBox { bbox: far, score: 0.3, class: 2 },
            ScoredBox { bbox: near, score: 0.9, class: 2 },
            ScoredBox { bbox: near, score: 0.8, class: 7 },
        ];
        metrics.add_image(&detections, &[LabelledBox { bbox: near, class: 2 }]);
        metrics.add_image(&[], &[LabelledBox { bbox: far, class: 2 }]);
        let report = metrics.finish();
        assert_eq!(report.per_class.len(), 1, "class 7 has no labels");
        // Recall .5 at precision 1, then a ramp from (.5, 1), kept by the point after the false positive, to (1, 0).
        assert!((report.map50 - 0.5 - 0.125).abs() < 1e-2, "{}", report.map50);
        assert_eq!(report.per_class[0].true_positives, 1);
    }

    #[test]
    fn precision_is_one_above_the_most_confident_detection() {
        let report = ap_per_class(vec![matched(0.5, 0, true, true)], &[0], Convention::Yolov5);
        let curves = &report.curves.per_class[0];
        assert_eq!((curves.recall[999], curves.precision[999]), (0.0, 1.0));
        assert_eq!((curves.recall[0], curves.precision[0]), (1.0, 1.0));
        assert_eq!(curves.precision_at_recall[500], 1.0);
        assert!(report.curves.best_confidence() <= 0.5);
    }
}
