//! The twelve numbers of a COCO evaluation, and the average precision of a category.

use serde::{Deserialize, Serialize};

use super::{Evaluation, Params};

/// COCO's twelve numbers, each in `[0, 1]`, or `-1` without ground truth to measure on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Average precision over IoU 0.50:0.95.
    pub ap: f64,
    /// Average precision at IoU 0.50.
    pub ap50: f64,
    /// Average precision at IoU 0.75.
    pub ap75: f64,
    /// Average precision on objects of at most 32² square pixels.
    pub ap_small: f64,
    /// Average precision on objects between 32² and 96² square pixels.
    pub ap_medium: f64,
    /// Average precision on objects of at least 96² square pixels.
    pub ap_large: f64,
    /// Average recall with 1 detection per image and category.
    pub ar1: f64,
    /// Average recall with 10 detections per image and category.
    pub ar10: f64,
    /// Average recall with 100 detections per image and category.
    pub ar100: f64,
    /// Average recall on small objects.
    pub ar_small: f64,
    /// Average recall on medium objects.
    pub ar_medium: f64,
    /// Average recall on large objects.
    pub ar_large: f64,
}

impl Summary {
    /// The numbers in the order of the fields, which is the order of pycocotools' `stats`.
    pub const fn values(&self) -> [f64; 12] {
        [
            self.ap,
            self.ap50,
            self.ap75,
            self.ap_small,
            self.ap_medium,
            self.ap_large,
            self.ar1,
            self.ar10,
            self.ar100,
            self.ar_small,
            self.ar_medium,
            self.ar_large,
        ]
    }

    /// The twelve lines as pycocotools prints them with COCO's own parameters.
    pub fn lines(&self) -> [String; 12] {
        self.lines_for(&Params::coco())
    }

    /// The twelve lines, naming the thresholds and limits of `params`.
    pub fn lines_for(&self, params: &Params) -> [String; 12] {
        let values = self.values();
        let mut max_dets = params.max_dets;
        max_dets.sort_unstable();
        let thresholds = &params.iou_thresholds;
        let ends = thresholds.first().zip(thresholds.last());
        let all_ious = ends.map(|(first, last)| format!("{first:.2}:{last:.2}")).unwrap_or_default();
        std::array::from_fn(|i| {
            let (title, kind) =
                if i < 6 { ("Average Precision", "(AP)") } else { ("Average Recall", "(AR)") };
            let iou = match i {
                1 => "0.50",
                2 => "0.75",
                _ => &all_ious,
            };
            let area = params.area_ranges[if matches!(i, 3..=5 | 9..=11) { i % 3 + 1 } else { 0 }].name;
            let max_det = max_dets[if matches!(i, 6 | 7) { i - 6 } else { 2 }];
            let value = values[i];
            format!(
                " {title:<18} {kind} @[ IoU={iou:<9} | area={area:>6} | maxDets={max_det:>3} ] = {value:.3}"
            )
        })
    }
}

impl Evaluation {
    /// The twelve numbers. The headline numbers use the largest limit on detections.
    ///
    /// `ap50` and `ap75` are `-1` when 0.5 or 0.75 is not among the IoU thresholds.
    pub fn summary(&self) -> Summary {
        let last = self.shape.max_dets - 1;
        Summary {
            ap: self.mean_precision(None, 0, last),
            ap50: self.mean_precision(Some(0.5), 0, last),
            ap75: self.mean_precision(Some(0.75), 0, last),
            ap_small: self.mean_precision(None, 1, last),
            ap_medium: self.mean_precision(None, 2, last),
            ap_large: self.mean_precision(None, 3, last),
            ar1: self.mean_recall(0, 0),
            ar10: self.mean_recall(0, 1),
            ar100: self.mean_recall(0, 2),
            ar_small: self.mean_recall(1, last),
            ar_medium: self.mean_recall(2, last),
            ar_large: self.mean_recall(3, last),
        }
    }

    /// Average precision over all IoU thresholds of the category at position `k` of [`Evaluation::category_ids`],
    /// all areas, the largest limit on detections; `None` without ground truth or past the last category.
    pub fn category_ap(&self, k: usize) -> Option<f64> {
        self.category_mean(k, None)
    }

    /// As [`Evaluation::category_ap`], at one IoU threshold; `None` also if that threshold was not evaluated.
    pub fn category_ap_at(&self, k: usize, iou_threshold: f64) -> Option<f64> {
        self.category_mean(k, Some(iou_threshold))
    }

    /// Position in `precision` and `scores` of one cell of the axes `[T, R, K, A, M]`.
    pub const fn precision_index(&self, t: usize, r: usize, k: usize, a: usize, m: usize) -> usize {
        let s = &self.shape;
        (((t * s.recall_thresholds + r) * s.categories + k) * s.area_ranges + a) * s.max_dets + m
    }

    /// Position in `recall` of one cell of the axes `[T, K, A, M]`.
    pub const fn recall_index(&self, t: usize, k: usize, a: usize, m: usize) -> usize {
        let s = &self.shape;
        ((t * s.categories + k) * s.area_ranges + a) * s.max_dets + m
    }

    fn category_mean(&self, k: usize, iou_threshold: Option<f64>) -> Option<f64> {
        if k >= self.shape.categories {
            return None;
        }
        let mut values = Vec::new();
        for t in self.threshold_positions(iou_threshold) {
            for r in 0..self.shape.recall_thresholds {
                values.push(self.precision[self.precision_index(t, r, k, 0, self.shape.max_dets - 1)]);
            }
        }
        Some(mean_of_valid(values)).filter(|&ap| ap > -1.0)
    }

    fn mean_precision(&self, iou_threshold: Option<f64>, a: usize, m: usize) -> f64 {
        let mut values = Vec::new();
        for t in self.threshold_positions(iou_threshold) {
            for r in 0..self.shape.recall_thresholds {
                for k in 0..self.shape.categories {
                    values.push(self.precision[self.precision_index(t, r, k, a, m)]);
                }
            }
        }
        mean_of_valid(values)
    }

    fn mean_recall(&self, a: usize, m: usize) -> f64 {
        let mut values = Vec::new();
        for t in 0..self.shape.iou_thresholds {
            for k in 0..self.shape.categories {
                values.push(self.recall[self.recall_index(t, k, a, m)]);
            }
        }
        mean_of_valid(values)
    }

    fn threshold_positions(&self, wanted: Option<f64>) -> Vec<usize> {
        let thresholds = self.params.iou_thresholds.iter().enumerate();
        thresholds.filter(|&(_, &t)| wanted.is_none_or(|wanted| t == wanted)).map(|(t, _)| t).collect()
    }
}

/// Mean of the values above -1; -1 if there are none.
fn mean_of_valid(mut values: Vec<f64>) -> f64 {
    values.retain(|&v| v > -1.0);
    if values.is_empty() { -1.0 } else { pairwise_sum(&values) / values.len() as f64 }
}

/// The sum in the order in which numpy adds a contiguous array: 8 running sums per block of at most 128, blocks
/// pairwise.
///
/// Floating-point addition is not associative, so means are equal to numpy's only in this order.
pub(crate) fn pairwise_sum(values: &[f64]) -> f64 {
    const BLOCK: usize = 128;
    const LANES: usize = 8;
    let n = values.len();
    if n < LANES {
        return values.iter().fold(0.0, |sum, v| sum + v);
    }
    if n > BLOCK {
        let half = n / 2 - (n / 2) % LANES;
        return pairwise_sum(&values[..half]) + pairwise_sum(&values[half..]);
    }
    let mut lanes = [0.0; LANES];
    let rows = values.chunks_exact(LANES);
    let rest = rows.remainder();
    for row in rows {
        for (lane, v) in lanes.iter_mut().zip(row) {
            *lane += v;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(sum, |sum, v| sum + v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_pycocotools_prints_them() {
        let v: Vec<f64> = (0..12).map(|i| f64::from(i) / 100.0).collect();
        let summary = Summary {
            ap: v[0],
            ap50: v[1],
            ap75: v[2],
            ap_small: -1.0,
            ap_medium: v[4],
            ap_large: v[5],
            ar1: v[6],
            ar10: v[7],
            ar100: v[8],
            ar_small: v[9],
            ar_medium: v[10],
            ar_large: v[11],
        };
        let expected = [
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.000",
            " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.010",
            " Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ] = 0.020",
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = -1.000",
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.040",
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = 0.050",
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.060",
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 0.070",
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.080",
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.090",
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.100",
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = 0.110",
        ];
        assert_eq!(summary.lines(), expected);
    }

    #[test]
    fn sum_adds_in_the_order_of_numpy() {
        // 1 added to 2^53 is lost, so the result shows which elements were added to which.
        let big = 9_007_199_254_740_992.0;
        assert_eq!(pairwise_sum(&[big, 1.0, 1.0]), big);
        let mut values = vec![1.0; 16];
        values[0] = big;
        assert_eq!(pairwise_sum(&values), big + 14.0);
        assert_eq!(pairwise_sum(&(1..=1000).map(f64::from).collect::<Vec<_>>()), 500_500.0);
    }
}
