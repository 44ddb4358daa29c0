//! Scales of charts: from values to places, round ticks, and labels that do not cover one another.

use crate::format::decimal;

/// Width of the charts of a page in their own units; they scale with the page.
pub(crate) const WIDTH: f64 = 600.0;
/// Height of a chart of mAP over something.
pub(crate) const MAP_HEIGHT: f64 = 400.0;

/// The area between the axes and the values at its edges.
pub(crate) struct Plot {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: (f64, f64),
    pub(crate) y: (f64, f64),
}

impl Plot {
    /// The area of a chart of [`MAP_HEIGHT`] whose axes end with their first and last ticks; `right` is left free for
    /// names.
    pub(crate) fn of_map(x_ticks: &[f64], y_ticks: &[f64], right: f64) -> Self {
        let edges = |ticks: &[f64]| range(ticks.iter().copied()).unwrap_or((0.0, 1.0));
        let left = 52.0;
        let width = WIDTH - left - right;
        Self { left, top: 36.0, width, height: 310.0, x: edges(x_ticks), y: edges(y_ticks) }
    }

    /// A value's place from left to right.
    pub(crate) fn x(&self, value: f64) -> f64 {
        self.left + self.width * share(self.x, value)
    }

    /// A value's place from top to bottom.
    pub(crate) fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - share(self.y, value))
    }

    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// The smallest and the largest of the finite values.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

/// Round numbers that cover a range, about `count` of them: the first and the last are the edges of the axis.
pub(crate) fn round_ticks(range: Option<(f64, f64)>, count: usize) -> Vec<f64> {
    let (low, high) = range.unwrap_or((0.0, 1.0));
    let (low, high) = if high - low < 1e-9 * high.abs().max(1e-3) {
        let around = (high.abs() * 0.1).max(0.01);
        (low - around, high + around)
    } else {
        (low, high)
    };
    let step = round_step((high - low) / count as f64);
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    if !(first.is_finite() && last.is_finite()) {
        return vec![0.0, 1.0];
    }
    // At most a few more than asked for, whatever rounding did.
    let steps = ((last - first) as usize).clamp(1, 4 * count);
    (0..=steps).map(|i| (first + i as f64) * step).collect()
}

/// Whole numbers inside a range, about `count` of them, for an axis that counts.
pub(crate) fn whole_ticks(low: usize, high: usize, count: usize) -> Vec<f64> {
    let step = round_step((high.saturating_sub(low)) as f64 / count as f64).max(1.0) as usize;
    (low.div_ceil(step)..=high / step).map(|i| (i * step) as f64).collect()
}

/// Places for labels that should be at `wanted`: in the same order, at least `gap` apart, and between `low` and `high`
/// if they fit.
pub(crate) fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = wanted.to_vec();
    let mut least = low;
    for &i in &order {
        placed[i] = placed[i].max(least);
        least = placed[i] + gap;
    }
    let mut most = high;
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(most);
        most = placed[i] - gap;
    }
    placed
}

/// How far a value is from the low edge of an axis to the high one, 0 to 1 between them.
fn share((low, high): (f64, f64), value: f64) -> f64 {
    if high > low { (value - low) / (high - low) } else { 0.5 }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999);
    factor.unwrap_or(10.0) * power
}

/// The ticks with as many decimals as make them different.
pub(crate) fn tick_labels(ticks: &[f64]) -> Vec<String> {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let decimals =
        if step.is_finite() && step > 0.0 { (-step.log10() - 1e-6).ceil().clamp(0.0, 6.0) } else { 0.0 };
    ticks.iter().map(|tick| decimal(*tick + 0.0, decimals as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        assert_eq!(tick_labels(&round_ticks(Some((0.31, 0.57)), 4)), ["0.3", "0.4", "0.5", "0.6"]);
        assert_eq!(tick_labels(&round_ticks(Some((0.0, 0.08)), 4)), ["0.00", "0.02", "0.04", "0.06", "0.08"]);
        assert_eq!(round_ticks(None, 2), [0.0, 0.5, 1.0]);
        assert!(round_ticks(Some((0.5, 0.5)), 4).len() >= 2);
        assert!(round_ticks(Some((-f64::MAX, f64::MAX)), 4).len() >= 2);
        assert_eq!(whole_ticks(0, 19, 8), [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(whole_ticks(3, 3, 8), [3.0]);
    }

    #[test]
    fn labels_are_spread() {
        assert_eq!(spread(&[50.0, 52.0, 10.0], 20.0, 0.0, 100.0), [50.0, 70.0, 10.0]);
        assert_eq!(spread(&[95.0, 90.0], 20.0, 0.0, 100.0), [100.0, 80.0]);
    }
}
