//! `names`: class names as a list or as a map from class index to name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use yolo_eval::coco::classes::folded;

use crate::{DataError, Result};

/// Names as written: key (absent in a list), name (absent for null), line.
pub(super) struct Names(Vec<(Option<String>, Option<String>, usize)>);

impl Names {
    /// The names as written.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, name, _)| name.as_deref())
    }
}

/// What to say about classes that have the same name, case and surrounding space aside.
pub(super) fn alike(names: &[String]) -> Option<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let (first, second) = names
        .iter()
        .enumerate()
        .find_map(|(class, name)| seen.insert(folded(name), class).map(|first| (first, class)))?;
    Some(format!(
        "classes {first} (`{}`) and {second} (`{}`) have the same name, so tables and annotations cannot tell them \
         apart: give every class in `names` its own",
        names[first], names[second]
    ))
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`names` as a list (`[cat, dog]`) or as a map from class index to name (`0: cat`)",
                )
            }

            // Names are read as strings, so that `no`, `7` or `1.50` keep the text of the file.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Names, A::Error> {
                let mut names = vec![];
                while let Some(name) = seq.next_element::<Spanned<Option<String>>>()? {
                    names.push((None, name.value, line_of(name.referenced.line())));
                }
                Ok(Names(names))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Names, A::Error> {
                let mut names = vec![];
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    names.push((Some(key.value), map.next_value()?, line_of(key.referenced.line())));
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

fn line_of(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

/// The class names in order of their index, checked against `nc`.
pub(super) fn check(
    names: &Spanned<Names>,
    num_classes: Option<&Spanned<i64>>,
    file: &Path,
) -> Result<Vec<String>> {
    let mut by_index = BTreeMap::new();
    for (position, (key, name, line)) in names.value.0.iter().enumerate() {
        let index = match key {
            None => position,
            Some(key) => key.trim().parse::<usize>().map_err(|_| {
                let reason =
                    format!("the key `{key}` in `names` is not a class index: write a number from 0");
                DataError::at_line(file, *line, reason)
            })?,
        };
        let Some(name) = name else {
            let reason =
                format!("class {index} in `names` has no name: write one, in quotes if it is \"null\"");
            return Err(DataError::at_line(file, *line, reason));
        };
        if by_index.insert(index, name.clone()).is_some() {
            return Err(DataError::at_line(file, *line, format!("class {index} is named twice in `names`")));
        }
    }
    check_count(&by_index, num_classes, line_of(names.referenced.line()), file)?;
    Ok(by_index.into_values().collect())
}

fn check_count(
    by_index: &BTreeMap<usize, String>,
    num_classes: Option<&Spanned<i64>>,
    names_line: usize,
    file: &Path,
) -> Result<()> {
    let count = by_index.len();
    let Some((&highest, _)) = by_index.last_key_value() else {
        return Err(DataError::at_line(file, names_line, "`names` is empty: write one name per class"));
    };
    if let Some(nc) = num_classes
        && usize::try_from(nc.value) != Ok(count)
    {
        let reason = format!(
            "`nc` is {} but `names` has {count} names: set `nc: {count}` (or leave `nc` out), or complete `names`",
            nc.value
        );
        return Err(DataError::at_line(file, line_of(nc.referenced.line()), reason));
    }
    if highest >= count {
        let absent: Vec<String> =
            (0..highest).filter(|i| !by_index.contains_key(i)).take(3).map(|i| i.to_string()).collect();
        let reason = format!(
            "`names` has {count} names but goes up to class {highest}; without a name: {}. Indices must run from 0 \
             to {} without gaps: add the missing names, or renumber the classes (in the labels too)",
            absent.join(", "),
            count - 1
        );
        return Err(DataError::at_line(file, names_line, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::DatasetConfig;
    use std::path::Path;

    fn message(names: &str) -> String {
        let text = format!("train: a\nval: b\n{names}\n");
        DatasetConfig::parse(&text, Path::new("/d.yaml")).unwrap_err().to_string()
    }

    #[test]
    fn equal_names_are_noticed() {
        let alike = |names: [&str; 3]| super::alike(&names.map(str::to_owned));
        let text = alike(["cat", "dog", "Cat "]).unwrap();
        assert!(text.contains("classes 0 (`cat`) and 2 (`Cat `)"), "{text}");
        assert_eq!(alike(["cat", "dog", "cow"]), None);
    }

    #[test]
    fn a_wrong_count_gives_both_numbers_and_the_fix() {
        let text = message("nc: 3\nnames: [a, b]");
        assert!(text.starts_with("/d.yaml:3: ") && text.contains("`nc` is 3"), "{text}");
        assert!(text.contains("2 names") && text.contains("nc: 2"), "{text}");
    }

    #[test]
    fn keys_must_be_class_indices_without_gaps() {
        let text = message("names:\n  0: a\n  one: b");
        assert!(text.starts_with("/d.yaml:5: ") && text.contains("`one`"), "{text}");
        assert!(message("names:\n  -1: a").contains("`-1`"));
        let text = message("names:\n  0: a\n  3: b");
        assert!(text.contains("2 names") && text.contains("class 3") && text.contains("1, 2"), "{text}");
    }

    #[test]
    fn nameless_classes_and_empty_names_are_refused() {
        assert!(message("names: [a, null]").contains("class 1"));
        assert!(message("names:\n  0:").contains("class 0"));
        assert!(message("names: []").contains("empty"));
        assert!(message("names: person").contains("list"), "{}", message("names: person"));
        assert!(message("names:").contains("missing"));
    }
}
