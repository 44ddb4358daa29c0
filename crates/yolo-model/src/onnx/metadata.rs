//! What the families' loaders read beside the graph: `stride` as a number, `names` as a dict in Python's notation, and for
//! the package `ultralytics` what a network is and takes.

use std::fmt::Write;

use super::{Axes, OnnxOptions};
use crate::checkpoint::Checkpoint;
use crate::heads::{Family, Selection};

/// Keys and values of `metadata_props`.
pub(super) fn entries(checkpoint: &Checkpoint, options: &OnnxOptions) -> Vec<(&'static str, String)> {
    let architecture = &checkpoint.architecture;
    let mut entries = vec![
        ("stride", architecture.max_stride().to_string()),
        ("names", python_dict(&checkpoint.class_names)),
    ];
    if architecture.family() == Family::Ultralytics {
        let is_end_to_end = architecture.head().selection() == Selection::Best;
        let (batch, [height, width]) = match options.axes {
            Axes::Fixed { batch, size } => (batch, size),
            Axes::Dynamic => (1, [640; 2]),
        };
        entries.extend([
            ("description", "detection network, pruned or fused by yolo-prune".to_owned()),
            ("task", "detect".to_owned()),
            ("head", "Detect".to_owned()),
            ("batch", batch.to_string()),
            ("imgsz", format!("[{height}, {width}]")),
            ("channels", architecture.in_channels.to_string()),
            ("end2end", if is_end_to_end { "True" } else { "False" }.to_owned()),
        ]);
    }
    entries
}

/// `{0: 'person', 1: 'bicycle'}`: the loaders evaluate it, so names are escaped until they are nothing but text.
fn python_dict(names: &[String]) -> String {
    let entries: Vec<String> =
        names.iter().enumerate().map(|(class, name)| format!("{class}: {}", python_str(name))).collect();
    format!("{{{}}}", entries.join(", "))
}

/// A Python string literal in single quotes.
fn python_str(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => literal.extend(['\\', c]),
            // Writing to a String cannot fail.
            _ if c.is_control() => drop(write!(literal, "\\x{:02x}", u32::from(c))),
            _ => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        let names = ["person", "it's", r"a\", "\"", "two\nlines\u{0}", "犬\u{9f}"].map(str::to_owned);
        let literal = r#"{0: 'person', 1: 'it\'s', 2: 'a\\', 3: '"', 4: 'two\x0alines\x00', 5: '犬\x9f'}"#;
        assert_eq!(python_dict(&names), literal);
    }
}
