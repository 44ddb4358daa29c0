//! The text of yaml files as users save them, and errors in them in plain words.

use std::path::Path;

use crate::{DataError, Result};

/// What stands for bytes that are not UTF-8, as in a comment in another encoding.
pub(crate) const UNREADABLE: char = '\u{fffd}';

/// Reads a yaml: UTF-8, or UTF-16 as Windows' editors write it. As with PyYAML in YOLOv5, bytes of any other encoding do
/// not matter in comments; elsewhere they stay visible as `U+FFFD`.
///
/// # Errors
/// The file cannot be read.
pub fn read(file: &Path) -> Result<String> {
    std::fs::read(file).map(|bytes| decode(&bytes)).map_err(|e| DataError::io(file, e))
}

/// As [`read`], from the file's content.
pub fn decode(bytes: &[u8]) -> String {
    let utf16 = |of: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks();
        let units = pairs.iter().map(|&pair| of(pair));
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(UNREADABLE)).collect();
        let half = if rest.is_empty() { String::new() } else { UNREADABLE.to_string() };
        text.trim_start_matches('\u{feff}').to_owned() + &half
    };
    match bytes {
        [0xFF, 0xFE, ..] | [_, 0, _, 0, ..] => utf16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] | [0, _, 0, _, ..] => utf16(u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}

/// The first line, counted from 1, with something unreadable outside of a comment.
pub(crate) fn unreadable_line(text: &str) -> Option<usize> {
    let is_in_value = |line: &str| {
        let value = line.split(" #").next().unwrap_or(line);
        !value.trim_start().starts_with('#') && value.contains(UNREADABLE)
    };
    text.lines().position(is_in_value).map(|index| index + 1)
}

/// Where in `file` a yaml is wrong: `file:line`, or the file where no line is known.
pub fn place(file: &Path, error: &serde_saphyr::Error) -> String {
    let line = error.location().map(|at| format!(":{}", at.line())).unwrap_or_default();
    format!("{}{line}", file.display())
}

/// What the parser says, and what that means.
const PLAIN: [(&str, &str); 11] = [
    (", set DuplicateKeyPolicy in Options if acceptable", "; keep one of them"),
    ("duplicate mapping key", "a key that is there twice"),
    (
        "multiple YAML documents detected; use from_str_multiple or from_str_multiple_with_options",
        "several documents, divided by `---`; keep one",
    ),
    ("expected mapping start", "expected lines of `key: value`, with a space behind the colon"),
    ("expected string scalar", "expected a text"),
    ("unexpected character: `\\u{0}'", "a zero byte"),
    ("invalid type: ", "found "),
    ("invalid i64", "expected a whole number"),
    ("invalid u64", "expected a whole number"),
    ("invalid u32", "expected a whole number"),
    ("invalid f64", "expected a number"),
];

/// What is wrong with a yaml, in words that do not speak of this program.
pub fn reason(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    PLAIN.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_of_editors_are_read() {
        let text = "a: é # x\n";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!((decode(&le), decode(&be)), (text.to_owned(), text.to_owned()));
        assert_eq!(decode(&[&[0xFF, 0xFE][..], &le].concat()), text);
        assert_eq!(decode(&[&[0xFE, 0xFF][..], &be].concat()), text);
        assert_eq!(decode(&[&b"\xEF\xBB\xBF"[..], text.as_bytes()].concat()), text);
        assert_eq!((decode(b"").as_str(), decode(&[0xFF, 0xFE, 0]).as_str()), ("", "\u{fffd}"));
    }

    #[test]
    fn other_bytes_matter_only_outside_of_comments() {
        let text = decode(b"a: 1 # \xD1\xB5\n# \xE9\nb: 'caf\xE9' # x\n");
        assert_eq!(unreadable_line(&text), Some(3));
        assert_eq!(unreadable_line(&decode(b"a: 1 # \xD1\xB5\n")), None);
    }
}
