//! Line charts on a page. Values that are not finite leave gaps, so that no path is ever broken.

use maud::{Markup, html};

use crate::scale::{Plot, WIDTH, spread, tick_labels};
use crate::svg::{Style, TextStyle, circle, line_data, number, path, rect, text};

/// A chart around what was drawn. `summary` is what a screen reader says.
pub(crate) fn chart(height: f64, summary: &str, content: &Markup) -> Markup {
    html! {
        div.chart {
            svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(summary) { (content) }
        }
    }
}

impl Plot {
    /// Grid lines with their numbers and the names of the axes: the vertical one on top of its axis, where it
    /// reads without turning one's head.
    pub(crate) fn axes(&self, x_ticks: &[f64], y_ticks: &[f64], x_name: &str, y_name: &str) -> Markup {
        let (left, right, top, bottom) = (self.left, self.right(), self.top, self.bottom());
        let below = bottom + 5.0;
        html! {
            g.axes {
                @for (tick, label) in y_ticks.iter().zip(tick_labels(y_ticks)) {
                    (path(&format!("M{left} {}H{right}", number(self.y(*tick))), Style::Class("grid")))
                    (text((left - 8.0, self.y(*tick)), &label, TextStyle::Class("tick end", ".35em")))
                }
                @for (tick, label) in x_ticks.iter().zip(tick_labels(x_ticks)) {
                    (path(&format!("M{} {bottom}V{below}", number(self.x(*tick))), Style::Class("grid")))
                    (text((self.x(*tick), below), &label, TextStyle::Class("tick mid", "1.05em")))
                }
                (path(&format!("M{left} {bottom}H{right}"), Style::Class("axis")))
                (text((2.0, top - 14.0), y_name, TextStyle::Class("name", "")))
                (text((right, below), x_name, TextStyle::Class("name end", "2.4em")))
            }
        }
    }

    /// A line through the points that are finite, broken at the others; a point on its own becomes a dot.
    pub(crate) fn line(&self, points: &[(f64, f64)], class: &str) -> Markup {
        let (mut data, mut alone) = (String::new(), Vec::new());
        for run in points.split(|(x, y)| !(x.is_finite() && y.is_finite())) {
            match run {
                [point] => alone.push(*point),
                run => {
                    let placed: Vec<(f64, f64)> = run.iter().map(|&(x, y)| (self.x(x), self.y(y))).collect();
                    data += &line_data(&placed);
                }
            }
        }
        html! {
            @if !data.is_empty() { (path(&data, Style::Class(&format!("line {class}")))) }
            @for point in alone { (self.dot(point, 3.5, class, "")) }
        }
    }

    /// A dot at a point; `hint` is shown under the mouse.
    pub(crate) fn dot(&self, (x, y): (f64, f64), radius: f64, class: &str, hint: &str) -> Markup {
        circle((self.x(x), self.y(y)), radius, Style::Class(&format!("dot {class}")), hint)
    }

    /// An invisible strip over the whole height, from one value of x to another, that shows `hint` under the
    /// mouse.
    pub(crate) fn hover(&self, from: f64, to: f64, hint: &str) -> Markup {
        let (from, to) = (self.x(from).max(self.left), self.x(to).min(self.right()));
        rect([from, self.top, (to - from).max(0.0), self.height], Style::Class("hover"), hint)
    }

    /// Names at the right edge, as near to the places of their lines as they fit.
    pub(crate) fn end_names(&self, ends: &[EndName]) -> Markup {
        html! {
            @for (end, y) in ends.iter().zip(self.end_places(ends)) {
                (label((self.right() + 8.0, y), end.class, end.name))
            }
        }
    }

    /// The heights of the names at the right edge.
    pub(crate) fn end_places(&self, ends: &[EndName]) -> Vec<f64> {
        let wanted: Vec<f64> = ends.iter().map(|end| self.y(end.value)).collect();
        spread(&wanted, 18.0, self.top, self.bottom())
    }
}

/// A name for the right edge of a chart.
pub(crate) struct EndName<'a> {
    /// The value that it belongs to.
    pub(crate) value: f64,
    pub(crate) class: &'a str,
    pub(crate) name: &'a str,
}

/// A name beside its line.
pub(crate) fn label(place: (f64, f64), class: &str, name: &str) -> Markup {
    text(place, name, TextStyle::Class(&format!("label {class}"), ".35em"))
}

/// A thin line from a curve to a name.
pub(crate) fn leader(from: (f64, f64), to: (f64, f64), class: &str) -> Markup {
    path(&line_data(&[from, to]), Style::Class(&format!("leader {class}")))
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
        let drawn = UNIT.line(&points, "c0").0;
        assert!(drawn.contains("d=\"M0 100L10 90\""), "{drawn}");
        assert!(drawn.contains("cx=\"40\" cy=\"60\""), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert_eq!(UNIT.line(&[(0.0, f64::NAN)], "c0").0, "");
    }
}
