//! The JSON on disk as types; every error names the list and the entry.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};

use super::{Category, ImageInfo};
use crate::{EvalError, Ltwh, Result};

/// An annotation file. Keys that are not named here are skipped.
#[derive(Deserialize)]
pub(super) struct RawInstances {
    #[serde(deserialize_with = "images")]
    pub(super) images: Vec<ImageInfo>,
    #[serde(deserialize_with = "categories")]
    pub(super) categories: Vec<Category>,
    #[serde(deserialize_with = "annotations")]
    pub(super) annotations: Vec<RawAnnotation>,
}

#[derive(Deserialize)]
pub(super) struct RawAnnotation {
    #[serde(deserialize_with = "id")]
    pub(super) id: i64,
    #[serde(deserialize_with = "image_id")]
    pub(super) image_id: i64,
    #[serde(deserialize_with = "category_id")]
    pub(super) category_id: i64,
    #[serde(default)]
    pub(super) bbox: Option<RawBox>,
    #[serde(default)]
    pub(super) area: Option<f64>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) iscrowd: bool,
}

#[derive(Deserialize)]
pub(super) struct RawResult {
    #[serde(deserialize_with = "image_id")]
    pub(super) image_id: i64,
    #[serde(deserialize_with = "category_id")]
    pub(super) category_id: i64,
    pub(super) bbox: RawBox,
    pub(super) score: f64,
}

#[derive(Deserialize)]
struct RawImage {
    #[serde(deserialize_with = "id")]
    id: i64,
    #[serde(default, deserialize_with = "side")]
    width: u32,
    #[serde(default, deserialize_with = "side")]
    height: u32,
    #[serde(default)]
    file_name: String,
}

#[derive(Deserialize)]
struct RawCategory {
    #[serde(deserialize_with = "id")]
    id: i64,
    name: String,
}

/// A box with any number of values, so that a wrong number can be reported with the id of its annotation.
#[derive(Clone, Copy, Default)]
pub(super) struct RawBox {
    values: [f64; 4],
    pub(super) len: usize,
}

impl RawBox {
    /// The box, if it has four values.
    pub(super) fn ltwh(self) -> Option<Ltwh> {
        let [left, top, w, h] = self.values;
        (self.len == 4).then_some(Ltwh { left, top, w, h })
    }
}

/// Reads an annotation file.
pub(super) fn read_instances(path: &Path) -> Result<RawInstances> {
    read(path, b'{', "expected an object with images, annotations and categories; is this a results file?")
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
    // Some Windows tools put a byte-order mark in front.
    let json = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
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
    let fix = if what.contains("EOF while parsing") {
        "the file is cut short; write or download it again"
    } else if is_near_non_finite(json, line, column) {
        "NaN and Infinity are not JSON numbers; remove the entry or give it a finite value"
    } else if what.contains("missing field") {
        "add it"
    } else {
        "correct it there"
    };
    EvalError::at_line(path, line.max(1), format!("{what} (column {column}); {fix}"))
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

fn images<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<ImageInfo>, D::Error> {
    entries(deserializer, "images", |raw: RawImage| ImageInfo {
        id: raw.id,
        width: raw.width,
        height: raw.height,
        file_name: raw.file_name,
    })
}

fn categories<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Category>, D::Error> {
    entries(deserializer, "categories", |raw: RawCategory| Category { id: raw.id, name: raw.name })
}

fn annotations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<RawAnnotation>, D::Error> {
    entries(deserializer, "annotations", |raw| raw)
}

fn results<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<RawResult>, D::Error> {
    entries(deserializer, "detections", |raw| raw)
}

/// Reads a list; an error names the list and the entry (from 0).
fn entries<'de, D, R, T>(
    deserializer: D,
    list: &'static str,
    convert: fn(R) -> T,
) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    R: Deserialize<'de>,
{
    struct Entries<R, T> {
        list: &'static str,
        convert: fn(R) -> T,
    }
    impl<'de, R: Deserialize<'de>, T> Visitor<'de> for Entries<R, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} to be a list", self.list)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            loop {
                match seq.next_element() {
                    Ok(Some(raw)) => values.push((self.convert)(raw)),
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
    deserializer.deserialize_seq(Entries { list, convert })
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    deserializer.deserialize_any(WholeNumber { key: "id" })
}

fn image_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    deserializer.deserialize_any(WholeNumber { key: "image_id" })
}

fn category_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    deserializer.deserialize_any(WholeNumber { key: "category_id" })
}

fn side<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u32, D::Error> {
    let value = deserializer.deserialize_any(WholeNumber { key: "width or height" })?;
    u32::try_from(value).map_err(|_| D::Error::custom(format!("width or height {value} is out of range")))
}

/// An integer that may be written as `1`, `1.0` or `"1"`.
struct WholeNumber {
    key: &'static str,
}

impl WholeNumber {
    fn float<E: Error>(&self, value: f64) -> std::result::Result<i64, E> {
        /// Above this, neighbouring integers have the same float.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() <= EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
            return Ok(value as i64);
        }
        Err(E::custom(format!("{} {value} is not a whole number", self.key)))
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

/// A boolean that may be written as `0`/`1`, `true`/`false` or `null`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
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
                while let Some(value) = seq.next_element()? {
                    if let Some(slot) = bbox.values.get_mut(bbox.len) {
                        *slot = value;
                    }
                    bbox.len += 1;
                }
                Ok(bbox)
            }
        }
        deserializer.deserialize_seq(Values)
    }
}
