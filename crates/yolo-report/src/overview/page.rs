//! The page: table, precision-recall curves, mAP over costs, classes.

use super::charts::{self, Cost};
use super::classes;
use super::dense_line::Anchor;
use super::{Entry, TITLES, cells, rows};
use crate::page::html::{escape, number_table, section};
use crate::page::{Stage, document, pr_chart};
use crate::verdict::StockTime;

/// Curves that one chart has room for.
const CURVES: usize = 8;

/// What the page shows.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The networks; the others are compared with the first.
    pub entries: &'a [Entry],
    /// Milliseconds of released networks, as they were measured.
    pub latency: &'a [StockTime],
    /// The command that makes the page again.
    pub command: String,
    /// When it was made.
    pub created: String,
}

/// The whole document.
pub fn render(shown: &Page) -> String {
    let entries = shown.entries;
    let anchor = Anchor::of(entries);
    let costs = [
        Cost {
            id: "file-size",
            title: "mAP and file size",
            axis: "MB of the file",
            value: |entry| entry.file_bytes.map(|bytes| bytes as f64 / 1e6),
            line: anchor.and_then(Anchor::over_megabytes),
        },
        Cost {
            id: "arithmetic",
            title: "mAP and arithmetic",
            axis: "GFLOPs without multiplications by zero",
            value: |entry| entry.gflops_nonzero.or(entry.gflops),
            line: anchor.and_then(Anchor::over_gflops),
        },
        Cost {
            id: "time",
            title: "mAP and time",
            axis: "ms per image",
            value: |entry| entry.ms,
            line: anchor.and_then(|anchor| anchor.over_milliseconds(shown.latency)),
        },
    ];
    let sections: String = [curves(entries)]
        .into_iter()
        .chain(costs.iter().map(|cost| charts::render(cost, entries)))
        .chain([classes::render(entries)])
        .chain([document::origin(&shown.command, &shown.created)])
        .collect();
    let title = match entries.len() {
        1 => entries[0].name.clone(),
        count => format!("{count} networks compared"),
    };
    document::document(
        &title,
        &document::header(&title, &subtitle(entries), "", ""),
        &(table(entries) + &sections),
    )
}

/// What the networks were measured on, where that is one and the same.
fn subtitle(entries: &[Entry]) -> String {
    let same = |value: fn(&Entry) -> Option<usize>| {
        let first = value(entries.first()?)?;
        entries.iter().all(|entry| value(entry) == Some(first)).then_some(first)
    };
    match (same(|entry| entry.images), same(|entry| entry.imgsz)) {
        (Some(images), Some(size)) => format!("{images} images, {size} px"),
        (Some(images), None) => format!("{images} images"),
        _ => String::new(),
    }
}

fn table(entries: &[Entry]) -> String {
    let Some(first) = entries.first() else { return String::new() };
    let heads: String =
        TITLES.iter().map(|title| format!("<th scope=\"col\">{}</th>", escape(title))).collect();
    let row = |entry: &Entry| {
        let [name, figures @ ..] = cells(entry, first);
        let figures: String = figures.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        let origin = entry.weights.as_deref().map_or_else(String::new, |weights| format!("{weights}, "));
        let title = escape(&format!("{origin}{}", entry.source));
        format!("<tr><th scope=\"row\" title=\"{title}\">{}</th>{figures}</tr>\n", escape(&name))
    };
    let body: String = entries.iter().map(row).collect();
    let table = number_table("Figures of every network", &heads, &body);
    let intro = format!(
        "<p>The change is in points of mAP50-95 against <b>{}</b>. Times are those of each run, with images loaded on \
         the same cores; <code>bench</code> measures them alone.</p>\n",
        escape(&first.name)
    );
    section("figures", "Figures", &intro, &(table + &document::conclusion(&rows::notes(entries))))
}

/// All curves in one chart.
fn curves(entries: &[Entry]) -> String {
    let with_curves = entries.iter().filter(|entry| !entry.precision_at_recall.is_empty());
    let count = with_curves.clone().count();
    let stages: Vec<Stage> = with_curves.take(CURVES).map(stage).collect();
    let note = match count {
        0..=CURVES => "IoU 0.50, mean over classes".to_owned(),
        _ => format!("IoU 0.50, mean over classes; the first {CURVES} of {count} networks"),
    };
    pr_chart::render(&stages, &note)
}

fn stage(entry: &Entry) -> Stage {
    let last = entry.precision_at_recall.len().saturating_sub(1).max(1) as f64;
    let points = entry.precision_at_recall.iter().enumerate();
    Stage {
        name: entry.name.clone(),
        pr_curve: points.map(|(i, &precision)| (i as f64 / last, precision)).collect(),
        layer_sparsity: Vec::new(),
        map50: Some(entry.map50),
        map: Some(entry.map),
    }
}
