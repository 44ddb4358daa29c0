//! The rows of the comparison: figures, sizes and times of every stage, and what changed from first to last.

use super::Stage;
use super::page::file_size;
use super::report::Row;
use crate::format::thousands;
use crate::results::Turns;

const COCO: &str = "COCO";
const NATIVE: &str = "YOLOv5's own";
const SIZE: &str = "Size";
const SPEED: &str = "Speed";

/// COCO's figures in the order of its summary.
const COCO_LABELS: [&str; 12] = [
    "AP 50:95",
    "AP 50",
    "AP 75",
    "AP small",
    "AP medium",
    "AP large",
    "AR 1",
    "AR 10",
    "AR 100",
    "AR small",
    "AR medium",
    "AR large",
];

/// The rows of `stages`; the change is that of the last against the first.
pub fn rows(stages: &[Stage]) -> Vec<Row> {
    let mut rows = Vec::new();
    if stages.iter().any(|stage| stage.figures.coco.is_some()) {
        for (i, label) in COCO_LABELS.iter().enumerate() {
            rows.push(score(COCO, label, stages, |stage| {
                // −1 means that there is nothing of that kind.
                stage.figures.coco.as_ref().map(|coco| coco.values()[i]).filter(|value| *value >= 0.0)
            }));
        }
    }
    rows.push(score(NATIVE, "Precision", stages, |stage| Some(stage.figures.native.precision)));
    rows.push(score(NATIVE, "Recall", stages, |stage| Some(stage.figures.native.recall)));
    rows.push(score(NATIVE, "mAP50", stages, |stage| Some(stage.figures.native.map50)));
    rows.push(score(NATIVE, "mAP50-95", stages, |stage| Some(stage.figures.native.map)));
    rows.extend(sizes(stages));
    rows.push(time(stages));
    rows
}

/// A figure between 0 and 1, of which more is better.
fn score(group: &str, label: &str, stages: &[Stage], figure: impl Fn(&Stage) -> Option<f64>) -> Row {
    let values: Vec<Option<f64>> = stages.iter().map(figure).collect();
    let (change, better) = match (values.first(), values.last()) {
        (Some(Some(first)), Some(Some(last))) => {
            let points = (last - first) * 100.0;
            let better = if points.abs() < 0.05 { None } else { Some(points > 0.0) };
            (Some(change(points, relative(*first, *last))), better)
        }
        _ => (None, None),
    };
    Row {
        group: group.to_owned(),
        label: label.to_owned(),
        values: values.into_iter().map(|value| value.map(|value| format!("{value:.4}"))).collect(),
        change,
        better,
    }
}

fn relative(first: f64, last: f64) -> Option<f64> {
    (first != 0.0).then(|| (last / first - 1.0) * 100.0)
}

fn change(points: f64, percent: Option<f64>) -> String {
    let percent = percent.map(|percent| format!(" ({} %)", signed(percent))).unwrap_or_default();
    format!("{} points{percent}", signed(points))
}

/// One decimal with its sign; what rounds to nothing has none.
pub(super) fn signed(value: f64) -> String {
    if value.abs() < 0.05 { "0.0".to_owned() } else { format!("{value:+.1}") }
}

fn sizes(stages: &[Stage]) -> Vec<Row> {
    let row = |label: &str, value: &dyn Fn(&Stage) -> f64, text: &dyn Fn(&Stage) -> String, better: bool| {
        let numbers: Vec<f64> = stages.iter().map(value).collect();
        let percent = match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) => relative(*first, *last),
            _ => None,
        };
        Row {
            group: SIZE.to_owned(),
            label: label.to_owned(),
            values: stages.iter().map(|stage| Some(text(stage))).collect(),
            change: percent
                .filter(|p| better && p.abs() >= 0.05)
                .map(|percent| format!("{} %", signed(percent))),
            better: percent.filter(|p| better && p.abs() >= 0.05).map(|percent| percent < 0.0),
        }
    };
    let nonzero = |stage: &Stage| stage.model().parameters - stage.model().zeros;
    vec![
        row("Parameters", &|s| s.model().parameters as f64, &|s| thousands(s.model().parameters), true),
        row("Non-zero parameters", &|s| nonzero(s) as f64, &|s| thousands(nonzero(s)), true),
        row(
            "Zero convolution weights",
            &|s| s.model().conv_zeros as f64,
            &|s| thousands(s.model().conv_zeros),
            false,
        ),
        row("Sparsity", &|_| 0.0, &|s| format!("{:.1} %", s.model().sparsity * 100.0), false),
        row("GFLOPs (dense)", &|s| s.model().gflops, &|s| format!("{:.2}", s.model().gflops), true),
        row(
            "GFLOPs (non-zero)",
            &|s| s.model().nonzero_gflops(),
            &|s| format!("{:.2}", s.model().nonzero_gflops()),
            true,
        ),
        row("File", &|s| s.model().file_bytes.unwrap_or_default() as f64, &|s| file_size(s.model()), true),
    ]
}

fn time(stages: &[Stage]) -> Row {
    let zeros_only = match (stages.first(), stages.last()) {
        (Some(first), Some(last)) => {
            let (first, last) = (first.model(), last.model());
            first.gflops == last.gflops && first.conv_zeros < last.conv_zeros
        }
        _ => false,
    };
    let skips_zeros = stages.last().is_some_and(|last| last.skips_zeros);
    let (change, better) = match turns(stages) {
        _ if zeros_only && !skips_zeros => (Some("zeros: no gain".to_owned()), None),
        Some((first, last)) if first.overlaps(&last) => (Some("within the spread".to_owned()), None),
        Some((first, last)) => {
            let percent = relative(first.median, last.median);
            (percent.map(|percent| format!("{} %", signed(percent))), percent.map(|percent| percent < 0.0))
        }
        // Images were loaded on the same cores meanwhile, so a small difference may be noise.
        None => (skips_zeros.then(|| "`bench` tells more".to_owned()), None),
    };
    let value = |stage: &Stage| match stage.figures.turns {
        Some(Turns { median, fast, slow, .. }) => format!("{median:.1} ({fast:.1}–{slow:.1})"),
        None => format!("{:.1}", stage.figures.speed_ms.inference),
    };
    Row {
        group: SPEED.to_owned(),
        label: "ms per image".to_owned(),
        values: stages.iter().map(|stage| Some(value(stage))).collect(),
        change,
        better,
    }
}

/// The times of the first and the last stage, if they were measured in turns.
fn turns(stages: &[Stage]) -> Option<(Turns, Turns)> {
    stages.first()?.figures.turns.zip(stages.last()?.figures.turns)
}

/// The rows as lines of text with aligned columns.
pub fn lines(stages: &[Stage], rows: &[Row]) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let columns: Vec<usize> = stages
        .iter()
        .enumerate()
        .map(|(i, stage)| {
            let cells = rows.iter().filter_map(|row| row.values.get(i)?.as_deref()).map(width);
            cells.chain([width(&stage.name)]).max().unwrap_or(0)
        })
        .collect();
    let label_width = rows.iter().map(|row| width(&row.label)).max().unwrap_or(0);
    let line = |label: &str, cells: Vec<&str>, change: &str| {
        let mut line = format!("  {label:<label_width$}");
        for (cell, column) in cells.iter().zip(&columns) {
            line += &format!("  {}{cell}", " ".repeat(column.saturating_sub(width(cell))));
        }
        format!("{line}  {change}").trim_end().to_owned()
    };
    let names = stages.iter().map(|stage| stage.name.as_str()).collect();
    let mut lines = vec![line("", names, "change")];
    let mut group = "";
    for row in rows {
        if row.group != group {
            group = &row.group;
            lines.push(group.to_owned());
        }
        let cells = row.values.iter().map(|value| value.as_deref().unwrap_or("–")).collect();
        lines.push(line(&row.label, cells, row.change.as_deref().unwrap_or_default()));
    }
    lines
}
