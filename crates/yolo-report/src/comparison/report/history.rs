//! Losses and mAP over the epochs of fine-tuning: two charts on one axis of epochs.

use maud::{Markup, html};

use super::{EpochPoint, Stage};
use crate::chart::{EndName, chart, label};
use crate::format::{decimal, percent, unit_count};
use crate::html::{NumberRow, colour_class, legend, nothing, number_table, section};
use crate::scale::{Plot, WIDTH, range, round_ticks, whole_ticks};

const HEIGHT: f64 = 256.0;
const LEFT: f64 = 62.0;
/// Room for the names at the ends of the lines.
const RIGHT: f64 = 94.0;
const TERMS: [&str; 3] = ["box", "object", "class"];
const TERM_CLASSES: [&str; 3] = ["t0", "t1", "t2"];

/// A line over the epochs; `name` stands at its end.
struct Series {
    name: &'static str,
    class: String,
    points: Vec<(f64, f64)>,
}

/// The section. The first stage is what fine-tuning tries to get back to.
pub(super) fn render(history: &[EpochPoint], stages: &[Stage]) -> Markup {
    let title = "Fine-tuning";
    if history.is_empty() {
        return section("history", title, &html! {}, &nothing("No epoch of fine-tuning was run."));
    }
    // The colour of the stage that these epochs lead to.
    let colour = colour_class(stages.len().saturating_sub(1));
    let reference = stages.first().filter(|stage| levels(stage).next().is_some());
    let mut keys: Vec<(String, &str)> =
        TERM_CLASSES.iter().zip(TERMS).map(|(class, term)| (class.to_string(), term)).collect();
    keys.extend([("ink".to_owned(), "validation loss"), ("ink dashed".to_owned(), "training loss")]);
    keys.push((colour.clone(), "mAP@50–95"));
    keys.push((format!("{colour} dashed"), "mAP@50"));
    if let Some(stage) = reference {
        keys.push(("c0 d0".to_owned(), stage.name.as_str()));
    }
    let intro = html! {
        p { (sparsity_sentence(history)) }
        (legend(keys))
    };
    let body = html! {
        (losses(history))
        (maps(history, reference, &colour))
        (numbers(history))
    };
    section("history", title, &intro, &body)
}

fn sparsity_sentence(history: &[EpochPoint]) -> String {
    let epochs = unit_count(history.len(), "epoch");
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return epochs };
    let (from, to) = (percent(first.sparsity), percent(last.sparsity));
    if from == to {
        format!("{epochs}; {to} of the weights are zero at the end of the last one.")
    } else {
        format!("{epochs}; the share of zeros went from {from} to {to}.")
    }
}

/// Training and validation loss by term.
fn losses(history: &[EpochPoint]) -> Markup {
    let mut series = Vec::new();
    for term in 0..3 {
        let class = TERM_CLASSES[term];
        let train = history.iter().map(|point| (point.epoch as f64, point.train[term])).collect();
        series.push(Series { name: "", class: format!("{class} dashed"), points: train });
        let val = history.iter().map(|point| (point.epoch as f64, point.val[term])).collect();
        series.push(Series { name: TERMS[term], class: class.to_string(), points: val });
    }
    let values = series.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let with_margin = |(low, high)| (low, high * 1.04);
    let (plot, axes) = axes(history, range(values.chain([0.0])).map(with_margin), "loss");
    draw(&plot, history, &series, &axes, "Training and validation loss by epoch")
}

/// mAP by epoch, and as level lines what the first stage had.
fn maps(history: &[EpochPoint], reference: Option<&Stage>, colour: &str) -> Markup {
    let map = history.iter().map(|point| (point.epoch as f64, point.map)).collect();
    let map50 = history.iter().map(|point| (point.epoch as f64, point.map50)).collect();
    let series = [
        Series { name: "mAP@50", class: format!("{colour} dashed"), points: map50 },
        Series { name: "mAP", class: colour.to_owned(), points: map },
    ];
    let levels: Vec<f64> = reference.into_iter().flat_map(levels).collect();
    let values = series.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let (plot, axes) = axes(history, range(values.chain(levels.iter().copied())).map(with_margin), "mAP");
    let below = html! {
        (axes)
        @for &level in &levels { (plot.line(&[(plot.x.0, level), (plot.x.1, level)], "c0 d0")) }
        @if let (Some(stage), Some((_, top))) = (reference, range(levels.iter().copied())) {
            // Named once, above the higher line, where usually no other line is.
            (label((plot.left + 4.0, plot.y(top) - 10.0), "c0", &stage.name))
        }
    };
    draw(&plot, history, &series, &below, "mAP at IoU 0.50 and over 0.50 to 0.95 by epoch")
}

/// The mAP that a stage has, as far as it is known.
fn levels(stage: &Stage) -> impl Iterator<Item = f64> + use<> {
    [stage.map50, stage.map].into_iter().flatten().filter(|level| level.is_finite())
}

/// A range of mAP with a little room, so that no line lies on the axis.
fn with_margin((low, high): (f64, f64)) -> (f64, f64) {
    let margin = ((high - low) * 0.04).max(0.01);
    ((low - margin).max(0.0), high + margin)
}

/// The area of a chart for a range of values, and its axes drawn. A single epoch stands in the middle.
fn axes(history: &[EpochPoint], values: Option<(f64, f64)>, name: &str) -> (Plot, Markup) {
    let (low, high) = range(history.iter().map(|point| point.epoch as f64)).unwrap_or((0.0, 0.0));
    let x = if low < high { (low, high) } else { (low - 1.0, high + 1.0) };
    let x_ticks = whole_ticks(low as usize, high as usize, 8);
    let y_ticks = round_ticks(values, 5);
    let y = range(y_ticks.iter().copied()).unwrap_or((0.0, 1.0));
    let plot = Plot { left: LEFT, top: 34.0, width: WIDTH - LEFT - RIGHT, height: 168.0, x, y };
    let drawn = plot.axes(&x_ticks, &y_ticks, "epoch", name);
    (plot, drawn)
}

/// A chart of some lines over what lies below them.
fn draw(plot: &Plot, history: &[EpochPoint], series: &[Series], below: &Markup, summary: &str) -> Markup {
    let ends: Vec<EndName> = series.iter().filter_map(Series::end_name).collect();
    let content = html! {
        (below)
        @for line in series { (plot.line(&line.points, &line.class)) }
        (plot.end_names(&ends))
        @for point in history {
            (plot.hover(point.epoch as f64 - 0.5, point.epoch as f64 + 0.5, &tip(point)))
        }
    };
    chart(HEIGHT, summary, &content)
}

impl Series {
    /// The name at the height of the last point.
    fn end_name(&self) -> Option<EndName<'_>> {
        let last = self.points.iter().rev().find(|point| point.1.is_finite())?;
        let end = EndName { value: last.1, class: &self.class, name: self.name };
        (!self.name.is_empty()).then_some(end)
    }
}

/// All numbers of an epoch.
fn tip(point: &EpochPoint) -> String {
    let mut text = format!("epoch {}", point.epoch);
    for (term, name) in TERMS.iter().enumerate() {
        let (train, val) = (decimal(point.train[term], 4), decimal(point.val[term], 4));
        text += &format!("\n{name}: training {train}, validation {val}");
    }
    text += &format!("\nmAP@50 {}, mAP@50–95 {}", decimal(point.map50, 4), decimal(point.map, 4));
    text + &format!("\nzeros {}", percent(point.sparsity))
}

/// The same numbers as text, folded away.
fn numbers(history: &[EpochPoint]) -> Markup {
    let heads = [
        "Epoch",
        "Box, train",
        "Obj., train",
        "Class, train",
        "Box, val",
        "Obj., val",
        "Class, val",
        "mAP@50",
        "mAP@50–95",
        "Zeros",
    ];
    let row = |point: &EpochPoint| {
        let losses = point.train.iter().chain(&point.val).map(|loss| decimal(*loss, 4));
        let rest = [decimal(point.map50, 4), decimal(point.map, 4), percent(point.sparsity)];
        NumberRow::of(point.epoch.to_string(), losses.chain(rest))
    };
    html! {
        details {
            summary { "All numbers" }
            (number_table("Numbers of every epoch", &heads, history.iter().map(row)))
        }
    }
}
