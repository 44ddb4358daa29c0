//! How annotation and results files name images: by a number, or by a text.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The id of an image as a file writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum ImageId {
    /// A whole number.
    Number(i64),
    /// A text. Results files also name images without an id by their file name without its extension.
    Name(String),
}

impl ImageId {
    /// The number, or the number that the text is (`"000012"`, `"1.0"`).
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(text) => number_of(text),
        }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for ImageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = ImageId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id (a whole number or a text)")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ImageId, E> {
                Ok(ImageId::Number(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ImageId, E> {
                let id = i64::try_from(value).map_err(|_| E::custom(format!("id {value} is too large")))?;
                Ok(ImageId::Number(id))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<ImageId, E> {
                let id =
                    whole(value).ok_or_else(|| E::custom(format!("id {value} is not a whole number")))?;
                Ok(ImageId::Number(id))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ImageId, E> {
                Ok(ImageId::Name(text.to_owned()))
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}

/// The integer that a float is exactly.
pub(super) fn whole(value: f64) -> Option<i64> {
    /// Above this, neighbouring integers have the same float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

fn number_of(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
}

/// The ids of a file as numbers, and back.
///
/// Numbers, and texts that all are different numbers, stand for themselves. If any text is not a number, all texts are
/// numbered in their order, which is the order in which pycocotools visits them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageIds {
    written: HashMap<i64, ImageId>,
    by_text: HashMap<String, i64>,
    /// Whether there are texts that do not stand for their number.
    has_names: bool,
}

impl ImageIds {
    /// Of the ids of a list, which may repeat.
    pub fn new<'a>(ids: impl Iterator<Item = &'a ImageId> + Clone) -> Self {
        let numbers = ids.clone().filter_map(|id| if let ImageId::Number(n) = id { Some(*n) } else { None });
        let mut known = Self::default();
        for number in numbers {
            known.written.insert(number, ImageId::Number(number));
        }
        let texts =
            ids.filter_map(|id| if let ImageId::Name(text) = id { Some(text.as_str()) } else { None });
        let mut texts: Vec<&str> = texts.collect();
        texts.sort_unstable();
        texts.dedup();
        let numbers: Option<Vec<i64>> = texts.iter().map(|text| number_of(text)).collect();
        let numbers = numbers.filter(|numbers| {
            let distinct: std::collections::HashSet<&i64> = numbers.iter().collect();
            distinct.len() == numbers.len()
        });
        known.has_names = numbers.is_none();
        let first = known.written.keys().max().map_or(0, |highest| highest.saturating_add(1));
        let numbers = numbers.unwrap_or_else(|| (first..).take(texts.len()).collect());
        for (text, number) in texts.into_iter().zip(numbers) {
            known.written.entry(number).or_insert_with(|| ImageId::Name(text.to_owned()));
            known.by_text.insert(text.to_owned(), number);
        }
        known
    }

    /// The number of an id of the file; `12`, `"12"` and `"0012"` are the same unless the file has several of them.
    pub fn number(&self, id: &ImageId) -> Option<i64> {
        let by_text = |text: &str| self.by_text.get(text).copied();
        let by_number = |number: i64| self.written.contains_key(&number).then_some(number);
        match id {
            ImageId::Name(text) => by_text(text)
                .or_else(|| by_text(text.trim()))
                .or_else(|| number_of(text).filter(|_| !self.has_names).and_then(by_number)),
            ImageId::Number(number) => match self.written.get(number) {
                Some(ImageId::Number(_)) => Some(*number),
                Some(ImageId::Name(_)) if !self.has_names => Some(*number),
                _ => by_text(&number.to_string()),
            },
        }
    }

    /// The highest number, or 0.
    pub(super) fn highest(&self) -> i64 {
        self.written.keys().copied().max().unwrap_or(0)
    }

    /// The id as the file writes it.
    pub fn written(&self, number: i64) -> ImageId {
        self.written.get(&number).cloned().unwrap_or(ImageId::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImageId {
        ImageId::Name(text.to_owned())
    }

    #[test]
    fn texts_that_are_numbers_stand_for_them() {
        let ids = ImageIds::new([name("000012"), name("7.0"), ImageId::Number(3)].iter());
        assert_eq!(ids.number(&ImageId::Number(12)), Some(12));
        assert_eq!(ids.number(&name("12")), Some(12));
        assert_eq!(ids.number(&name("3")), Some(3));
        assert_eq!((ids.number(&name("x")), ids.number(&ImageId::Number(4))), (None, None));
        assert_eq!((ids.written(12), ids.written(3)), (name("000012"), ImageId::Number(3)));
    }

    #[test]
    fn other_texts_are_numbered_in_their_order() {
        let ids = ImageIds::new([name("b"), name("a 2"), name("b"), ImageId::Number(5), name("9")].iter());
        let number = |text: &str| ids.number(&name(text));
        assert_eq!((number("9"), number("a 2"), number("b")), (Some(6), Some(7), Some(8)));
        assert_eq!((ids.number(&ImageId::Number(9)), ids.number(&ImageId::Number(7))), (Some(6), None));
        assert_eq!(ids.written(7), name("a 2"));
        let both = ImageIds::new([name("7"), name("007")].iter());
        assert_ne!(both.number(&name("7")), both.number(&name("007")));
        assert_eq!(both.written(both.number(&name("7")).unwrap_or(-1)), name("7"));
    }
}
