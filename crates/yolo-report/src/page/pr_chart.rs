//! Precision against recall, one line for each stage.

use crate::page::Stage;
use crate::page::html::{colour_class, decimal, escape, legend, line_class, nothing, section};
use crate::page::svg::{Plot, WIDTH, chart, label, number, range, round_ticks, spread};

const HEIGHT: f64 = 420.0;
const PLOT: Plot =
    Plot { left: 52.0, top: 36.0, width: WIDTH - 52.0 - 14.0, height: 330.0, x: (0.0, 1.0), y: (0.0, 1.0) };
/// Width of recall that shares a tooltip.
const STRIP: f64 = 0.025;

/// The section: chart, legend and what the curves are.
pub(crate) fn render(stages: &[Stage], note: &str) -> String {
    let title = "Precision and recall";
    if stages.iter().all(|stage| finite(stage).next().is_none()) {
        return section("precision-recall", title, "", &nothing("No curves were recorded."));
    }
    let note =
        if note.is_empty() { String::new() } else { format!(" {}.", escape(note.trim_end_matches('.'))) };
    let names = stages.iter().enumerate().map(|(i, stage)| (line_class(i), stage.name.as_str()));
    let intro = format!(
        "<p>How precise the detections are when the threshold is low enough \
         to find this share of the objects.{note}</p>\n{}",
        legend(names)
    );
    let lines: String =
        stages.iter().enumerate().map(|(i, stage)| PLOT.line(&clamped(stage), &line_class(i))).collect();
    let ticks = round_ticks(Some((0.0, 1.0)), 5);
    let content = format!(
        "{}{lines}{}{}",
        PLOT.axes(&ticks, &ticks, "recall", "precision"),
        labels(stages),
        tips(stages)
    );
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let summary = format!("Precision against recall of {}", names.join(", "));
    section("precision-recall", title, &intro, &chart(HEIGHT, &summary, &content))
}

fn finite(stage: &Stage) -> impl Iterator<Item = (f64, f64)> {
    stage.pr_curve.iter().copied().filter(|(recall, precision)| recall.is_finite() && precision.is_finite())
}

/// The curve inside the axes, up to where precision falls to zero for good; what is not a number stays, as a
/// gap.
fn clamped(stage: &Stage) -> Vec<(f64, f64)> {
    let clamp = |value: f64| if value.is_finite() { value.clamp(0.0, 1.0) } else { value };
    let end = stage.pr_curve.iter().rposition(|point| point.1 > 0.0).map_or(0, |last| last + 2);
    stage.pr_curve.iter().take(end).map(|&(recall, precision)| (clamp(recall), clamp(precision))).collect()
}

/// Names with thin lines to their curves. They stand outside the curves, or inside where there is no room.
fn labels(stages: &[Stage]) -> String {
    let anchors: Vec<(usize, f64, f64)> =
        stages.iter().enumerate().filter_map(|(i, stage)| anchor(stage).map(|(x, y)| (i, x, y))).collect();
    let (left, right) = range(anchors.iter().map(|anchor| anchor.1)).unwrap_or((PLOT.left, PLOT.left));
    let (top, bottom) = range(anchors.iter().map(|anchor| anchor.2)).unwrap_or((PLOT.top, PLOT.bottom()));
    let wanted: Vec<f64> = anchors.iter().map(|anchor| anchor.2).collect();
    let (x, side, places) = if right < PLOT.x(0.72) {
        (right + 30.0, "", spread(&wanted, 22.0, PLOT.top + 8.0, top - 12.0))
    } else {
        (left - 30.0, "end", spread(&wanted, 22.0, bottom + 12.0, PLOT.bottom() - 12.0))
    };
    let text_x = if side.is_empty() { x + 6.0 } else { x - 6.0 };
    anchors
        .iter()
        .zip(places)
        .map(|(&(i, from_x, from_y), y)| {
            let colour = colour_class(i);
            let name = label(text_x, y, &format!("{side} {colour}"), &stages[i].name);
            leader((from_x, from_y), (x, y), &colour) + &name
        })
        .collect()
}

/// Where on its curve a stage is named: where precision falls to recall, as the curves of better and worse
/// detectors are furthest apart there.
fn anchor(stage: &Stage) -> Option<(f64, f64)> {
    let (recall, precision) = finite(stage).find(|(r, p)| p <= r).or_else(|| finite(stage).last())?;
    Some((PLOT.x(recall.clamp(0.0, 1.0)), PLOT.y(precision.clamp(0.0, 1.0))))
}

/// A dot on a curve and a thin line from it to a name.
fn leader(from: (f64, f64), to: (f64, f64), colour: &str) -> String {
    let (x, y) = (number(from.0), number(from.1));
    format!(
        "<path class=\"leader {colour}\" d=\"M{x} {y}L{} {}\"/>\
         <circle class=\"dot {colour}\" cx=\"{x}\" cy=\"{y}\" r=\"2.5\"/>",
        number(to.0),
        number(to.1)
    )
}

/// Strips that tell the precision of every stage at a recall.
fn tips(stages: &[Stage]) -> String {
    let strips = (1.0 / STRIP) as usize;
    (0..strips)
        .map(|i| {
            let recall = (i as f64 + 0.5) * STRIP;
            let mut text = format!("recall {}", decimal(recall, 2));
            for stage in stages {
                let precision = precision_at(stage, recall).map_or_else(|| "–".to_owned(), |p| decimal(p, 3));
                text += &format!("\n{}: precision {precision}", stage.name);
            }
            PLOT.hover(recall - STRIP / 2.0, recall + STRIP / 2.0, &text)
        })
        .collect()
}

/// The precision at the point of the curve next to a recall, if one is near.
fn precision_at(stage: &Stage, recall: f64) -> Option<f64> {
    let distance = |point: &(f64, f64)| (point.0 - recall).abs();
    let nearest = finite(stage).min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    (distance(&nearest) <= STRIP).then_some(nearest.1)
}
