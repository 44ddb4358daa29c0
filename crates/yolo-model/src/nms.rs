//! Non-maximum suppression with YOLOv5's rules. There is no time limit: no image is ever dropped.

use crate::heads::Selection;
use crate::predictions::{Predictions, Xyxy, best_class};

/// At most this many candidates, the best ones, take part in the suppression of an image.
const MAX_CANDIDATES: usize = 30_000;
/// Boxes of different classes are moved this many pixels apart, so that they never overlap.
const CLASS_OFFSET: f32 = 7680.0;

/// A detected object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// The box, in input pixels.
    pub bbox: Xyxy,
    /// The score of the class.
    pub score: f32,
    /// Class index.
    pub class: usize,
}

/// How to suppress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NmsOptions {
    /// Scores must be above this.
    pub score_threshold: f32,
    /// A box whose IoU with a better one is above this goes.
    pub iou_threshold: f32,
    /// At most this many detections per image.
    pub max_detections: usize,
    /// Whether a box may be reported for several classes; else for its best class only.
    pub multi_label: bool,
    /// Whether boxes of different classes suppress each other.
    pub class_agnostic: bool,
}

impl NmsOptions {
    /// What YOLOv5 validates with: 0.001, 0.6, 300, several labels per box.
    pub fn validation() -> Self {
        Self {
            score_threshold: 0.001,
            iou_threshold: 0.6,
            max_detections: 300,
            multi_label: true,
            class_agnostic: false,
        }
    }

    /// What YOLOv5 detects with: 0.25, 0.45, 1000, best label.
    pub fn detection() -> Self {
        Self {
            score_threshold: 0.25,
            iou_threshold: 0.45,
            max_detections: 1000,
            multi_label: false,
            class_agnostic: false,
        }
    }
}

/// Detections of one image, best first. Equal scores keep the order of the rows, then of the classes.
///
/// IoU is `intersection / (A + B − intersection)` in `f32` on boxes that are shifted by `class · 7680`, which
/// rounds coordinates as the reference does.
pub fn nms(predictions: &Predictions, options: &NmsOptions) -> Vec<Detection> {
    let mut candidates = candidates(predictions, options);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Detection> = Vec::new();
    let mut kept_boxes: Vec<(Xyxy, f32)> = Vec::new();
    for candidate in candidates {
        if kept.len() == options.max_detections {
            break;
        }
        let offset = if options.class_agnostic { 0.0 } else { candidate.class as f32 * CLASS_OFFSET };
        let shifted = shifted(candidate.bbox, offset);
        let area = (shifted.x2 - shifted.x1) * (shifted.y2 - shifted.y1);
        if kept_boxes
            .iter()
            .all(|(other, other_area)| iou(&shifted, area, other, *other_area) <= options.iou_threshold)
        {
            kept_boxes.push((shifted, area));
            kept.push(candidate);
        }
    }
    kept
}

/// The detections of one image by `selection`.
pub fn select(predictions: &Predictions, selection: Selection, options: &NmsOptions) -> Vec<Detection> {
    match selection {
        Selection::Suppression => nms(predictions, options),
        Selection::Best => top_k(predictions, options),
    }
}

/// The detections of a head that gives every object one box, best first, without suppression.
///
/// First the rows with the highest best score are taken, [`NmsOptions::max_detections`] of them, and then as many of their
/// scores of any class, so that a row can be there for several classes; class-agnostic, a row counts by its best class only.
/// Those with a score above the threshold stay. Equal scores keep the order of the rows, then of the classes.
pub fn top_k(predictions: &Predictions, options: &NmsOptions) -> Vec<Detection> {
    let mut rows: Vec<(usize, f32)> = predictions
        .rows()
        .enumerate()
        .filter_map(|(row, (_, scores))| best_class(scores).map(|(_, score)| (row, score)))
        .collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows.truncate(options.max_detections);
    let mut kept = Vec::new();
    for (row, _) in rows {
        let (bbox, scores) = predictions.row(row);
        let bbox = Xyxy::from(bbox);
        if options.class_agnostic {
            kept.extend(best_class(scores).map(|(class, score)| Detection { bbox, score, class }));
        } else {
            let labels = scores.iter().copied().enumerate();
            kept.extend(labels.map(|(class, score)| Detection { bbox, score, class }));
        }
    }
    kept.sort_by(|a, b| b.score.total_cmp(&a.score));
    kept.truncate(options.max_detections);
    kept.retain(|detection| detection.score > options.score_threshold);
    kept
}

/// The rows as detections: one per class with a score above the threshold, or only the best class.
fn candidates(predictions: &Predictions, options: &NmsOptions) -> Vec<Detection> {
    let threshold = options.score_threshold;
    let several_labels = options.multi_label && predictions.num_classes() > 1;
    let mut candidates = Vec::new();
    for (bbox, scores) in predictions.rows() {
        let bbox = Xyxy::from(bbox);
        if several_labels {
            let labels = scores.iter().copied().enumerate().filter(|(_, score)| *score > threshold);
            candidates.extend(labels.map(|(class, score)| Detection { bbox, score, class }));
        } else if let Some((class, score)) = best_class(scores)
            && score > threshold
        {
            candidates.push(Detection { bbox, score, class });
        }
    }
    candidates
}

fn shifted(bbox: Xyxy, offset: f32) -> Xyxy {
    let Xyxy { x1, y1, x2, y2 } = bbox;
    Xyxy { x1: x1 + offset, y1: y1 + offset, x2: x2 + offset, y2: y2 + offset }
}

fn iou(a: &Xyxy, area_a: f32, b: &Xyxy, area_b: f32) -> f32 {
    let w = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let h = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let intersection = w * h;
    // Two empty boxes give 0 / 0; like the reference's comparison with NaN, that suppresses nothing.
    if intersection == 0.0 { 0.0 } else { intersection / (area_a + area_b - intersection) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Cxcywh;

    /// Golden vectors B5.
    fn golden_input() -> Predictions {
        let rows: [[f32; 8]; 6] = [
            [100.0, 100.0, 50.0, 50.0, 0.9, 0.8, 0.3, 0.0],
            [102.0, 101.0, 50.0, 50.0, 0.8, 0.7, 0.6, 0.0],
            [300.0, 300.0, 80.0, 40.0, 0.6, 0.05, 0.9, 0.5],
            [305.0, 302.0, 80.0, 40.0, 0.7, 0.1, 0.8, 0.6],
            [50.0, 50.0, 10.0, 10.0, 0.0005, 1.0, 1.0, 1.0],
            [400.0, 400.0, 20.0, 20.0, 0.3, 0.2, 0.2, 0.9],
        ];
        predictions(&rows.concat(), 3)
    }

    /// Rows of centre, size, objectness and scores before the objectness.
    fn predictions(rows: &[f32], num_classes: usize) -> Predictions {
        let mut predictions = Predictions::new(num_classes);
        for row in rows.chunks_exact(5 + num_classes) {
            let bbox = Cxcywh { cx: row[0], cy: row[1], w: row[2], h: row[3] };
            predictions.push(bbox, row[5..].iter().map(|score| score * row[4]));
        }
        predictions
    }

    fn named(detections: &[Detection]) -> Vec<(char, u32, usize)> {
        let name = |d: &Detection| match (d.bbox.x1 + d.bbox.x2) / 2.0 {
            x if x < 101.0 => 'A',
            x if x < 103.0 => 'B',
            x if x < 301.0 => 'C',
            x if x < 306.0 => 'D',
            _ => 'F',
        };
        detections.iter().map(|d| (name(d), (d.score * 100.0).round() as u32, d.class)).collect()
    }

    #[test]
    fn several_labels_per_box() {
        let options = NmsOptions { iou_threshold: 0.6, ..NmsOptions::validation() };
        let golden = [
            ('A', 72, 0),
            ('D', 56, 1),
            ('B', 48, 1),
            ('D', 42, 2),
            ('F', 27, 2),
            ('D', 7, 0),
            ('F', 6, 0),
            ('F', 6, 1),
        ];
        assert_eq!(named(&nms(&golden_input(), &options)), golden);
        let two = NmsOptions { max_detections: 2, ..options };
        assert_eq!(named(&nms(&golden_input(), &two)), golden[..2]);
    }

    #[test]
    fn best_label_only() {
        let golden = [('A', 72, 0), ('D', 56, 1), ('F', 27, 2)];
        assert_eq!(named(&nms(&golden_input(), &NmsOptions::detection())), golden);
        let agnostic = NmsOptions { class_agnostic: true, ..NmsOptions::detection() };
        assert_eq!(named(&nms(&golden_input(), &agnostic)), golden);
    }

    /// Two boxes of different classes in one place: only the class-agnostic rule suppresses one.
    #[test]
    fn classes_suppress_each_other_only_when_agnostic() {
        let values = vec![9.0, 30.0, 8.0, 4.0, 1.0, 0.9, 0.0, 9.0, 30.0, 8.0, 4.0, 1.0, 0.0, 0.8];
        let predictions = predictions(&values, 2);
        assert_eq!(nms(&predictions, &NmsOptions::detection()).len(), 2);
        let agnostic = NmsOptions { class_agnostic: true, ..NmsOptions::detection() };
        assert_eq!(nms(&predictions, &agnostic).len(), 1);
    }

    /// Of three rows the two with the best scores are taken, and of their scores the two best: the second class of one of them
    /// wins over the row that was left out.
    #[test]
    fn the_best_scores_of_the_best_rows_stay() {
        let rows = [
            [10.0, 10.0, 4.0, 4.0, 1.0, 0.9, 0.8],
            [20.0, 20.0, 4.0, 4.0, 1.0, 0.1, 0.7],
            [30.0, 30.0, 4.0, 4.0, 1.0, 0.0, 0.6],
        ];
        let predictions = predictions(&rows.concat(), 2);
        let options = NmsOptions { max_detections: 2, ..NmsOptions::detection() };
        let found = |options: &NmsOptions| -> Vec<(f32, usize)> {
            top_k(&predictions, options).iter().map(|detection| (detection.score, detection.class)).collect()
        };
        assert_eq!(found(&options), [(0.9, 0), (0.8, 1)]);
        assert_eq!(found(&NmsOptions { class_agnostic: true, ..options }), [(0.9, 0), (0.7, 1)]);
        assert_eq!(found(&NmsOptions { score_threshold: 0.85, ..options }), [(0.9, 0)]);
    }

    /// The offset of class 79 rounds coordinates to 1/16 px. Two boxes with an IoU of 0.5895 in exact
    /// coordinates have one of 0.5842 there, so a threshold in between tells the classes apart.
    #[test]
    fn coordinates_are_rounded_by_the_class_offset() {
        let survivors = |class: usize| {
            let row = |x: f32| {
                let mut row = vec![x, 10.03, 10.01, 10.02, 1.0];
                row.extend((0..80).map(|c| if c == class { 0.9 } else { 0.0 }));
                row
            };
            let predictions = predictions(&[row(10.02), row(12.605)].concat(), 80);
            let options = NmsOptions { iou_threshold: 0.587, ..NmsOptions::detection() };
            nms(&predictions, &options).len()
        };
        assert_eq!((survivors(0), survivors(79)), (1, 2));
    }
}
