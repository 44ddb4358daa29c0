//! Pairs detections with ground truth, one cell (image and category) at a time.

use rayon::prelude::*;

use super::{Detection, GroundTruth, Params};
use crate::Ltwh;

/// Cells are small, so threads get this many at a time.
const CELLS_PER_TASK: usize = 64;

/// A ground-truth box of one category.
#[derive(Clone, Copy, Debug)]
pub(super) struct GtBox {
    /// Position of its image among the evaluated images.
    image: usize,
    bbox: Ltwh,
    area: f64,
    iscrowd: bool,
}

/// A detected box of one category.
#[derive(Clone, Copy, Debug)]
pub(super) struct DtBox {
    /// Position of its image among the evaluated images.
    image: usize,
    bbox: Ltwh,
    score: f64,
}

/// All boxes of one category, in file order.
#[derive(Clone, Debug, Default)]
pub(super) struct CategoryBoxes {
    gts: Vec<GtBox>,
    dts: Vec<DtBox>,
}

/// The outcome of a detection at one area range and IoU threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    FalsePositive,
    TruePositive,
    /// Matched to an ignored ground truth, or unmatched and itself outside the area range.
    Ignored,
}

/// The matches of one cell.
#[derive(Clone, Debug)]
pub(super) struct CellMatches {
    /// Scores of the kept detections, descending.
    pub(super) scores: Vec<f64>,
    /// Axes `[D, A, T]` with D the kept detections.
    pub(super) outcomes: Vec<Outcome>,
    /// Ground truths that count, per area range.
    pub(super) gt_counts: Vec<usize>,
}

/// Sorts boxes into categories, keeping file order; also counts the detections of unknown categories.
///
/// Boxes on images outside `image_ids` are left out (and not counted). Both id lists are ascending.
pub(super) fn group_by_category(
    gt: &GroundTruth,
    dt: &[Detection],
    image_ids: &[i64],
    category_ids: &[i64],
) -> (Vec<CategoryBoxes>, usize) {
    let mut groups = vec![CategoryBoxes::default(); category_ids.len()];
    for a in gt.annotations() {
        let (Ok(image), Ok(k)) =
            (image_ids.binary_search(&a.image_id), category_ids.binary_search(&a.category_id))
        else {
            continue;
        };
        groups[k].gts.push(GtBox { image, bbox: a.bbox, area: a.area, iscrowd: a.iscrowd });
    }
    let mut unknown_category_count = 0;
    for d in dt {
        let Ok(image) = image_ids.binary_search(&d.image_id) else { continue };
        match category_ids.binary_search(&d.category_id) {
            Ok(k) => groups[k].dts.push(DtBox { image, bbox: d.bbox, score: d.score }),
            Err(_) => unknown_category_count += 1,
        }
    }
    (groups, unknown_category_count)
}

/// Matches every cell of a category; cells come in the order of the images.
///
/// Empty if the category has no ground truth, because it has no precision or recall then.
pub(super) fn match_category(mut boxes: CategoryBoxes, params: &Params) -> Vec<CellMatches> {
    if boxes.gts.is_empty() {
        return Vec::new();
    }
    // Both sorts are stable: equal scores keep file order, ground truths keep file order inside a cell.
    boxes.gts.sort_by_key(|gt| gt.image);
    boxes.dts.sort_by(|a, b| a.image.cmp(&b.image).then(descending(a.score, b.score)));
    cells(&boxes)
        .par_iter()
        .with_min_len(CELLS_PER_TASK)
        .map(|&(gts, dts)| match_cell(gts, dts, params))
        .collect()
}

/// Larger first; scores are never NaN here.
pub(super) fn descending(a: f64, b: f64) -> std::cmp::Ordering {
    b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal)
}

/// Splits boxes that are sorted by image into one pair of slices for each image that has boxes.
fn cells(boxes: &CategoryBoxes) -> Vec<(&[GtBox], &[DtBox])> {
    let (mut gts, mut dts) = (&boxes.gts[..], &boxes.dts[..]);
    let mut cells = Vec::new();
    while let Some(image) =
        gts.first().map(|gt| gt.image).into_iter().chain(dts.first().map(|dt| dt.image)).min()
    {
        let gt_count = gts.iter().take_while(|gt| gt.image == image).count();
        let dt_count = dts.iter().take_while(|dt| dt.image == image).count();
        cells.push((&gts[..gt_count], &dts[..dt_count]));
        (gts, dts) = (&gts[gt_count..], &dts[dt_count..]);
    }
    cells
}

/// A ground truth that a detection may match at the lowest threshold.
#[derive(Clone, Copy)]
struct Candidate {
    gt: usize,
    iou: f64,
}

/// Greedy matching in the order of `dts`, which is descending by score.
fn match_cell(gts: &[GtBox], dts: &[DtBox], params: &Params) -> CellMatches {
    let limit = params.max_dets.iter().copied().max().unwrap_or(0);
    let dts = &dts[..dts.len().min(limit)];
    let lowest = params.iou_thresholds.iter().copied().fold(f64::INFINITY, f64::min);
    let candidates: Vec<(usize, Vec<Candidate>)> = dts
        .iter()
        .enumerate()
        .map(|(d, dt)| (d, candidates(dt, gts, match_floor(lowest))))
        .filter(|(_, of_dt)| !of_dt.is_empty())
        .collect();

    let (areas, thresholds) = (params.area_ranges.len(), params.iou_thresholds.len());
    let mut outcomes = unmatched_outcomes(dts, params);
    let mut gt_counts = Vec::with_capacity(areas);
    let mut taken = vec![false; gts.len()];
    for (a, range) in params.area_ranges.iter().enumerate() {
        let ignored: Vec<bool> = gts.iter().map(|gt| gt.iscrowd || !range.contains(gt.area)).collect();
        gt_counts.push(ignored.iter().filter(|&&ignored| !ignored).count());
        for (t, &threshold) in params.iou_thresholds.iter().enumerate() {
            taken.fill(false);
            let floor = match_floor(threshold);
            for (d, of_dt) in &candidates {
                let free = |gt: usize| gts[gt].iscrowd || !taken[gt];
                // An ignored ground truth matches only if no other does.
                let matched = best(of_dt, floor, |gt| !ignored[gt] && free(gt))
                    .or_else(|| best(of_dt, floor, |gt| ignored[gt] && free(gt)));
                let Some(gt) = matched else { continue };
                taken[gt] = true;
                outcomes[(d * areas + a) * thresholds + t] =
                    if ignored[gt] { Outcome::Ignored } else { Outcome::TruePositive };
            }
        }
    }
    CellMatches { scores: dts.iter().map(|dt| dt.score).collect(), outcomes, gt_counts }
}

/// The outcome of every detection if nothing matched it, axes `[D, A, T]`.
fn unmatched_outcomes(dts: &[DtBox], params: &Params) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(dts.len() * params.area_ranges.len() * params.iou_thresholds.len());
    for dt in dts {
        for range in &params.area_ranges {
            let inside = range.contains(dt.bbox.w * dt.bbox.h);
            let outcome = if inside { Outcome::FalsePositive } else { Outcome::Ignored };
            outcomes.extend(std::iter::repeat_n(outcome, params.iou_thresholds.len()));
        }
    }
    outcomes
}

/// The lowest IoU that is a match at a threshold; below 1, so that equal boxes match at threshold 1.
fn match_floor(threshold: f64) -> f64 {
    threshold.min(1.0 - 1e-10)
}

/// The allowed candidate with the highest IoU; on a tie, the later ground truth.
fn best(candidates: &[Candidate], floor: f64, allowed: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut best, mut matched) = (floor, None);
    for &Candidate { gt, iou } in candidates {
        if iou >= best && allowed(gt) {
            (best, matched) = (iou, Some(gt));
        }
    }
    matched
}

fn candidates(dt: &DtBox, gts: &[GtBox], floor: f64) -> Vec<Candidate> {
    let ious = gts.iter().map(|gt| iou(dt.bbox, gt.bbox, gt.iscrowd)).enumerate();
    ious.filter(|&(_, iou)| iou >= floor).map(|(gt, iou)| Candidate { gt, iou }).collect()
}

/// Intersection over union, or over the area of the detection if the ground truth is a crowd.
///
/// The order of operations is part of the contract: results are compared bit by bit.
fn iou(dt: Ltwh, gt: Ltwh, iscrowd: bool) -> f64 {
    let w = (dt.left + dt.w).min(gt.left + gt.w) - dt.left.max(gt.left);
    let h = (dt.top + dt.h).min(gt.top + gt.h) - dt.top.max(gt.top);
    if w <= 0.0 || h <= 0.0 {
        return 0.0;
    }
    let intersection = w * h;
    let dt_area = dt.w * dt.h;
    let union = if iscrowd { dt_area } else { dt_area + gt.w * gt.h - intersection };
    intersection / union
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ltwh(left: f64, top: f64, w: f64, h: f64) -> Ltwh {
        Ltwh { left, top, w, h }
    }

    fn gt(bbox: Ltwh, iscrowd: bool) -> GtBox {
        GtBox { image: 0, bbox, area: bbox.w * bbox.h, iscrowd }
    }

    fn dt(bbox: Ltwh, score: f64) -> DtBox {
        DtBox { image: 0, bbox, score }
    }

    /// Outcomes at area range `a` and IoU 0.5.
    fn outcomes_at(matches: &CellMatches, a: usize) -> Vec<Outcome> {
        matches.outcomes.chunks(40).map(|of_dt| of_dt[a * 10]).collect()
    }

    #[test]
    fn iou_is_over_the_detection_for_crowds() {
        let (a, b) = (ltwh(0.0, 0.0, 4.0, 10.0), ltwh(2.0, 5.0, 4.0, 10.0));
        assert_eq!(iou(a, b, false), 10.0 / 70.0);
        assert_eq!(iou(a, b, true), 10.0 / 40.0);
        assert_eq!(iou(a, ltwh(4.0, 0.0, 4.0, 10.0), false), 0.0);
    }

    #[test]
    fn iou_adds_the_areas_before_it_subtracts_the_intersection() {
        // Any other order gives 0.485_869_722_026_073_7 here.
        let found = iou(ltwh(35.1, 44.0, 53.9, 44.9), ltwh(29.6, 44.7, 38.4, 38.9), false);
        assert_eq!(found, 0.485_869_722_026_073_65);
    }

    #[test]
    fn a_crowd_absorbs_many_detections() {
        let gts = [gt(ltwh(0.0, 0.0, 100.0, 50.0), true)];
        let dts = [
            dt(ltwh(0.0, 0.0, 10.0, 5.0), 0.9),
            dt(ltwh(20.0, 0.0, 10.0, 5.0), 0.8),
            dt(ltwh(200.0, 0.0, 10.0, 5.0), 0.7),
        ];
        let matches = match_cell(&gts, &dts, &Params::coco());
        assert_eq!(matches.gt_counts, [0; 4]);
        use Outcome::{FalsePositive, Ignored};
        assert_eq!(outcomes_at(&matches, 0), [Ignored, Ignored, FalsePositive]);
    }

    #[test]
    fn a_ground_truth_outside_the_area_range_absorbs_only_one_detection() {
        // Area 1200 is medium; both detections (area 800) are small and overlap it with IoU 2/3.
        let gts = [gt(ltwh(0.0, 0.0, 60.0, 20.0), false)];
        let dts = [dt(ltwh(0.0, 0.0, 40.0, 20.0), 0.9), dt(ltwh(20.0, 0.0, 40.0, 20.0), 0.8)];
        let matches = match_cell(&gts, &dts, &Params::coco());
        assert_eq!(matches.gt_counts, [1, 0, 1, 0]);
        assert_eq!(outcomes_at(&matches, 1), [Outcome::Ignored, Outcome::FalsePositive]);
        assert_eq!(outcomes_at(&matches, 2), [Outcome::TruePositive, Outcome::Ignored]);
    }

    #[test]
    fn later_ground_truth_wins_an_iou_tie() {
        let gts = [gt(ltwh(0.0, 0.0, 10.0, 6.0), false), gt(ltwh(4.0, 0.0, 10.0, 6.0), false)];
        // The first detection overlaps both by 8 of 12; the second only the first ground truth well enough.
        let dts = [dt(ltwh(2.0, 0.0, 10.0, 6.0), 0.9), dt(ltwh(0.0, 0.0, 10.0, 6.0), 0.8)];
        let matches = match_cell(&gts, &dts, &Params::coco());
        assert_eq!(outcomes_at(&matches, 0), [Outcome::TruePositive, Outcome::TruePositive]);
        let swapped = [gts[1], gts[0]];
        let matches = match_cell(&swapped, &dts, &Params::coco());
        assert_eq!(outcomes_at(&matches, 0), [Outcome::TruePositive, Outcome::FalsePositive]);
    }

    #[test]
    fn an_ignored_ground_truth_matches_only_if_no_other_does() {
        let gts = [gt(ltwh(0.0, 0.0, 10.0, 8.0), true), gt(ltwh(0.0, 0.0, 10.0, 12.0), false)];
        let dts = [dt(ltwh(0.0, 0.0, 10.0, 8.0), 0.9)];
        let matches = match_cell(&gts, &dts, &Params::coco());
        let at_05_and_07 = [matches.outcomes[0], matches.outcomes[4]];
        assert_eq!(at_05_and_07, [Outcome::TruePositive, Outcome::Ignored]);
    }

    #[test]
    fn only_the_hundred_best_detections_of_a_cell_are_kept() {
        let dts: Vec<DtBox> =
            (0..130).map(|i| dt(ltwh(0.0, 0.0, 5.0, 9.0), 1.0 - f64::from(i) / 200.0)).collect();
        let matches = match_cell(&[], &dts, &Params::coco());
        assert_eq!(matches.scores.len(), 100);
    }
}
