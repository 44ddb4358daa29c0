//! The table of metrics: a column for each stage and one for the change.

use crate::page::html::{colour_class, escape, judgement, nothing};
use crate::page::{Report, Row};

/// The table, its rows under the headings of their groups.
pub(crate) fn render(report: &Report) -> String {
    if report.rows.is_empty() {
        return nothing("No metrics were recorded.");
    }
    let columns = report.stages.len();
    let stages: String = report
        .stages
        .iter()
        .enumerate()
        .map(|(i, stage)| {
            format!("<th scope=\"col\" class=\"stage {}\">{}</th>", colour_class(i), escape(&stage.name))
        })
        .collect();
    let groups: String = report
        .rows
        .chunk_by(|a, b| a.group == b.group)
        .enumerate()
        .map(|(i, rows)| group(i, rows, columns))
        .collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Metrics of every stage\">\n\
         <table class=\"metrics\">\n\
         <thead><tr><th scope=\"col\">Metric</th>{stages}<th scope=\"col\">Change</th></tr></thead>\n\
         {groups}</table></div>\n"
    )
}

/// Neighbouring rows of one group.
fn group(index: usize, rows: &[Row], columns: usize) -> String {
    let name = rows.first().map_or("", |row| row.group.as_str());
    let heading = if name.is_empty() {
        String::new()
    } else {
        format!(
            "<tr class=\"group\"><th id=\"group-{index}\" scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>\n",
            columns + 2,
            escape(name)
        )
    };
    let lines: String = rows.iter().map(|row| line(row, columns)).collect();
    format!("<tbody>\n{heading}{lines}</tbody>\n")
}

/// One metric. The word beside the change says what its colour says.
fn line(row: &Row, columns: usize) -> String {
    let values: String = (0..columns)
        .map(|i| match row.values.get(i).and_then(Option::as_ref) {
            Some(value) => format!("<td>{}</td>", escape(value)),
            None => "<td class=\"none\">–</td>".to_owned(),
        })
        .collect();
    let (class, word) = judgement(row.better);
    let change = row.change.as_ref().map_or_else(String::new, |change| {
        // The empty word keeps numbers below each other.
        format!("<span>{}</span> <small>{word}</small>", escape(&breakable(change)))
    });
    format!(
        "<tr><th scope=\"row\">{}</th>{values}<td class=\"change {class}\">{change}</td></tr>\n",
        escape(&row.label)
    )
}

/// A change that may go to a second line only before its parenthesis.
fn breakable(change: &str) -> String {
    change.replace(' ', "\u{a0}").replace("\u{a0}(", " (")
}
