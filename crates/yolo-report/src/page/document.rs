//! The page around the sections: head, headline, tiles, notes and the command.

use crate::page::html::{escape, judgement, section};
use crate::page::{Report, Tile, detections, history, layers, pr_chart, table};

/// Part of the page, so that it needs no other file.
const STYLE: &str = concat!(include_str!("page.css"), include_str!("figures.css"));

/// The whole document.
pub(crate) fn render(report: &Report) -> String {
    let metrics_intro = match (report.stages.first(), report.stages.last()) {
        (Some(first), Some(last)) if report.stages.len() > 1 && !report.rows.is_empty() => {
            format!(
                "<p>The change is <b>{}</b> against <b>{}</b>.</p>\n",
                escape(&last.name),
                escape(&first.name)
            )
        }
        _ => String::new(),
    };
    let sections = [
        section(
            "metrics",
            "Metrics",
            &metrics_intro,
            &(table::render(report) + &conclusion(&report.conclusion)),
        ),
        pr_chart::render(&report.stages, &report.pr_note),
        layers::render(&report.stages),
        history::render(&report.history, &report.stages),
        detections::render(&report.samples, &report.stages),
        notes(&report.notes),
        origin(&report.command, &report.created),
    ];
    let tiles: String = report.tiles.iter().map(tile).collect();
    document(
        &report.title,
        &header(&report.title, &report.subtitle, &report.verdict, &tiles),
        &sections.concat(),
    )
}

/// A document around a header and sections, which are HTML.
pub(crate) fn document(title: &str, header: &str, sections: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n\
         <body>\n{header}<main>\n{sections}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// Title, verdict and the large numbers; `tiles` is HTML.
pub(crate) fn header(title: &str, subtitle: &str, verdict: &str, tiles: &str) -> String {
    let paragraph = |class: &str, text: &str| {
        if text.is_empty() { String::new() } else { format!("<p class=\"{class}\">{}</p>\n", escape(text)) }
    };
    let tiles =
        if tiles.is_empty() { String::new() } else { format!("<dl class=\"tiles\">\n{tiles}</dl>\n") };
    format!(
        "<header>\n<h1>{}</h1>\n{}{}{tiles}</header>\n",
        escape(title),
        paragraph("subtitle", subtitle),
        paragraph("verdict", verdict)
    )
}

fn tile(tile: &Tile) -> String {
    let (class, word) = judgement(tile.better);
    let word = if word.is_empty() { String::new() } else { format!(" ·\u{a0}{word}") };
    let detail = if tile.detail.is_empty() {
        String::new()
    } else {
        format!("<dd class=\"detail {class}\">{}{word}</dd>", escape(&tile.detail))
    };
    format!(
        "<div><dt>{}</dt><dd class=\"value\">{}</dd>{detail}</div>\n",
        escape(&tile.label),
        escape(&tile.value)
    )
}

/// The sentences below the table.
pub(crate) fn conclusion(lines: &[String]) -> String {
    let paragraphs = lines.iter().map(|line| format!("<p>{}</p>\n", escape(line)));
    let paragraphs: String = paragraphs.collect();
    if paragraphs.is_empty() {
        paragraphs
    } else {
        format!("<div class=\"conclusion\">\n{paragraphs}</div>\n")
    }
}

fn notes(notes: &[String]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let items: String = notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
    section("notes", "Notes", "", &format!("<ul class=\"notes\">\n{items}</ul>"))
}

/// What to run to get this page again.
pub(crate) fn origin(command: &str, created: &str) -> String {
    let created = if created.is_empty() {
        String::new()
    } else {
        format!("<p>Created {} by yolo-prune.</p>\n", escape(created))
    };
    section("origin", "Command", &created, &format!("<pre><code>{}</code></pre>", escape(command)))
}
