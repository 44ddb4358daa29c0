//! Losses and mAP over the epochs of fine-tuning: two charts on one axis of epochs.

use crate::page::html::{colour_class, decimal, legend, nothing, number_table, percent, section};
use crate::page::svg::{Plot, WIDTH, chart, label, range, round_ticks, spread, whole_ticks};
use crate::page::{EpochPoint, Stage};

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
pub(crate) fn render(history: &[EpochPoint], stages: &[Stage]) -> String {
    let title = "Fine-tuning";
    if history.is_empty() {
        return section("history", title, "", &nothing("No epoch of fine-tuning was run."));
    }
    // The colour of the stage that these epochs lead to.
    let colour = colour_class(stages.len().saturating_sub(1));
    let reference = stages.first().filter(|stage| levels(stage).next().is_some());
    let mut keys: Vec<(String, &str)> =
        TERM_CLASSES.iter().zip(TERMS).map(|(class, term)| (class.to_string(), term)).collect();
    keys.extend([("ink".to_owned(), "validation loss"), ("ink dashed".to_owned(), "training loss")]);
    keys.push((colour.to_string(), "mAP@50–95"));
    keys.push((format!("{colour} dashed"), "mAP@50"));
    if let Some(stage) = reference {
        keys.push(("c0 d0".to_owned(), stage.name.as_str()));
    }
    let intro = format!("<p>{}</p>\n{}", sparsity_sentence(history), legend(keys));
    let body = format!("{}{}{}", losses(history), maps(history, reference, &colour), numbers(history));
    section("history", title, &intro, &body)
}

fn sparsity_sentence(history: &[EpochPoint]) -> String {
    let epochs = if history.len() == 1 { "1 epoch".to_owned() } else { format!("{} epochs", history.len()) };
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return epochs };
    let (from, to) = (percent(first.sparsity), percent(last.sparsity));
    if from == to {
        format!("{epochs}; {to} of the weights are zero at the end of the last one.")
    } else {
        format!("{epochs}; the share of zeros went from {from} to {to}.")
    }
}

/// Training and validation loss by term.
fn losses(history: &[EpochPoint]) -> String {
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
fn maps(history: &[EpochPoint], reference: Option<&Stage>, colour: &str) -> String {
    let map = history.iter().map(|point| (point.epoch as f64, point.map)).collect();
    let map50 = history.iter().map(|point| (point.epoch as f64, point.map50)).collect();
    let series = [
        Series { name: "mAP@50", class: format!("{colour} dashed"), points: map50 },
        Series { name: "mAP", class: colour.to_string(), points: map },
    ];
    let levels: Vec<f64> = reference.into_iter().flat_map(levels).collect();
    let values = series.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let (plot, mut below) =
        axes(history, range(values.chain(levels.iter().copied())).map(with_margin), "mAP");
    below.extend(levels.iter().map(|&level| plot.line(&[(plot.x.0, level), (plot.x.1, level)], "c0 d0")));
    if let (Some(stage), Some((_, top))) = (reference, range(levels)) {
        // Named once, above the higher line, where no other line is as a rule.
        below += &label(plot.left + 4.0, plot.y(top) - 10.0, "c0", &stage.name);
    }
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
fn axes(history: &[EpochPoint], values: Option<(f64, f64)>, name: &str) -> (Plot, String) {
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
fn draw(plot: &Plot, history: &[EpochPoint], series: &[Series], below: &str, summary: &str) -> String {
    let lines: String = series.iter().map(|line| plot.line(&line.points, &line.class)).collect();
    let content = format!("{below}{lines}{}{}", end_labels(plot, series), tips(plot, history));
    chart(HEIGHT, summary, &content)
}

/// Names at the right edge, at the height of each line's last point.
fn end_labels(plot: &Plot, series: &[Series]) -> String {
    let ends: Vec<(&Series, f64)> = series
        .iter()
        .filter(|line| !line.name.is_empty())
        .filter_map(|line| {
            let last = line.points.iter().rev().find(|point| point.1.is_finite())?;
            Some((line, plot.y(last.1)))
        })
        .collect();
    let wanted: Vec<f64> = ends.iter().map(|end| end.1).collect();
    let places = spread(&wanted, 18.0, plot.top, plot.bottom());
    ends.iter()
        .zip(places)
        .map(|((line, _), y)| label(plot.right() + 8.0, y, &line.class, line.name))
        .collect()
}

/// A strip for each epoch that tells all of its numbers.
fn tips(plot: &Plot, history: &[EpochPoint]) -> String {
    let tip = |point: &EpochPoint| {
        let mut text = format!("epoch {}", point.epoch);
        for (term, name) in TERMS.iter().enumerate() {
            let (train, val) = (decimal(point.train[term], 4), decimal(point.val[term], 4));
            text += &format!("\n{name}: training {train}, validation {val}");
        }
        text += &format!("\nmAP@50 {}, mAP@50–95 {}", decimal(point.map50, 4), decimal(point.map, 4));
        text + &format!("\nzeros {}", percent(point.sparsity))
    };
    history
        .iter()
        .map(|point| plot.hover(point.epoch as f64 - 0.5, point.epoch as f64 + 0.5, &tip(point)))
        .collect()
}

/// The same numbers as text, folded away.
fn numbers(history: &[EpochPoint]) -> String {
    let row = |point: &EpochPoint| {
        let losses = point.train.iter().chain(&point.val).map(|loss| decimal(*loss, 4));
        let rest = [decimal(point.map50, 4), decimal(point.map, 4), percent(point.sparsity)];
        let cells: String = losses.chain(rest).map(|text| format!("<td>{text}</td>")).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", point.epoch)
    };
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
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: String = history.iter().map(row).collect();
    let table = number_table("Numbers of every epoch", &heads, &rows);
    format!("<details><summary>All numbers</summary>\n{table}</details>\n")
}
