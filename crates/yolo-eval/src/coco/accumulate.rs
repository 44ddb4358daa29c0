//! Turns the matches of a category into precision at fixed recalls.

use rayon::prelude::*;

use super::Params;
use super::matching::{CellMatches, Outcome, descending};

/// The curves of one category; `-1` in area ranges without ground truth.
#[derive(Clone, Debug)]
pub(super) struct CategoryCurves {
    /// Axes `[T, R, A, M]`.
    pub(super) precision: Vec<f64>,
    /// Axes `[T, A, M]`.
    pub(super) recall: Vec<f64>,
    /// Axes `[T, R, A, M]`.
    pub(super) scores: Vec<f64>,
}

/// The kept detections of a category over all images, descending by score; ties in order of image, then rank.
struct Ranking {
    scores: Vec<f64>,
    /// Rank of each detection inside its cell, from 0.
    ranks: Vec<usize>,
    /// Axes `[D, A, T]`.
    outcomes: Vec<Outcome>,
}

/// One precision–recall curve, sampled at the recall thresholds.
struct Curve {
    precision: Vec<f64>,
    scores: Vec<f64>,
    recall: f64,
}

/// Curves of a category from its cells, which are in the order of the images.
pub(super) fn accumulate(cells: &[CellMatches], params: &Params) -> CategoryCurves {
    let (t_len, r_len) = (params.iou_thresholds.len(), params.recall_thresholds.len());
    let (a_len, m_len) = (params.area_ranges.len(), params.max_dets.len());
    let mut curves = CategoryCurves {
        precision: vec![-1.0; t_len * r_len * a_len * m_len],
        recall: vec![-1.0; t_len * a_len * m_len],
        scores: vec![-1.0; t_len * r_len * a_len * m_len],
    };
    let gt_count = |a: usize| cells.iter().map(|cell| cell.gt_counts[a]).sum::<usize>();
    let gt_counts: Vec<usize> = (0..a_len).map(gt_count).collect();
    if gt_counts.iter().all(|&count| count == 0) {
        return curves;
    }
    let ranking = rank(cells, a_len * t_len);
    let jobs: Vec<(usize, usize)> =
        (0..a_len).filter(|&a| gt_counts[a] > 0).flat_map(|a| (0..t_len).map(move |t| (a, t))).collect();
    let done: Vec<_> = jobs
        .into_par_iter()
        .map(|(a, t)| {
            let column = a * t_len + t;
            (a, t, params.max_dets.map(|m| curve(&ranking, column, m, gt_counts[a], params)))
        })
        .collect();
    for (a, t, by_limit) in done {
        for (m, curve) in by_limit.into_iter().enumerate() {
            curves.recall[(t * a_len + a) * m_len + m] = curve.recall;
            for r in 0..r_len {
                let at = ((t * r_len + r) * a_len + a) * m_len + m;
                curves.precision[at] = curve.precision[r];
                curves.scores[at] = curve.scores[r];
            }
        }
    }
    curves
}

/// Sorts the detections of all cells by score, stably. `columns` is the product of the axes A and T.
fn rank(cells: &[CellMatches], columns: usize) -> Ranking {
    let concatenated: Vec<(f64, usize, &[Outcome])> = cells
        .iter()
        .flat_map(|cell| {
            let rows = cell.outcomes.chunks(columns);
            cell.scores.iter().zip(rows).enumerate().map(|(rank, (&score, row))| (score, rank, row))
        })
        .collect();
    let mut sorted = concatenated;
    sorted.par_sort_by(|a, b| descending(a.0, b.0));
    let mut outcomes = Vec::with_capacity(sorted.len() * columns);
    for (_, _, row) in &sorted {
        outcomes.extend_from_slice(row);
    }
    Ranking {
        scores: sorted.iter().map(|&(score, ..)| score).collect(),
        ranks: sorted.iter().map(|&(_, rank, _)| rank).collect(),
        outcomes,
    }
}

/// The curve of one column (area range and IoU threshold) with at most `max_det` detections per cell.
///
/// Only true positives are points of the curve: between them neither recall nor precision rises, so neither the
/// first index that reaches a recall nor the maximum to its right can lie there.
fn curve(ranking: &Ranking, column: usize, max_det: usize, gt_count: usize, params: &Params) -> Curve {
    let columns = ranking.outcomes.len() / ranking.scores.len().max(1);
    let (mut precision, mut scores) = (Vec::new(), Vec::new());
    let (mut tp, mut fp, mut first_score) = (0_u32, 0_u32, None);
    for (d, &rank) in ranking.ranks.iter().enumerate() {
        if rank >= max_det {
            continue;
        }
        first_score.get_or_insert(ranking.scores[d]);
        match ranking.outcomes[d * columns + column] {
            Outcome::FalsePositive => fp += 1,
            Outcome::Ignored => {}
            Outcome::TruePositive => {
                tp += 1;
                precision.push(f64::from(tp) / (f64::from(fp) + f64::from(tp) + f64::EPSILON));
                scores.push(ranking.scores[d]);
            }
        }
    }
    for i in (1..precision.len()).rev() {
        precision[i - 1] = f64::max(precision[i - 1], precision[i]);
    }
    let recall: Vec<f64> = (1..=tp).map(|tp| f64::from(tp) / gt_count as f64).collect();
    sample(&precision, &scores, &recall, first_score, params)
}

/// Precision and score at the point where the recall first reaches each threshold; 0 if it never does.
///
/// The very first detection reaches a threshold of 0, whatever its outcome.
fn sample(
    precision: &[f64],
    scores: &[f64],
    recall: &[f64],
    first_score: Option<f64>,
    params: &Params,
) -> Curve {
    let thresholds = &params.recall_thresholds;
    let mut curve = Curve {
        precision: vec![0.0; thresholds.len()],
        scores: vec![0.0; thresholds.len()],
        recall: recall.last().copied().unwrap_or(0.0),
    };
    let mut reached = 0;
    for (r, &threshold) in thresholds.iter().enumerate() {
        if threshold <= 0.0 {
            curve.precision[r] = precision.first().copied().unwrap_or(0.0);
            curve.scores[r] = first_score.unwrap_or(0.0);
            continue;
        }
        while recall.get(reached).is_some_and(|&recall| recall < threshold) {
            reached += 1;
        }
        let Some(&value) = precision.get(reached) else { break };
        curve.precision[r] = value;
        curve.scores[r] = scores[reached];
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell whose outcomes are the same in every area range and at every threshold.
    fn cell(gts: usize, dts: &[(f64, Outcome)]) -> CellMatches {
        CellMatches {
            scores: dts.iter().map(|d| d.0).collect(),
            outcomes: dts.iter().flat_map(|d| std::iter::repeat_n(d.1, 40)).collect(),
            gt_counts: vec![gts; 4],
        }
    }

    #[test]
    fn precision_is_read_where_recall_first_reaches_the_threshold() {
        use Outcome::{FalsePositive, Ignored, TruePositive};
        let cells = [
            cell(2, &[(0.9, FalsePositive), (0.8, TruePositive)]),
            cell(2, &[(0.95, Ignored), (0.7, TruePositive), (0.6, FalsePositive)]),
        ];
        let curves = accumulate(&cells, &Params::coco());
        let at = |r: usize, m: usize| (curves.precision[r * 12 + m], curves.scores[r * 12 + m]);
        // Recall .25 at precision 1/2, .5 at 2/3; the envelope lifts both to 2/3.
        assert_eq!(at(0, 2), (2.0 / 3.0, 0.95));
        assert_eq!(at(25, 2), (2.0 / 3.0, 0.8));
        assert_eq!(at(50, 2), (2.0 / 3.0, 0.7));
        assert_eq!(at(51, 2), (0.0, 0.0));
        assert_eq!(curves.recall[2], 0.5);
        // With one detection per cell no true positive is left.
        assert_eq!(at(0, 0), (0.0, 0.95));
        assert_eq!(curves.recall[0], 0.0);
    }

    #[test]
    fn a_lone_true_positive_has_a_precision_just_below_one() {
        let curves = accumulate(&[cell(1, &[(0.5, Outcome::TruePositive)])], &Params::coco());
        assert_eq!(curves.precision[0], 0.999_999_999_999_999_8);
    }

    #[test]
    fn no_ground_truth_stays_minus_one_and_no_detections_are_zero() {
        let none = accumulate(&[cell(0, &[(0.5, Outcome::FalsePositive)])], &Params::coco());
        assert!(none.precision.iter().chain(&none.recall).chain(&none.scores).all(|&v| v == -1.0));
        let undetected = accumulate(&[cell(3, &[])], &Params::coco());
        assert!(undetected.precision.iter().chain(&undetected.recall).all(|&v| v == 0.0));
    }
}
