//! The chart of precision against recall, one line for each network.

use maud::{Markup, html};

use crate::chart::{chart, label, leader};
use crate::format::decimal;
use crate::html::{colour_class, legend, line_class, nothing, section};
use crate::scale::{Plot, WIDTH, range, round_ticks, spread};
use crate::svg::{Style, circle};

const HEIGHT: f64 = 420.0;
const PLOT: Plot =
    Plot { left: 52.0, top: 36.0, width: WIDTH - 52.0 - 14.0, height: 330.0, x: (0.0, 1.0), y: (0.0, 1.0) };
/// Width of recall that shares a tooltip.
const STRIP: f64 = 0.025;

/// The curve of a network.
pub(crate) struct Curve<'a> {
    pub(crate) name: &'a str,
    /// Recall and precision, by rising recall.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The section: chart, legend and what the curves are.
pub(crate) fn render(curves: &[Curve], note: &str) -> Markup {
    let title = "Precision and recall";
    if curves.iter().all(|curve| curve.finite().next().is_none()) {
        return section("precision-recall", title, &html! {}, &nothing("No curves were recorded."));
    }
    let names = || curves.iter().map(|curve| curve.name);
    let intro = html! {
        p {
            "How precise the detections are when the threshold is low enough to find this share of the objects."
            @if !note.is_empty() { " " (note.trim_end_matches('.')) "." }
        }
        (legend(names().enumerate().map(|(i, name)| (line_class(i), name))))
    };
    let ticks = round_ticks(Some((0.0, 1.0)), 5);
    let content = html! {
        (PLOT.axes(&ticks, &ticks, "recall", "precision"))
        @for (i, curve) in curves.iter().enumerate() { (PLOT.line(&curve.clamped(), &line_class(i))) }
        (labels(curves))
        (tips(curves))
    };
    let summary = format!("Precision against recall of {}", names().collect::<Vec<_>>().join(", "));
    section("precision-recall", title, &intro, &chart(HEIGHT, &summary, &content))
}

impl Curve<'_> {
    fn finite(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().copied().filter(|(recall, precision)| recall.is_finite() && precision.is_finite())
    }

    /// The curve inside the axes, up to where precision falls to zero for good; what is not a number stays, as a
    /// gap.
    fn clamped(&self) -> Vec<(f64, f64)> {
        let clamp = |value: f64| if value.is_finite() { value.clamp(0.0, 1.0) } else { value };
        let end = self.points.iter().rposition(|point| point.1 > 0.0).map_or(0, |last| last + 2);
        self.points.iter().take(end).map(|&(recall, precision)| (clamp(recall), clamp(precision))).collect()
    }

    /// Where the curve is named: where precision falls to recall, as the curves of better and worse detectors are
    /// furthest apart there.
    fn anchor(&self) -> Option<(f64, f64)> {
        let (recall, precision) = self.finite().find(|(r, p)| p <= r).or_else(|| self.finite().last())?;
        Some((PLOT.x(recall.clamp(0.0, 1.0)), PLOT.y(precision.clamp(0.0, 1.0))))
    }

    /// The precision at the point of the curve next to a recall, if one is near.
    fn precision_at(&self, recall: f64) -> Option<f64> {
        let distance = |point: &(f64, f64)| (point.0 - recall).abs();
        let nearest = self.finite().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        (distance(&nearest) <= STRIP).then_some(nearest.1)
    }
}

/// Names with thin lines to their curves. They stand outside the curves, or inside if there is no room.
fn labels(curves: &[Curve]) -> Markup {
    let anchors: Vec<(usize, (f64, f64))> =
        curves.iter().enumerate().filter_map(|(i, curve)| Some((i, curve.anchor()?))).collect();
    let (xs, ys) = (anchors.iter().map(|anchor| anchor.1.0), anchors.iter().map(|anchor| anchor.1.1));
    let (left, right) = range(xs).unwrap_or((PLOT.left, PLOT.left));
    let (top, bottom) = range(ys.clone()).unwrap_or((PLOT.top, PLOT.bottom()));
    let wanted: Vec<f64> = ys.collect();
    let (x, side, text_x, places) = if right < PLOT.x(0.72) {
        (right + 30.0, "", right + 36.0, spread(&wanted, 22.0, PLOT.top + 8.0, top - 12.0))
    } else {
        (left - 30.0, "end", left - 36.0, spread(&wanted, 22.0, bottom + 12.0, PLOT.bottom() - 12.0))
    };
    html! {
        @for ((i, from), y) in anchors.into_iter().zip(places) {
            @let colour = colour_class(i);
            (leader(from, (x, y), &colour))
            (circle(from, 2.5, Style::Class(&format!("dot {colour}")), ""))
            (label((text_x, y), &format!("{side} {colour}"), curves[i].name))
        }
    }
}

/// Strips that tell the precision of every curve at a recall.
fn tips(curves: &[Curve]) -> Markup {
    let strips = (1.0 / STRIP) as usize;
    let tip = |recall: f64| {
        let mut text = format!("recall {}", decimal(recall, 2));
        for curve in curves {
            let precision = curve.precision_at(recall).map_or_else(|| "–".to_owned(), |p| decimal(p, 3));
            text += &format!("\n{}: precision {precision}", curve.name);
        }
        text
    };
    html! {
        @for recall in (0..strips).map(|i| (i as f64 + 0.5) * STRIP) {
            (PLOT.hover(recall - STRIP / 2.0, recall + STRIP / 2.0, &tip(recall)))
        }
    }
}
