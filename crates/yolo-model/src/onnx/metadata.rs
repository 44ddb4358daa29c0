//! What YOLOv5's loaders read beside the graph: `stride` as a number, `names` as a dict in Python's notation.

use std::fmt::Write;

use crate::checkpoint::Checkpoint;

/// Keys and values of `metadata_props`.
pub(super) fn entries(checkpoint: &Checkpoint) -> Vec<(&'static str, String)> {
    vec![
        ("stride", checkpoint.architecture.max_stride().to_string()),
        ("names", python_dict(&checkpoint.class_names)),
    ]
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
