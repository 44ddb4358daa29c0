//! Which detections of an image are true positives, at ten IoU thresholds.

use super::{LabelledBox, ScoredBox};
use crate::{Convention, Xyxy};

/// The thresholds: ten steps from 0.5 to 0.95, compared in `f32`.
pub const IOU_THRESHOLDS: [f32; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// Keeps the denominator of an IoU above 0.
const IOU_EPS: f32 = 1e-7;

/// For each detection, whether it is a true positive at each of [`IOU_THRESHOLDS`].
///
/// `detections` are in descending order of score. At each threshold, the candidate of a detection is the label of its
/// class with the largest IoU (the first of equals), if the IoU reaches the threshold. A label is matched to the first
/// detection whose candidate it is, not to the one that overlaps it most. A detection whose candidate is already
/// matched does not fall back to another label.
///
/// By [`Convention::Ultralytics`] it does: its candidate is the label with the largest IoU among those that are not
/// matched yet at that threshold.
pub fn match_image(
    detections: &[ScoredBox],
    labels: &[LabelledBox],
    convention: Convention,
) -> Vec<[bool; 10]> {
    match convention {
        Convention::Yolov5 => match_best(detections, labels),
        Convention::Ultralytics => match_best_left(detections, labels),
    }
}

/// The best label that is left, threshold by threshold.
fn match_best_left(detections: &[ScoredBox], labels: &[LabelledBox]) -> Vec<[bool; 10]> {
    let mut correct = vec![[false; 10]; detections.len()];
    let mut taken = vec![[false; 10]; labels.len()];
    for (detection, correct) in detections.iter().zip(&mut correct) {
        let overlaps: Vec<(usize, f32)> = labels
            .iter()
            .enumerate()
            .filter(|(_, label)| label.class == detection.class)
            .map(|(index, label)| (index, iou(label.bbox, detection.bbox)))
            .collect();
        for (t, &threshold) in IOU_THRESHOLDS.iter().enumerate() {
            let mut best: Option<(usize, f32)> = None;
            for &(label, overlap) in overlaps.iter().filter(|(label, _)| !taken[*label][t]) {
                if best.is_none_or(|(_, most)| overlap > most) {
                    best = Some((label, overlap));
                }
            }
            if let Some((label, _)) = best.filter(|(_, overlap)| *overlap >= threshold) {
                taken[label][t] = true;
                correct[t] = true;
            }
        }
    }
    correct
}

fn match_best(detections: &[ScoredBox], labels: &[LabelledBox]) -> Vec<[bool; 10]> {
    let best: Vec<Option<(usize, f32)>> = detections.iter().map(|d| best_label(d, labels)).collect();
    let mut correct = vec![[false; 10]; detections.len()];
    for (t, &threshold) in IOU_THRESHOLDS.iter().enumerate() {
        let mut taken = vec![false; labels.len()];
        for (best, correct) in best.iter().zip(&mut correct) {
            if let Some((label, iou)) = *best
                && iou >= threshold
                && !taken[label]
            {
                taken[label] = true;
                correct[t] = true;
            }
        }
    }
    correct
}

fn best_label(detection: &ScoredBox, labels: &[LabelledBox]) -> Option<(usize, f32)> {
    let mut best = None;
    for (index, label) in labels.iter().enumerate() {
        if label.class != detection.class {
            continue;
        }
        let overlap = iou(label.bbox, detection.bbox);
        if best.is_none_or(|(_, most)| overlap > most) {
            best = Some((index, overlap));
        }
    }
    best
}

/// Intersection over union in `f32`, with [`IOU_EPS`] added to the union.
pub(super) fn iou(a: Xyxy, b: Xyxy) -> f32 {
    let intersection = a.intersection(b);
    intersection / (a.area() + b.area() - intersection + IOU_EPS)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn scored(x1: f32, y1: f32, x2: f32, y2: f32, score: f32, class: u32) -> ScoredBox {
        ScoredBox { bbox: Xyxy::new(x1, y1, x2, y2), score, class }
    }

    fn labelled(x1: f32, y1: f32, x2: f32, y2: f32, class: u32) -> LabelledBox {
        LabelledBox { bbox: Xyxy::new(x1, y1, x2, y2), class }
    }

    /// The example measured on YOLOv5 v7.0: six detections, four labels.
    pub(in crate::metrics) fn golden_image() -> ([ScoredBox; 6], [LabelledBox; 4]) {
        let detections = [
            scored(10.0, 10.0, 48.0, 52.0, 0.95, 1),
            scored(10.0, 10.0, 50.0, 50.0, 0.9, 0),
            scored(12.0, 11.0, 52.0, 49.0, 0.8, 0),
            scored(100.0, 100.0, 160.0, 180.0, 0.7, 0),
            scored(102.0, 104.0, 158.0, 184.0, 0.6, 0),
            scored(98.0, 100.0, 160.0, 178.0, 0.5, 0),
        ];
        let labels = [
            labelled(11.0, 10.0, 51.0, 50.0, 0),
            labelled(100.0, 100.0, 160.0, 180.0, 0),
            labelled(101.0, 102.0, 161.0, 182.0, 0),
            labelled(200.0, 200.0, 220.0, 220.0, 1),
        ];
        (detections, labels)
    }

    #[test]
    fn thresholds_are_those_of_an_f32_linspace() {
        let printed = "0.50000000 0.55000001 0.60000002 0.64999998 0.69999999 \
                       0.75000000 0.80000001 0.85000002 0.89999998 0.94999999";
        assert_eq!(IOU_THRESHOLDS.map(|t| format!("{:.8}", f64::from(t))).join(" "), printed);
    }

    #[test]
    fn golden_image_matches_as_measured() {
        let (detections, labels) = golden_image();
        let counts: Vec<usize> = match_image(&detections, &labels, Convention::Yolov5)
            .iter()
            .map(|c| c.iter().filter(|&&c| c).count())
            .collect();
        assert_eq!(counts, [0, 10, 0, 10, 8, 0]);
        assert_eq!(match_image(&detections, &labels, Convention::Yolov5)[4], std::array::from_fn(|t| t < 8));
    }

    #[test]
    fn a_label_goes_to_the_most_confident_detection_not_to_the_closest() {
        let label = labelled(0.0, 0.0, 10.0, 20.0, 3);
        let [loose, exact] = [scored(0.0, 0.0, 10.0, 16.0, 0.9, 3), scored(0.0, 0.0, 10.0, 20.0, 0.8, 3)];
        let correct = match_image(&[loose, exact], &[label], Convention::Yolov5);
        // The first has an IoU of 0.8, so it is matched up to and including that threshold.
        assert_eq!(correct[0], std::array::from_fn(|t| t < 7));
        assert_eq!(correct[1], std::array::from_fn(|t| t >= 7));
    }

    #[test]
    fn a_detection_whose_label_is_taken_does_not_fall_back() {
        let labels = [labelled(0.0, 0.0, 10.0, 20.0, 0), labelled(0.0, 2.0, 10.0, 22.0, 0)];
        let detections = [scored(0.0, 0.0, 10.0, 20.0, 0.9, 0), scored(0.0, 0.5, 10.0, 20.5, 0.8, 0)];
        let correct = match_image(&detections, &labels, Convention::Yolov5);
        assert!(correct[0][0] && !correct[1][0]);
        // By the other convention it does, up to the threshold that its overlap with the label that is left reaches: 0.86.
        let correct = match_image(&detections, &labels, Convention::Ultralytics);
        assert_eq!(correct[0], [true; 10]);
        assert_eq!(correct[1], std::array::from_fn(|t| t < 8));
    }

    #[test]
    fn only_boxes_of_the_same_class_match() {
        let detection = scored(0.0, 0.0, 10.0, 20.0, 0.9, 1);
        assert_eq!(
            match_image(&[detection], &[labelled(0.0, 0.0, 10.0, 20.0, 0)], Convention::Yolov5),
            [[false; 10]]
        );
        assert_eq!(match_image(&[detection], &[], Convention::Yolov5), [[false; 10]]);
        assert!(match_image(&[], &[labelled(0.0, 0.0, 10.0, 20.0, 0)], Convention::Yolov5).is_empty());
    }

    #[test]
    fn iou_of_equal_unit_boxes_is_just_below_one() {
        let unit = Xyxy::new(0.0, 0.0, 1.0, 1.0);
        assert_eq!(iou(unit, unit), 0.999_999_9);
        assert_eq!(iou(unit, Xyxy::new(2.0, 0.0, 3.0, 1.0)), 0.0);
    }
}
