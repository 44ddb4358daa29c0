//! What both files are made of; every error names the list and the entry.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};

use crate::coco::ImageId;
use crate::coco::image_id::whole;
use crate::{EvalError, Ltwh, Result};

#[derive(Deserialize)]
pub(super) struct RawResult {
    pub(super) image_id: ImageId,
    #[serde(deserialize_with = "category_id")]
    pub(super) category_id: i64,
    pub(super) bbox: RawBox,
    pub(super) score: f64,
}

/// A box with any number of values, so that a wrong number can be reported with the id of its annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RawBox {
    values: [f64; 4],
    pub(super) len: usize,
    /// Whether a value is written as text.
    pub(super) is_text: bool,
}

impl RawBox {
    /// The box, if it has four values.
    pub(super) fn ltwh(self) -> Option<Ltwh> {
        let [left, top, w, h] = self.values;
        (self.len == 4).then_some(Ltwh { left, top, w, h })
    }
}

/// Reads a results file.
pub(super) fn read_results(path: &Path) -> Result<Vec<RawResult>> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Results(#[serde(deserialize_with = "results")] Vec<RawResult>);
    let expected = "expected a list of detections, each with image_id, category_id, bbox and score; \
                    is this an annotation file?";
    read(path, b'[', expected).map(|Results(list)| list)
}

fn read<T: DeserializeOwned>(path: &Path, opening: u8, expected: &str) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|source| EvalError::io(path, source))?;
    parse(path, &bytes, opening, expected)
}

/// A file whose first character is `opening`; if it is the other bracket, `expected` says what the file should be.
pub(super) fn parse<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    opening: u8,
    expected: &str,
) -> Result<T> {
    // Some Windows tools put a byte-order mark in front.
    let json = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if matches!(json, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [_, 0, ..] | [0, _, ..]) {
        return Err(EvalError::invalid(path, "the text is UTF-16; save it as UTF-8, as JSON has to be"));
    }
    match json.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(EvalError::invalid(path, "the file is empty; write or download it again")),
        Some(&first) if first != opening && matches!(first, b'{' | b'[') => {
            Err(EvalError::at_line(path, 1, expected))
        }
        Some(_) => serde_json::from_slice(json).map_err(|error| explain(path, json, &error)),
    }
}

/// The error of the JSON parser with its line, its column and a fix.
fn explain(path: &Path, json: &[u8], error: &serde_json::Error) -> EvalError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let position = format!(" at line {line} column {column}");
    let what = text.strip_suffix(&position).unwrap_or(&text);
    if what.contains("EOF while parsing") {
        let reason = format!("the file is cut short (column {column}); write or download it again");
        return EvalError::at_line(path, line.max(1), reason);
    }
    let fix = if is_near_non_finite(json, line, column) {
        "NaN and Infinity are not JSON numbers; remove the entry or give it a finite value"
    } else if what.contains("missing field") {
        "add it"
    } else {
        "correct it there"
    };
    EvalError::at_line(path, line.max(1), format!("{} (column {column}); {fix}", plain(what)))
}

/// What the parser says, without the names of types.
fn plain(what: &str) -> String {
    let types = [("f64", "a number"), ("i64", "a whole number"), ("u64", "a whole number")];
    let mut plain = what.replace("invalid type: ", "found ").replace("invalid value: ", "found ");
    for (name, word) in types {
        plain = plain.replace(&format!("expected {name}"), &format!("expected {word}"));
    }
    plain.replace("found map", "found an object").replace("found sequence", "found a list")
}

/// Whether the parser stopped at Python's `NaN` or `Infinity`.
fn is_near_non_finite(json: &[u8], line: usize, column: usize) -> bool {
    let starts = json.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(at, _)| at + 1);
    let start = std::iter::once(0).chain(starts).nth(line.saturating_sub(1)).unwrap_or(0);
    let at = (start + column).min(json.len());
    let window = &json[at.saturating_sub(3)..(at + 8).min(json.len())];
    let contains = |token: &[u8]| window.windows(token.len()).any(|part| part == token);
    contains(b"NaN") || contains(b"Inf")
}

fn results<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<RawResult>, D::Error> {
    entries(deserializer, "detections")
}

/// Reads a list; an error names the list and the entry (from 0).
pub(super) fn entries<'de, D, T>(deserializer: D, list: &'static str) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Entries<T> {
        list: &'static str,
        of: PhantomData<T>,
    }
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} to be a list", self.list)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            loop {
                match seq.next_element() {
                    Ok(Some(value)) => values.push(value),
                    Ok(None) => return Ok(values),
                    Err(error) => {
                        // serde_json reads the position back from the end of the text.
                        let text = format!("{} entry {}: {error}", self.list, values.len());
                        return Err(A::Error::custom(text));
                    }
                }
            }
        }
    }
    deserializer.deserialize_seq(Entries { list, of: PhantomData })
}

pub(super) fn category_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    deserializer.deserialize_any(WholeNumber { key: "category_id" })
}

/// The id of a category in its own list.
pub(super) fn own_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    deserializer.deserialize_any(WholeNumber { key: "id" })
}

/// An integer that may be written as `1`, `1.0` or `"1"`.
struct WholeNumber {
    key: &'static str,
}

impl WholeNumber {
    fn float<E: Error>(&self, value: f64) -> std::result::Result<i64, E> {
        whole(value).ok_or_else(|| E::custom(format!("{} {value} is not a whole number", self.key)))
    }
}

impl Visitor<'_> for WholeNumber {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be a whole number", self.key)
    }

    fn visit_i64<E: Error>(self, value: i64) -> std::result::Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> std::result::Result<i64, E> {
        i64::try_from(value).map_err(|_| E::custom(format!("{} {value} is too large", self.key)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> std::result::Result<i64, E> {
        self.float(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> std::result::Result<i64, E> {
        let text = value.trim();
        match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Ok(number),
            (_, Ok(number)) if number.is_finite() => self.float(number),
            _ => Err(E::custom(format!("{} {value:?} is not a number; ids are whole numbers", self.key))),
        }
    }
}

/// The name of a file; a number stands for itself, and `null` for no name.
pub(super) fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    let name: Option<ImageId> = Option::deserialize(deserializer)?;
    Ok(name.map(|name| name.to_string()).unwrap_or_default())
}

/// A boolean that may be written as `0`/`1`, `"0"`/`"1"`, `true`/`false` or `null`.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    struct Flag;
    impl Visitor<'_> for Flag {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("iscrowd to be 0 or 1")
        }

        fn visit_bool<E: Error>(self, value: bool) -> std::result::Result<bool, E> {
            Ok(value)
        }

        fn visit_u64<E: Error>(self, value: u64) -> std::result::Result<bool, E> {
            if value <= 1 { Ok(value == 1) } else { Err(E::custom(format!("iscrowd {value} is not 0 or 1"))) }
        }

        fn visit_f64<E: Error>(self, value: f64) -> std::result::Result<bool, E> {
            if value == 0.0 || value == 1.0 {
                return Ok(value == 1.0);
            }
            Err(E::custom(format!("iscrowd {value} is not 0 or 1")))
        }

        fn visit_str<E: Error>(self, value: &str) -> std::result::Result<bool, E> {
            match value.trim() {
                "0" => Ok(false),
                "1" => Ok(true),
                _ => Err(E::custom(format!("iscrowd {value:?} is not 0 or 1"))),
            }
        }

        fn visit_unit<E: Error>(self) -> std::result::Result<bool, E> {
            Ok(false)
        }
    }
    deserializer.deserialize_any(Flag)
}

impl<'de> Deserialize<'de> for RawBox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = RawBox;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bbox to be [left, top, width, height]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<RawBox, A::Error> {
                let mut bbox = RawBox::default();
                while let Some(Real { value, is_text }) = seq.next_element()? {
                    if let Some(slot) = bbox.values.get_mut(bbox.len) {
                        *slot = value;
                    }
                    bbox.len += 1;
                    bbox.is_text |= is_text;
                }
                Ok(bbox)
            }
        }
        deserializer.deserialize_seq(Values)
    }
}

/// A finite number that may be written as text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Real {
    pub(super) value: f64,
    pub(super) is_text: bool,
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = Real;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: Error>(self, value: i64) -> std::result::Result<Real, E> {
                Ok(Real { value: value as f64, is_text: false })
            }

            fn visit_u64<E: Error>(self, value: u64) -> std::result::Result<Real, E> {
                Ok(Real { value: value as f64, is_text: false })
            }

            fn visit_f64<E: Error>(self, value: f64) -> std::result::Result<Real, E> {
                Ok(Real { value, is_text: false })
            }

            fn visit_str<E: Error>(self, text: &str) -> std::result::Result<Real, E> {
                let value = text.trim().parse().ok().filter(|value: &f64| value.is_finite());
                let value = value.ok_or_else(|| E::custom(format!("{text:?} is not a number")))?;
                Ok(Real { value, is_text: true })
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}
