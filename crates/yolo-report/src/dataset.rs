//! What is in a data set: tables of counts, and of classes with bars.

use yolo_data::dataset::statistics::{Spread, TINY_SIDE};
use yolo_data::dataset::{Dataset, Split, Statistics};

use crate::format::thousands;

/// Columns of the longest class name that is shown whole.
const NAME_COLUMNS: usize = 24;
/// Columns of a bar, at most.
const BAR_COLUMNS: usize = 60;
/// Blocks of an eighth to seven eighths of a column.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A split with its counts.
pub struct Part<'a> {
    /// Which one.
    pub split: Split,
    /// Its images and labels.
    pub dataset: &'a Dataset,
    /// What was counted in it.
    pub statistics: &'a Statistics,
}

/// Images, objects and sizes, at `image_size` pixels: a column per split.
pub fn counts(parts: &[Part], image_size: u32) -> Vec<String> {
    type Cell<'a> = Box<dyn Fn(&Part) -> String + 'a>;
    let share = |count: usize, of: usize| format!("{:.1} %", 100.0 * count as f64 / of.max(1) as f64);
    let sized = move |count: fn(&Statistics) -> usize| -> Cell<'static> {
        Box::new(move |part| share(count(part.statistics), part.statistics.objects))
    };
    let spread = |of: fn(&Statistics) -> Option<Spread>| -> Cell<'static> {
        Box::new(move |part| of(part.statistics).map_or_else(|| "–".to_owned(), |spread| range(&spread)))
    };
    let rows: Vec<(String, Cell)> = vec![
        ("Images".to_owned(), Box::new(|part| thousands(listed(part.dataset)))),
        ("  labelled".to_owned(), Box::new(|part| thousands(part.dataset.report.found))),
        ("  without a label file".to_owned(), Box::new(|part| thousands(part.dataset.report.missing))),
        ("  with an empty one".to_owned(), Box::new(|part| thousands(part.dataset.report.empty))),
        ("  corrupt, left out".to_owned(), Box::new(|part| thousands(part.dataset.report.corrupt))),
        ("  width in pixels".to_owned(), spread(|s| s.width)),
        ("  height in pixels".to_owned(), spread(|s| s.height)),
        ("Objects".to_owned(), Box::new(|part| thousands(part.statistics.objects))),
        ("  per image".to_owned(), spread(|s| s.objects_per_image)),
        (format!("  side at {image_size} px"), spread(|s| s.box_side)),
        ("  small (below 32²)".to_owned(), sized(|s| s.box_sizes.small)),
        ("  medium".to_owned(), sized(|s| s.box_sizes.medium)),
        ("  large (from 96²)".to_owned(), sized(|s| s.box_sizes.large)),
        (
            format!("  a side below {TINY_SIDE} px"),
            Box::new(|part| thousands(part.statistics.box_sizes.tiny)),
        ),
    ];
    if parts.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    let titles: Vec<String> = parts.iter().map(|part| part.split.to_string()).collect();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|(_, cell)| parts.iter().map(cell).collect::<Vec<String>>()).collect();
    let columns: Vec<usize> = (0..parts.len())
        .map(|i| cells.iter().map(|row| columns(&row[i])).chain([columns(&titles[i])]).max().unwrap_or(0))
        .collect();
    let labels = rows.iter().map(|(label, _)| label.as_str());
    let label_columns = labels.clone().map(self::columns).max().unwrap_or(0);
    let line = |label: &str, cells: &[String]| {
        let mut line = padded(label, label_columns);
        for (cell, width) in cells.iter().zip(&columns) {
            line += &format!("  {}{cell}", " ".repeat(width - self::columns(cell)));
        }
        line.trim_end().to_owned()
    };
    lines.push(line("", &titles));
    lines.extend(labels.zip(&cells).map(|(label, cells)| line(label, cells)));
    lines.push("A range is the smallest, the median and the largest.".to_owned());
    lines
}

/// How many classes have a line each.
#[derive(Clone, Copy, Debug)]
pub enum ShownClasses<'a> {
    /// All of them.
    All,
    /// The most frequent ones.
    First {
        /// How many.
        count: usize,
        /// How all of them are shown, for those who want to know.
        hint: &'a str,
    },
}

/// A line per class, the most frequent first, with a bar for the objects of all splits together, in lines of at most
/// `line_columns` columns where the names leave room.
pub fn classes(parts: &[Part], shown: ShownClasses<'_>, line_columns: usize) -> Vec<String> {
    let Some(first) = parts.first() else { return Vec::new() };
    let names = &first.dataset.class_names;
    let total = |class: usize| parts.iter().map(|part| part.statistics.classes[class].objects).sum::<usize>();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&class| (std::cmp::Reverse(total(class)), class));
    let (shown, hint) = match shown {
        ShownClasses::All => (order.len(), ""),
        ShownClasses::First { count, hint } => (order.len().min(count), hint),
    };
    let most = order.first().map_or(0, |&class| total(class));
    let index_columns = names.len().saturating_sub(1).to_string().len();
    let name = |class: usize| cut(&names[class], NAME_COLUMNS);
    let name_columns = order[..shown].iter().map(|&class| columns(&name(class))).max().unwrap_or(0).max(5);
    let count_columns = thousands(most).len().max(5);
    let head = index_columns + 1 + name_columns + parts.len() * (count_columns + 2) + 2;
    let bar_columns = line_columns.saturating_sub(head).min(BAR_COLUMNS);
    let mut lines = vec![String::new()];
    let mut title = padded("Class", index_columns + 1 + name_columns);
    parts.iter().for_each(|part| title += &format!("  {:>count_columns$}", part.split.key()));
    lines.push(title);
    for &class in &order[..shown] {
        let mut line = format!("{class:>index_columns$} {}", padded(&name(class), name_columns));
        for part in parts {
            line += &format!("  {:>count_columns$}", thousands(part.statistics.classes[class].objects));
        }
        line += &format!("  {}", bar(total(class), most, bar_columns));
        lines.push(line.trim_end().to_owned());
    }
    if let Some(rest @ [_, ..]) = order.get(shown..) {
        let (high, low) = (rest.first().map_or(0, |&c| total(c)), rest.last().map_or(0, |&c| total(c)));
        lines.push(format!(
            "and {} more classes with {} to {} objects; {hint}",
            rest.len(),
            thousands(low),
            thousands(high)
        ));
    }
    lines.push(String::new());
    lines
}

/// Images that were listed, usable or not.
fn listed(dataset: &Dataset) -> usize {
    let report = &dataset.report;
    report.found + report.missing + report.empty + report.corrupt
}

fn range(spread: &Spread) -> String {
    let [min, median, max] = [spread.min, spread.median, spread.max].map(|value| format!("{value:.0}"));
    if min == max { min } else { format!("{min} … {median} … {max}") }
}

/// A bar of `share` of `most`; what is not nothing is seen.
fn bar(share: usize, most: usize, columns: usize) -> String {
    if share == 0 || most == 0 || columns == 0 {
        return String::new();
    }
    let eighths = (share * columns * 8).div_ceil(most);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The text in this many columns, with a mark if some is missing.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_never_vanish() {
        assert_eq!(bar(8, 8, 2), "██");
        assert_eq!(bar(4, 8, 2), "█");
        assert_eq!(bar(5, 8, 2), "█▎");
        assert_eq!(bar(1, 100_000, 10), "▏");
        assert_eq!((bar(0, 8, 2), bar(3, 3, 0)), (String::new(), String::new()));
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("größerer", 8), "größerer");
        assert_eq!(cut("größerer Name", 8), "größere…");
    }
}
