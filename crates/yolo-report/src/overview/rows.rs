//! The table: a row per network, with what changed against the first.

use super::Entry;
use crate::format::{bytes, thousands};

/// Titles of the columns.
pub(crate) const TITLES: [&str; 11] =
    ["network", "mAP50-95", "change", "mAP50", "P", "R", "COCO AP", "zeros", "GFLOPs", "file", "ms"];
/// Where a figure is not known.
const NONE: &str = "–";

/// The cells of `entry`, compared with the first network.
pub(crate) fn cells(entry: &Entry, first: &Entry) -> [String; 11] {
    let change = match change(entry.map, first.map) {
        _ if std::ptr::eq(entry, first) => String::new(),
        change => change.unwrap_or_else(|| "0.0".to_owned()),
    };
    let known = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let score = |value: f64| format!("{value:.4}");
    [
        entry.name.clone(),
        score(entry.map),
        change,
        score(entry.map50),
        score(entry.precision),
        score(entry.recall),
        known(entry.coco_ap.map(score)),
        known(entry.conv_sparsity.map(|share| format!("{:.1} %", share * 100.0))),
        known(entry.gflops_nonzero.or(entry.gflops).map(|gflops| format!("{gflops:.2}"))),
        known(entry.file_bytes.map(bytes)),
        known(entry.ms.map(|ms| format!("{ms:.1}"))),
    ]
}

/// How many points of mAP `map` is above `first`: `+1.2`; none where that would be shown as zero.
pub(super) fn change(map: f64, first: f64) -> Option<String> {
    let points = (map - first) * 100.0;
    (points.abs() >= 0.05).then(|| format!("{points:+.1}"))
}

/// The table as lines of text with aligned columns; columns in which nothing is known are left out.
pub fn lines(entries: &[Entry]) -> Vec<String> {
    let Some(first) = entries.first() else { return Vec::new() };
    let rows: Vec<[String; 11]> = entries.iter().map(|entry| cells(entry, first)).collect();
    let is_known = |column: &usize| rows.iter().any(|row| !matches!(row[*column].as_str(), NONE | ""));
    let columns: Vec<usize> = (0..TITLES.len()).filter(is_known).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([TITLES[column].chars().count()]).max().unwrap_or(0)
    };
    let line = |cell: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for &column in &columns {
            let text = cell(column);
            let pad = " ".repeat(width(column) - text.chars().count());
            line += &if column == 0 { format!("{text}{pad}") } else { format!("  {pad}{text}") };
        }
        line.trim_end().to_owned()
    };
    let head = line(&|column| TITLES[column].to_owned());
    std::iter::once(head).chain(rows.iter().map(|row| line(&|column| row[column].clone()))).collect()
}

/// What makes the figures of `entries` hard to compare, and what is missing in them.
pub(super) fn notes(entries: &[Entry]) -> Vec<String> {
    let mut notes = Vec::new();
    let images: Vec<(usize, &str)> =
        entries.iter().filter_map(|entry| Some((entry.images?, entry.name.as_str()))).collect();
    let sizes: Vec<(usize, &str)> =
        entries.iter().filter_map(|entry| Some((entry.imgsz?, entry.name.as_str()))).collect();
    for (values, what) in [(images, "numbers of images"), (sizes, "image sizes")] {
        let mut kinds: Vec<(usize, &str)> = Vec::new();
        for (value, name) in values {
            if kinds.iter().all(|kind| kind.0 != value) {
                kinds.push((value, name));
            }
        }
        if kinds.len() > 1 {
            let kinds: Vec<String> =
                kinds.iter().map(|(value, name)| format!("{} ({name})", thousands(*value))).collect();
            notes.push(format!(
                "Measured on different {what}, so figures do not compare: {}.",
                kinds.join(", ")
            ));
        }
    }
    let without: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.precision_at_recall.is_empty())
        .map(|entry| entry.name.as_str())
        .collect();
    if !without.is_empty() && without.len() < entries.len() {
        notes.push(format!(
            "Without a precision-recall curve: {}. Sweeps and files of older versions have none; `val` writes it.",
            without.join(", ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, map: f64, images: usize) -> Entry {
        Entry { name: name.to_owned(), map, images: Some(images), ..Entry::default() }
    }

    #[test]
    fn columns_are_aligned_and_unknown_ones_left_out() {
        let entries = [entry("a", 0.3275, 80), Entry { ms: Some(22.04), ..entry("größer", 0.3, 80) }];
        assert_eq!(
            lines(&entries),
            [
                "network  mAP50-95  change   mAP50       P       R    ms",
                "a          0.3275          0.0000  0.0000  0.0000     –",
                "größer     0.3000    -2.8  0.0000  0.0000  0.0000  22.0",
            ]
        );
    }

    #[test]
    fn different_images_are_pointed_out() {
        assert_eq!(notes(&[entry("a", 0.1, 80), entry("b", 0.1, 80)]), Vec::<String>::new());
        let notes = notes(&[entry("a", 0.1, 80), entry("b", 0.1, 5000)]);
        assert_eq!(
            notes,
            ["Measured on different numbers of images, so figures do not compare: 80 (a), 5 000 (b)."]
        );
    }
}
