//! JSON as people read it: two spaces per level, but a matrix has a line per row.

use std::io::{Result, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// `value` as text: two spaces per level, a line per row of a matrix.
///
/// # Errors
/// A map whose keys are not strings.
pub fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Layout::default()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is inside an array that is inside an array stays on one line.
#[derive(Default)]
struct Layout {
    outside: PrettyFormatter<'static>,
    /// For every open container, whether it is an array.
    open: Vec<bool>,
    /// How many of them are on one line.
    inline: usize,
}

impl Layout {
    fn begin(&mut self, out: &mut (impl Write + ?Sized), is_array: bool) -> Result<()> {
        let is_row = self.inline > 0 || (is_array && self.open.last() == Some(&true));
        self.open.push(is_array);
        if is_row {
            self.inline += 1;
            return out.write_all(if is_array { b"[" } else { b"{" });
        }
        if is_array { self.outside.begin_array(out) } else { self.outside.begin_object(out) }
    }

    fn end(&mut self, out: &mut (impl Write + ?Sized), is_array: bool) -> Result<()> {
        self.open.pop();
        if self.inline > 0 {
            self.inline -= 1;
            return out.write_all(if is_array { b"]" } else { b"}" });
        }
        if is_array { self.outside.end_array(out) } else { self.outside.end_object(out) }
    }
}

fn separate(out: &mut (impl Write + ?Sized), first: bool) -> Result<()> {
    if first { Ok(()) } else { out.write_all(b", ") }
}

impl Formatter for Layout {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.begin(out, true)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.end(out, true)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        if self.inline > 0 { separate(out, first) } else { self.outside.begin_array_value(out, first) }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        if self.inline > 0 { Ok(()) } else { self.outside.end_array_value(out) }
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.begin(out, false)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.end(out, false)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        if self.inline > 0 { separate(out, first) } else { self.outside.begin_object_key(out, first) }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        if self.inline > 0 { Ok(()) } else { self.outside.end_object_value(out) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_matrix_has_a_line_per_row() {
        let value =
            json!({"a": [[1, 2], [3, 4]], "b": [5, 6], "c": [], "d": {"e": [[{"f": [7, "]"]}, null]]}});
        let text = pretty(&value).unwrap();
        let expected = "{\n  \"a\": [\n    [1, 2],\n    [3, 4]\n  ],\n  \"b\": [\n    5,\n    6\n  ],\n  \"c\": [],\n  \
                        \"d\": {\n    \"e\": [\n      [{\"f\": [7, \"]\"]}, null]\n    ]\n  }\n}";
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn without_a_matrix_it_is_what_serde_writes() {
        let value = json!({"a": {"b": [1, 2.5, "x"], "c": {}}, "d": [{"e": 1}, {"f": []}]});
        assert_eq!(pretty(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap());
    }
}
