//! What each class lost or won, on the page.

use super::Entry;
use super::entry::ClassMap;
use super::rows::change;
use crate::page::html::{escape, judgement, number_table, section};

/// Networks that one table has room for.
const NETWORKS: usize = 6;

/// A table of the mAP of every class, those that lost most first. Nothing where no network tells of its classes.
pub(super) fn render(entries: &[Entry]) -> String {
    let told: Vec<&Entry> = entries.iter().filter(|entry| !entry.classes.is_empty()).take(NETWORKS).collect();
    let [first, others @ ..] = told.as_slice() else { return String::new() };
    let heads: String =
        told.iter().map(|entry| format!("<th scope=\"col\">{}</th>", escape(&entry.name))).collect();
    let body: String = ordered(first, others.last().copied())
        .into_iter()
        .map(|class| {
            let cells: String =
                others.iter().map(|other| cell(map_of(other, &class.name), class.map)).collect();
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{:.3}</td>{cells}</tr>\n",
                escape(&class.name),
                class.instances,
                class.map
            )
        })
        .collect();
    let heads = format!("<th scope=\"col\">class</th><th scope=\"col\">objects</th>{heads}");
    let table = number_table("Figures of every class", &heads, &body);
    section("classes", "Classes", &intro(first, others, entries), &table)
}

fn intro(first: &Entry, others: &[&Entry], entries: &[Entry]) -> String {
    let mut text = "mAP50-95 of every class.".to_owned();
    match others.last() {
        Some(last) => {
            let (last, first) = (escape(&last.name), escape(&first.name));
            text += &format!(
                " Changes are in points against <b>{first}</b>; the classes that <b>{last}</b> is worst at beside it come \
                 first. Figures of a class with few objects jump."
            );
        }
        None => text += " The hardest come first.",
    }
    let count = entries.iter().filter(|entry| !entry.classes.is_empty()).count();
    if count > NETWORKS {
        text += &format!(" The first {NETWORKS} of {count} networks.");
    }
    format!("<p>{text}</p>\n")
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
fn cell(map: Option<f64>, first: f64) -> String {
    let Some(map) = map else { return "<td>–</td>".to_owned() };
    let Some(points) = change(map, first) else { return format!("<td>{map:.3}</td>") };
    let (class, word) = judgement(Some(map > first));
    format!("<td>{map:.3} <span class=\"{class}\" title=\"{word}\">{points}</span></td>")
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
        let page = render(&[Entry::default(), before, after]);
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("<tr><th")).collect();
        assert_eq!(
            rows,
            [
                "<tr><th scope=\"row\">a &lt; b</th><td>7</td><td>0.400</td><td>0.250 <span class=\"worse\" title=\"worse\">-15.0</span></td></tr>",
                "<tr><th scope=\"row\">cat</th><td>7</td><td>0.500</td><td>0.520 <span class=\"better\" title=\"better\">+2.0</span></td></tr>",
                "<tr><th scope=\"row\">cup</th><td>7</td><td>0.300</td><td>–</td></tr>",
            ]
        );
    }

    #[test]
    fn one_network_shows_its_hardest_classes_and_none_shows_nothing() {
        let page = render(&[entry("alone", &[("cat", 0.5), ("cup", 0.3)])]);
        assert!(page.contains("The hardest come first"));
        assert!(page.find("cup") < page.find("cat"));
        assert_eq!(render(&[Entry::default()]), "");
    }
}
