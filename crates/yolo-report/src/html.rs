//! The parts that pages share. A page is one file that needs no other, no network and no script; what it shows is
//! escaped by the templates.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Part of the page, so that it needs no other file.
const STYLE: &str = concat!(include_str!("html/page.css"), include_str!("html/figures.css"));

/// A whole document.
pub(crate) fn document(title: &str, header: &Markup, sections: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header)
                main { (sections) }
            }
        }
    };
    // Not allowed in HTML, not even as a reference.
    page.into_string().replace('\0', "\u{fffd}")
}

/// Title, verdict and the large numbers; texts that are empty are left out.
pub(crate) fn header(title: &str, subtitle: &str, verdict: &str, tiles: &[Tile]) -> Markup {
    html! {
        header {
            h1 { (title) }
            @for (class, text) in [("subtitle", subtitle), ("verdict", verdict)] {
                @if !text.is_empty() { p class=(class) { (text) } }
            }
            @if !tiles.is_empty() {
                dl.tiles { @for tile in tiles { (tile.markup()) } }
            }
        }
    }
}

/// A large number at the top of a page.
pub(crate) struct Tile {
    pub(crate) label: String,
    pub(crate) value: String,
    /// A line below the number, coloured by `better`.
    pub(crate) detail: String,
    pub(crate) better: Option<bool>,
}

impl Tile {
    fn markup(&self) -> Markup {
        let (class, word) = judgement(self.better);
        html! {
            div {
                dt { (self.label) }
                dd.value { (self.value) }
                @if !self.detail.is_empty() {
                    dd class={ "detail " (class) } {
                        (self.detail)
                        @if !word.is_empty() { " ·\u{a0}" (word) }
                    }
                }
            }
        }
    }
}

/// A section: heading, explanation and legend beside its figure on wide screens, above it on narrow ones.
pub(crate) fn section(id: &str, title: &str, intro: &Markup, body: &Markup) -> Markup {
    let heading = format!("{id}-title");
    html! {
        section id=(id) aria-labelledby=(heading) {
            div.intro {
                h2 id=(heading) { (title) }
                (intro)
            }
            div.body { (body) }
        }
    }
}

/// A table that scrolls if it is too wide; `label` says what it is. The first cell of a row is its name.
pub(crate) fn number_table(
    label: &str,
    heads: &[impl AsRef<str>],
    rows: impl IntoIterator<Item = NumberRow>,
) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table.numbers {
                thead { tr { @for head in heads { th scope="col" { (head.as_ref()) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" title=[row.hint] { (row.name) }
                            @for cell in row.cells { td { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A row of a table of numbers.
pub(crate) struct NumberRow {
    pub(crate) name: String,
    /// Shown under the mouse.
    pub(crate) hint: Option<String>,
    pub(crate) cells: Vec<Markup>,
}

impl NumberRow {
    /// A row whose cells are text.
    pub(crate) fn of(name: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Self {
        let cells = cells.into_iter().map(|cell| html! { (cell) }).collect();
        Self { name: name.into(), hint: None, cells }
    }
}

/// What a section shows when there is nothing to show.
pub(crate) fn nothing(why: &str) -> Markup {
    html! { p.empty { (why) } }
}

/// A legend: the classes of each line and its name.
pub(crate) fn legend<'a>(entries: impl IntoIterator<Item = (String, &'a str)>) -> Markup {
    html! {
        ul.legend {
            @for (class, name) in entries {
                li {
                    svg.key viewBox="0 0 32 8" aria-hidden="true" {
                        path class={ "line " (class) } d="M1 4H31" {}
                    }
                    (name)
                }
            }
        }
    }
}

/// The sentences below a table.
pub(crate) fn conclusion(lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            div.conclusion { @for line in lines { p { (line) } } }
        }
    }
}

/// The command that makes the page again.
pub(crate) fn origin(command: &str, created: &str) -> Markup {
    let intro = html! { @if !created.is_empty() { p { "Created " (created) " by yolo-prune." } } };
    section("origin", "Command", &intro, &html! { pre { code { (command) } } })
}

/// The class that colours a change, and the word that says the same.
pub(crate) fn judgement(better: Option<bool>) -> (&'static str, &'static str) {
    match better {
        Some(true) => ("better", "better"),
        Some(false) => ("worse", "worse"),
        None => ("same", ""),
    }
}

/// The class with the colour of a stage. The style sheet has five; more stages than that share them.
pub(crate) fn colour_class(stage: usize) -> String {
    format!("c{}", stage % 5)
}

/// The classes with the colour and the dashes of a stage.
pub(crate) fn line_class(stage: usize) -> String {
    format!("c{0} d{0}", stage % 5)
}
