//! The search for the widths that meet a budget.

use super::scope::Scope;
use crate::error::Result;

/// A group whose width may change.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Its index in the coupling.
    pub(super) group: usize,
    /// Its channels, the most valuable first.
    order: Vec<usize>,
    /// The values that compete with the threshold, in this order, so not ascending.
    values: Vec<f64>,
    /// The fewest channels, before rounding.
    floor: usize,
    /// The widths that it may have, ascending; the last is its own.
    widths: Vec<usize>,
}

/// Widths that meet the budget.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Channels whose scores lie above the threshold, per candidate.
    pub(super) wanted: Vec<usize>,
    /// Channels that stay, per candidate.
    pub(super) kept: Vec<usize>,
}

impl Candidate {
    /// A group by its index and scores, of which at least `floor` channels stay, and one `unit`.
    pub(super) fn new(group: usize, scores: &[f64], scope: Scope, unit: usize, floor: usize) -> Self {
        let width = scores.len();
        let mut order: Vec<usize> = (0..width).collect();
        // Of equal scores the first go, so the last come first here.
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(b.cmp(&a)));
        let values = match scope {
            Scope::Global => order.iter().map(|&channel| scores[channel]).collect(),
            // The fraction at which the channel goes, if that is the same for all groups; the half rounds.
            Scope::Group => (0..width).rev().map(|rank| (rank as f64 + 0.5) / width as f64).collect(),
        };
        let floor = floor.max(unit).min(width);
        let mut widths: Vec<usize> = (1..).map(|n| n * unit).take_while(|&n| n < width).collect();
        widths.retain(|&n| n >= floor);
        widths.push(width);
        Self { group, order, values, floor, widths }
    }

    /// Its width before.
    pub(super) fn width(&self) -> usize {
        self.order.len()
    }

    /// The fewest channels that it may keep.
    pub(super) fn least(&self) -> usize {
        self.widths.first().copied().unwrap_or_else(|| self.width())
    }

    /// The fewest channels that it may keep, before rounding.
    pub(super) fn floor(&self) -> usize {
        self.floor
    }

    /// The channels that stay where `n` do, in ascending order.
    pub(super) fn best(&self, n: usize) -> Vec<usize> {
        let mut best = self.order[..n.min(self.width())].to_vec();
        best.sort_unstable();
        best
    }

    /// The allowed width nearest to `n`; of two as near, the larger.
    pub(super) fn allowed(&self, n: usize) -> usize {
        let nearest = self.widths.iter().rev().min_by_key(|width| width.abs_diff(n));
        nearest.copied().unwrap_or_else(|| self.width())
    }

    /// Channels above a threshold.
    fn above(&self, threshold: f64) -> usize {
        self.values.partition_point(|value| *value > threshold)
    }

    /// The next larger allowed width.
    fn wider(&self, n: usize) -> Option<usize> {
        self.widths.iter().copied().find(|&width| width > n)
    }
}

/// The lowest threshold whose cost is within the budget, then all single steps of width that still fit. `cost`
/// must not grow when a width shrinks; the least widths must fit.
pub(super) fn search(
    candidates: &[Candidate],
    budget: f64,
    cost: &mut dyn FnMut(&[usize]) -> Result<f64>,
) -> Result<Found> {
    let mut thresholds: Vec<f64> = candidates.iter().flat_map(|c| c.values.iter().copied()).collect();
    thresholds.push(f64::NEG_INFINITY);
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    let at = |index: usize| -> (Vec<usize>, Vec<usize>) {
        let wanted: Vec<usize> = candidates.iter().map(|c| c.above(thresholds[index])).collect();
        let kept = candidates.iter().zip(&wanted).map(|(c, &n)| c.allowed(n)).collect();
        (wanted, kept)
    };
    // The last threshold leaves the least widths, which fit.
    let (mut low, mut high) = (0, thresholds.len() - 1);
    while low < high {
        let middle = (low + high) / 2;
        if cost(&at(middle).1)? <= budget { high = middle } else { low = middle + 1 }
    }
    let (wanted, mut kept) = at(low);
    refill(candidates, &mut kept, budget, cost)?;
    Ok(Found { wanted, kept })
}

/// Widens candidates step by step, the best removed channel first, as long as the budget holds.
fn refill(
    candidates: &[Candidate],
    kept: &mut [usize],
    budget: f64,
    cost: &mut dyn FnMut(&[usize]) -> Result<f64>,
) -> Result<()> {
    let mut open: Vec<usize> = (0..candidates.len()).filter(|&i| kept[i] < candidates[i].width()).collect();
    loop {
        let value = |&i: &usize| candidates[i].values[kept[i]];
        let next = open.iter().copied().max_by(|a, b| value(a).total_cmp(&value(b)).then(b.cmp(a)));
        let Some(i) = next else { return Ok(()) };
        let before = kept[i];
        kept[i] = candidates[i].wider(before).unwrap_or(before);
        if cost(kept)? > budget {
            // What does not fit now will not fit once others are wider.
            kept[i] = before;
            open.retain(|&other| other != i);
        } else if kept[i] == candidates[i].width() {
            open.retain(|&other| other != i);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn candidate(width: usize, unit: usize, floor: usize) -> Candidate {
        Candidate::new(0, &vec![1.0; width], Scope::Global, unit, floor)
    }

    #[test]
    fn widths_are_rounded_to_the_nearest_multiple_and_halves_up() {
        // Width, unit, fewest channels; wanted, kept.
        let cases = [
            ((32, 8, 1), [(32, 32), (29, 32), (28, 32), (27, 24), (20, 24), (19, 16), (11, 8), (0, 8)]),
            ((20, 8, 1), [(20, 20), (19, 20), (18, 20), (17, 16), (13, 16), (12, 16), (11, 8), (1, 8)]),
            ((32, 8, 9), [(32, 32), (20, 24), (19, 16), (16, 16), (11, 16), (8, 16), (1, 16), (0, 16)]),
            ((5, 8, 1), [(5, 5), (4, 5), (3, 5), (2, 5), (1, 5), (0, 5), (5, 5), (5, 5)]),
            ((6, 1, 2), [(6, 6), (5, 5), (4, 4), (3, 3), (2, 2), (1, 2), (0, 2), (6, 6)]),
        ];
        for ((width, unit, floor), rounded) in cases {
            let candidate = candidate(width, unit, floor);
            for (wanted, kept) in rounded {
                assert_eq!(candidate.allowed(wanted), kept, "{wanted} of {width} in units of {unit}");
            }
        }
    }

    #[test]
    fn the_lowest_threshold_is_taken_and_room_is_filled() {
        // The threshold would take both channels of score 1; the budget has room for the second.
        let candidates = [
            Candidate::new(0, &[1.0, 5.0, 6.0], Scope::Global, 1, 1),
            Candidate::new(1, &[7.0, 1.0, 8.0], Scope::Global, 1, 1),
        ];
        let mut cost = |kept: &[usize]| Ok((3 * kept[0] + kept[1]) as f64);
        let found = search(&candidates, 9.0, &mut cost).unwrap();
        assert_eq!(found, Found { wanted: vec![2, 2], kept: vec![2, 3] });
        assert_eq!((candidates[0].best(2), candidates[1].best(2)), (vec![1, 2], vec![0, 2]));
    }
}
