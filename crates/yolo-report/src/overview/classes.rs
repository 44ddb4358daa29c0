//! What each class lost or won, on the page.

use maud::{Markup, html};

use super::Entry;
use super::entry::ClassMap;
use super::rows::change;
use crate::html::{NumberRow, judgement, number_table, section};

/// Networks that one table has room for.
const NETWORKS: usize = 6;

/// A table of the mAP of every class, those that lost most first; nothing if no file has figures of classes.
pub(super) fn render(entries: &[Entry]) -> Markup {
    let with_classes = || entries.iter().filter(|entry| !entry.classes.is_empty());
    let shown: Vec<&Entry> = with_classes().take(NETWORKS).collect();
    let [first, others @ ..] = shown.as_slice() else { return html! {} };
    let heads: Vec<&str> =
        ["class", "objects"].into_iter().chain(shown.iter().map(|entry| entry.name.as_str())).collect();
    let row = |class: &ClassMap| {
        let figures = [html! { (class.instances) }, html! { (format!("{:.3}", class.map)) }];
        let changes = others.iter().map(|other| cell(map_of(other, &class.name), class.map));
        NumberRow {
            name: class.name.clone(),
            hint: None,
            cells: figures.into_iter().chain(changes).collect(),
        }
    };
    let rows = ordered(first, others.last().copied()).into_iter().map(row);
    let table = number_table("Figures of every class", &heads, rows);
    section("classes", "Classes", &intro(first, others, with_classes().count()), &table)
}

fn intro(first: &Entry, others: &[&Entry], count: usize) -> Markup {
    html! {
        p {
            "mAP50-95 of every class."
            @match others.last() {
                Some(last) => {
                    " Changes are in points against " b { (first.name) } "; the classes that " b { (last.name) } " is worst at \
                     beside it come first. Figures of a class with few objects jump."
                }
                None => " The hardest come first.",
            }
            @if count > NETWORKS { " The first " (NETWORKS) " of " (count) " networks." }
        }
    }
}

/// The classes of `first`: by what they changed in `last`, or by what they are worth.
fn ordered<'a>(first: &'a Entry, last: Option<&Entry>) -> Vec<&'a ClassMap> {
    let key = |class: &ClassMap| match last {
        Some(last) => map_of(last, &class.name).map_or(f64::INFINITY, |map| map - class.map),
        None => class.map,
    };
    let mut classes: Vec<&ClassMap> = first.classes.iter().collect();
    classes.sort_by(|a, b| key(a).total_cmp(&key(b)));
    classes
}

fn map_of(entry: &Entry, class: &str) -> Option<f64> {
    entry.classes.iter().find(|other| other.name == class).map(|other| other.map)
}

/// A figure beside the first network's. The word says what the colour says.
fn cell(map: Option<f64>, first: f64) -> Markup {
    let Some(map) = map else { return html! { "–" } };
    let (class, word) = judgement(Some(map > first));
    html! {
        (format!("{map:.3}"))
        @if let Some(points) = change(map, first) { " " span class=(class) title=(word) { (points) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, maps: &[(&str, f64)]) -> Entry {
        let class = |&(name, map): &(&str, f64)| ClassMap { name: name.to_owned(), instances: 7, map };
        Entry { name: name.to_owned(), classes: maps.iter().map(class).collect(), ..Entry::default() }
    }

    #[test]
    fn classes_that_lost_most_come_first() {
        let before = entry("before", &[("cat", 0.5), ("a < b", 0.4), ("cup", 0.3)]);
        let after = entry("after", &[("cat", 0.52), ("a < b", 0.25)]);
        let page = render(&[Entry::default(), before, after]).0;
        let rows: Vec<&str> = page.split("<tr>").filter(|row| row.contains("scope=\"row\"")).collect();
        assert_eq!(
            rows.iter().map(|row| row.split("</tr>").next().unwrap_or_default()).collect::<Vec<_>>(),
            [
                "<th scope=\"row\">a &lt; b</th><td>7</td><td>0.400</td><td>0.250 <span class=\"worse\" title=\"worse\">-15.0</span></td>",
                "<th scope=\"row\">cat</th><td>7</td><td>0.500</td><td>0.520 <span class=\"better\" title=\"better\">+2.0</span></td>",
                "<th scope=\"row\">cup</th><td>7</td><td>0.300</td><td>–</td>",
            ]
        );
    }

    #[test]
    fn one_network_shows_its_hardest_classes_and_none_shows_nothing() {
        let page = render(&[entry("alone", &[("cat", 0.5), ("cup", 0.3)])]).0;
        assert!(page.contains("The hardest come first"));
        assert!(page.find("cup") < page.find("cat"));
        assert_eq!(render(&[Entry::default()]).0, "");
    }
}
