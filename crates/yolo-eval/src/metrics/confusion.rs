//! The confusion matrix of detections.

use super::matching::iou;
use super::{LabelledBox, ScoredBox, descending};
use crate::Convention;

/// YOLOv5 ignores detections up to this score.
const SCORE_THRESHOLD: f32 = 0.25;
/// Pairs up to this IoU do not match, whatever their classes.
const IOU_THRESHOLD: f32 = 0.45;

/// Counts by predicted class (row) and labelled class (column); the last of each is the background.
///
/// By YOLOv5's rules an image without any match does not add its false detections to the background column, as there;
/// matrices are compared with its own. By [`Convention::Ultralytics`] every detection counts that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    convention: Convention,
    num_classes: usize,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// A matrix of zeros for `num_classes` classes and the background, by YOLOv5's rules.
    pub fn new(num_classes: usize) -> Self {
        Self::by(Convention::Yolov5, num_classes)
    }

    /// The same by the rules of `convention`.
    pub fn by(convention: Convention, num_classes: usize) -> Self {
        Self { convention, num_classes, counts: vec![0; (num_classes + 1) * (num_classes + 1)] }
    }

    /// Classes, without the background.
    pub const fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// How often `predicted` was detected on a label of class `actual`; `num_classes` means the background.
    ///
    /// # Panics
    /// If an index is above `num_classes`.
    pub fn count(&self, predicted: usize, actual: usize) -> u64 {
        assert!(predicted <= self.num_classes && actual <= self.num_classes, "class out of range");
        self.counts[predicted * (self.num_classes + 1) + actual]
    }

    /// The rows, one per predicted class, the background last.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.counts.chunks(self.num_classes + 1)
    }

    /// Adds one image. Detections and labels are in the same frame.
    ///
    /// By YOLOv5's rules, of the overlapping pairs, each detection keeps its best label, then each label its best
    /// detection (the first of equals both times); scores up to 0.25 do not count. By [`Convention::Ultralytics`],
    /// detections choose in descending order of score, each the label that it overlaps most of those that are left,
    /// and whatever passed the threshold of the validation counts.
    ///
    /// # Panics
    /// If a class is not below `num_classes`.
    pub fn add_image(&mut self, detections: &[ScoredBox], labels: &[LabelledBox]) {
        let background = self.num_classes;
        let (detections, matches) = match self.convention {
            Convention::Yolov5 => {
                let sure: Vec<&ScoredBox> = detections.iter().filter(|d| d.score > SCORE_THRESHOLD).collect();
                let matches = match_boxes(&sure, labels);
                (sure, matches)
            }
            Convention::Ultralytics => {
                let mut sorted: Vec<&ScoredBox> = detections.iter().collect();
                sorted.sort_by(|a, b| descending(f64::from(a.score), f64::from(b.score)));
                let matches = match_greedily(&sorted, labels);
                (sorted, matches)
            }
        };
        for (label, matched) in labels.iter().zip(&matches) {
            let predicted = matched.map_or(background, |d| detections[d].class as usize);
            self.increment(predicted, label.class as usize);
        }
        let matched: Vec<usize> = matches.into_iter().flatten().collect();
        if matched.is_empty() && self.convention == Convention::Yolov5 {
            return;
        }
        for (d, detection) in detections.iter().enumerate() {
            if !matched.contains(&d) {
                self.increment(detection.class as usize, background);
            }
        }
    }

    fn increment(&mut self, predicted: usize, actual: usize) {
        assert!(predicted <= self.num_classes && actual <= self.num_classes, "class out of range");
        self.counts[predicted * (self.num_classes + 1) + actual] += 1;
    }
}

/// For each label, the detection that is matched with it.
fn match_boxes(detections: &[&ScoredBox], labels: &[LabelledBox]) -> Vec<Option<usize>> {
    let mut matches: Vec<Option<(usize, f32)>> = vec![None; labels.len()];
    for (d, detection) in detections.iter().enumerate() {
        let mut best = None;
        for (l, label) in labels.iter().enumerate() {
            let overlap = iou(label.bbox, detection.bbox);
            if overlap > IOU_THRESHOLD && best.is_none_or(|(_, most)| overlap > most) {
                best = Some((l, overlap));
            }
        }
        if let Some((l, overlap)) = best
            && matches[l].is_none_or(|(_, most)| overlap > most)
        {
            matches[l] = Some((d, overlap));
        }
    }
    matches.into_iter().map(|matched| matched.map(|(d, _)| d)).collect()
}

/// The same where each detection, in turn, takes the label that it overlaps most of those that are left.
fn match_greedily(detections: &[&ScoredBox], labels: &[LabelledBox]) -> Vec<Option<usize>> {
    let mut matches: Vec<Option<usize>> = vec![None; labels.len()];
    for (d, detection) in detections.iter().enumerate() {
        let mut best = None;
        for (l, label) in labels.iter().enumerate().filter(|(l, _)| matches[*l].is_none()) {
            let overlap = iou(label.bbox, detection.bbox);
            if overlap > IOU_THRESHOLD && best.is_none_or(|(_, most)| overlap > most) {
                best = Some((l, overlap));
            }
        }
        if let Some((l, _)) = best {
            matches[l] = Some(d);
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Xyxy;
    use crate::metrics::matching::tests::golden_image;

    fn rows(matrix: &ConfusionMatrix) -> Vec<&[u64]> {
        matrix.rows().collect()
    }

    #[test]
    fn golden_image_counts_as_measured() {
        let (detections, labels) = golden_image();
        let mut matrix = ConfusionMatrix::new(2);
        matrix.add_image(&detections, &labels);
        assert_eq!(rows(&matrix), [[3, 0, 2], [0, 0, 1], [0, 1, 0]]);
        assert_eq!((matrix.count(0, 2), matrix.count(2, 1)), (2, 1));
    }

    #[test]
    fn false_detections_count_only_beside_a_match() {
        let [near, far] = [Xyxy::new(0.0, 0.0, 10.0, 20.0), Xyxy::new(50.0, 0.0, 60.0, 20.0)];
        let stray = ScoredBox { bbox: far, score: 0.9, class: 1 };
        let label = LabelledBox { bbox: near, class: 0 };
        let mut matrix = ConfusionMatrix::new(2);
        matrix.add_image(&[stray], &[label]);
        matrix.add_image(&[stray], &[]);
        matrix.add_image(&[], &[label]);
        assert_eq!(rows(&matrix), [[0, 0, 0], [0, 0, 0], [2, 0, 0]]);
        // Predicted as 1 on a label of class 0; detections with a low score are ignored.
        let wrong = ScoredBox { bbox: near, score: 0.8, class: 1 };
        let unsure = ScoredBox { score: 0.25, ..stray };
        matrix.add_image(&[stray, wrong, unsure], &[label]);
        assert_eq!(rows(&matrix), [[0, 0, 0], [1, 0, 1], [2, 0, 0]]);
    }

    /// The more confident of two detections takes the label although the other fits it better, and what is left over
    /// counts, however low its score and whether or not anything matches.
    #[test]
    fn by_the_other_convention_the_most_confident_detection_chooses_first() {
        let [label, loose, far] = [
            Xyxy::new(0.0, 0.0, 10.0, 20.0),
            Xyxy::new(0.0, 0.0, 10.0, 16.0),
            Xyxy::new(50.0, 0.0, 60.0, 20.0),
        ];
        let box_of = |bbox, score, class| ScoredBox { bbox, score, class };
        let detections = [box_of(label, 0.1, 0), box_of(loose, 0.2, 1)];
        let mut matrix = ConfusionMatrix::by(Convention::Ultralytics, 2);
        matrix.add_image(&detections, &[LabelledBox { bbox: label, class: 0 }]);
        assert_eq!(rows(&matrix), [[0, 0, 1], [1, 0, 0], [0, 0, 0]]);
        matrix.add_image(&[box_of(far, 0.01, 1)], &[]);
        assert_eq!(matrix.count(1, 2), 1);
    }
}
