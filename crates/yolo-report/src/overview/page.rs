//! The page: table, precision-recall curves, mAP over costs, classes.

use maud::{Markup, html};

use super::charts::{self, Cost};
use super::classes;
use super::dense_line::Anchor;
use super::{Entry, TITLES, cells, rows};
use crate::html::{NumberRow, conclusion, document, header, number_table, origin, section};
use crate::precision_recall::{self, Curve};
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
    let title = match entries {
        [entry] => entry.name.clone(),
        _ => format!("{} networks compared", entries.len()),
    };
    let sections = html! {
        (table(entries))
        (curves(entries))
        @for cost in &costs { (charts::render(cost, entries)) }
        (classes::render(entries))
        (origin(&shown.command, &shown.created))
    };
    document(&title, &header(&title, &subtitle(entries), "", &[]), &sections)
}

/// What the networks were measured on, if that is the same for all.
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

fn table(entries: &[Entry]) -> Markup {
    let Some(first) = entries.first() else { return html! {} };
    let row = |entry: &Entry| {
        let [name, figures @ ..] = cells(entry, first);
        let origin = entry.weights.as_deref().map_or_else(String::new, |weights| format!("{weights}, "));
        NumberRow { hint: Some(format!("{origin}{}", entry.source)), ..NumberRow::of(name, figures) }
    };
    let intro = html! {
        p {
            "The change is in points of mAP50-95 against " b { (first.name) } ". Times are those of each run, with images \
             loaded on the same cores; " code { "bench" } " measures them alone."
        }
    };
    let body = html! {
        (number_table("Figures of every network", &TITLES, entries.iter().map(row)))
        (conclusion(&rows::notes(entries)))
    };
    section("figures", "Figures", &intro, &body)
}

/// All curves in one chart.
fn curves(entries: &[Entry]) -> Markup {
    let with_curves: Vec<Curve> = entries.iter().filter_map(curve).collect();
    let note = match with_curves.len() {
        0..=CURVES => "IoU 0.50, mean over classes".to_owned(),
        count => format!("IoU 0.50, mean over classes; the first {CURVES} of {count} networks"),
    };
    precision_recall::render(&with_curves[..with_curves.len().min(CURVES)], &note)
}

fn curve(entry: &Entry) -> Option<Curve<'_>> {
    let last = entry.precision_at_recall.len().checked_sub(1)?.max(1) as f64;
    let points = entry.precision_at_recall.iter().enumerate();
    Some(Curve {
        name: &entry.name,
        points: points.map(|(i, &precision)| (i as f64 / last, precision)).collect(),
    })
}
