//! The table of metrics: a column for each stage and one for the change.

use maud::{Markup, html};

use super::{Report, Row};
use crate::html::{colour_class, judgement, nothing};

/// The table, its rows under the headings of their groups.
pub(super) fn table(report: &Report) -> Markup {
    if report.rows.is_empty() {
        return nothing("No metrics were recorded.");
    }
    let columns = report.stages.len();
    html! {
        div.scroll tabindex="0" role="region" aria-label="Metrics of every stage" {
            table.metrics {
                thead {
                    tr {
                        th scope="col" { "Metric" }
                        @for (i, stage) in report.stages.iter().enumerate() {
                            th scope="col" class={ "stage " (colour_class(i)) } { (stage.name) }
                        }
                        th scope="col" { "Change" }
                    }
                }
                @for (i, rows) in report.rows.chunk_by(|a, b| a.group == b.group).enumerate() {
                    (group(i, rows, columns))
                }
            }
        }
    }
}

/// Neighbouring rows of one group.
fn group(index: usize, rows: &[Row], columns: usize) -> Markup {
    let name = rows.first().map_or("", |row| row.group.as_str());
    html! {
        tbody {
            @if !name.is_empty() {
                tr.group { th id={ "group-" (index) } scope="rowgroup" colspan=(columns + 2) { (name) } }
            }
            @for row in rows { (line(row, columns)) }
        }
    }
}

/// One metric. The word beside the change says what its colour says.
fn line(row: &Row, columns: usize) -> Markup {
    let (class, word) = judgement(row.better);
    html! {
        tr {
            th scope="row" { (row.label) }
            @for i in 0..columns {
                @match row.values.get(i).and_then(Option::as_ref) {
                    Some(value) => td { (value) },
                    None => td.none { "–" },
                }
            }
            td class={ "change " (class) } {
                @if let Some(change) = &row.change {
                    // The empty word keeps numbers below each other.
                    span { (breakable(change)) } " " small { (word) }
                }
            }
        }
    }
}

/// A change that may continue on a second line only before its parenthesis.
fn breakable(change: &str) -> String {
    change.replace(' ', "\u{a0}").replace("\u{a0}(", " (")
}
