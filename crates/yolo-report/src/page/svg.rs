//! Line charts as SVG: scales, axes and lines. Values that are not finite leave gaps, so that no path is ever
//! broken.

use crate::page::html::{decimal, escape};

/// Width of every chart in its own units; it scales with the page, and a style sheet keeps its text readable.
pub(crate) const WIDTH: f64 = 600.0;

/// The area between the axes and the values at its edges.
pub(crate) struct Plot {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: (f64, f64),
    pub(crate) y: (f64, f64),
}

/// Height of a chart of mAP over something.
pub(crate) const MAP_HEIGHT: f64 = 400.0;

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

    /// Grid lines with their numbers and the names of the axes: the vertical one on top of its axis, where it
    /// reads without turning one's head.
    pub(crate) fn axes(&self, x_ticks: &[f64], y_ticks: &[f64], x_name: &str, y_name: &str) -> String {
        let (left, right, top, bottom) = (self.left, self.right(), self.top, self.bottom());
        let mut out = String::from("<g class=\"axes\">\n");
        for (tick, text) in y_ticks.iter().zip(tick_labels(y_ticks)) {
            let y = number(self.y(*tick));
            out += &format!("<path class=\"grid\" d=\"M{left} {y}H{right}\"/>");
            out += &format!(
                "<text class=\"tick end\" x=\"{}\" y=\"{y}\" dy=\".35em\">{text}</text>\n",
                left - 8.0
            );
        }
        for (tick, text) in x_ticks.iter().zip(tick_labels(x_ticks)) {
            let (x, y) = (number(self.x(*tick)), bottom + 5.0);
            out += &format!("<path class=\"grid\" d=\"M{x} {bottom}V{y}\"/>");
            out += &format!("<text class=\"tick mid\" x=\"{x}\" y=\"{y}\" dy=\"1.05em\">{text}</text>\n");
        }
        out += &format!("<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>");
        out += &format!("<text class=\"name\" x=\"2\" y=\"{}\">{}</text>", top - 14.0, escape(y_name));
        let y = bottom + 5.0;
        out += &format!(
            "<text class=\"name end\" x=\"{right}\" y=\"{y}\" dy=\"2.4em\">{}</text>\n</g>\n",
            escape(x_name)
        );
        out
    }

    /// A line through the points that are finite, broken at the others; a point on its own becomes a dot.
    pub(crate) fn line(&self, points: &[(f64, f64)], class: &str) -> String {
        let mut path = String::new();
        let mut dots = String::new();
        for run in points.split(|(x, y)| !(x.is_finite() && y.is_finite())) {
            let placed: Vec<(String, String)> =
                run.iter().map(|&(x, y)| (number(self.x(x)), number(self.y(y)))).collect();
            if let [(x, y)] = placed.as_slice() {
                dots += &format!("<circle class=\"dot {class}\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>");
                continue;
            }
            for (i, (x, y)) in placed.iter().enumerate() {
                path += &format!("{}{x} {y}", if i == 0 { 'M' } else { 'L' });
            }
        }
        let path =
            if path.is_empty() { path } else { format!("<path class=\"line {class}\" d=\"{path}\"/>") };
        format!("{path}{dots}\n")
    }

    /// An invisible strip over the whole height, from one value of x to another, that shows `text` under the
    /// mouse.
    pub(crate) fn hover(&self, from: f64, to: f64, text: &str) -> String {
        let (from, to) = (self.x(from).max(self.left), self.x(to).min(self.right()));
        format!(
            "<rect class=\"hover\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>\n",
            number(from),
            number(self.top),
            number((to - from).max(0.0)),
            number(self.height),
            escape(text)
        )
    }
}

/// A chart around what was drawn. `summary` is what a screen reader says.
pub(crate) fn chart(height: f64, summary: &str, content: &str) -> String {
    format!(
        "<div class=\"chart\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n\
         {content}</svg></div>\n",
        escape(summary)
    )
}

/// A name beside its line.
pub(crate) fn label(x: f64, y: f64, class: &str, text: &str) -> String {
    let (x, y) = (number(x), number(y));
    format!("<text class=\"label {class}\" x=\"{x}\" y=\"{y}\" dy=\".35em\">{}</text>\n", escape(text))
}

/// A coordinate: short, and always a number.
pub(crate) fn number(value: f64) -> String {
    // Browsers keep coordinates as 32-bit floats, and far outside the view any value does.
    let value = if value.is_finite() { value.clamp(-1e5, 1e5) } else { 0.0 };
    let text = format!("{value:.1}");
    match text.strip_suffix(".0").unwrap_or(&text) {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
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

/// Places for labels that want to be at `wanted`: in the same order, at least `gap` apart, and between `low`
/// and `high` where they fit.
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

/// Where a value lies between the edges of an axis.
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

/// As many decimals as tell the ticks apart.
pub(crate) fn tick_labels(ticks: &[f64]) -> Vec<String> {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let decimals =
        if step.is_finite() && step > 0.0 { (-step.log10() - 1e-6).ceil().clamp(0.0, 6.0) } else { 0.0 };
    ticks.iter().map(|tick| decimal(*tick + 0.0, decimals as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Plot =
        Plot { left: 0.0, top: 0.0, width: 100.0, height: 100.0, x: (0.0, 1.0), y: (0.0, 1.0) };

    #[test]
    fn gaps_at_values_that_are_not_finite() {
        let points =
            [(0.0, 0.0), (0.1, 0.1), (0.2, f64::NAN), (0.3, f64::INFINITY), (0.4, 0.4), (0.5, f64::NAN)];
        let drawn = UNIT.line(&points, "c0");
        assert!(drawn.contains("d=\"M0 100L10 90\""), "{drawn}");
        assert!(drawn.contains("cx=\"40\" cy=\"60\""), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert_eq!(UNIT.line(&[(0.0, f64::NAN)], "c0"), "\n");
    }

    #[test]
    fn coordinates_are_short_numbers() {
        let cases = [(1.0, "1"), (1.25, "1.2"), (-0.01, "0"), (f64::NAN, "0"), (1e300, "100000")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

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
