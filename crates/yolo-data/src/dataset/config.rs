//! The data set YAML: where the images are and what the classes are called.
//!
//! `download` is kept as text and never run: it may hold a shell command or a program.

mod names;
mod paths;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;
use strsim::osa_distance;

use crate::{DataError, Result, yaml};
use names::Names;
pub use paths::{Entry, SearchPath};

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// Images to train on.
    Train,
    /// Images to select models with.
    Val,
    /// Images for the final test.
    Test,
}

impl Split {
    /// The key in the YAML file: `train`, `val` or `test`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// A data set YAML, read and checked; it is not checked that the images exist.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetConfig {
    /// The YAML file, as an absolute path.
    pub file: PathBuf,
    /// `path` as written; empty if the key is absent.
    pub path: String,
    /// `train` as written: folders, list files or COCO JSON files.
    pub train: Vec<String>,
    /// `val` as written.
    pub val: Vec<String>,
    /// `test` as written; empty if the key is absent.
    pub test: Vec<String>,
    /// Class names; a label's class is an index into them.
    pub class_names: Vec<String>,
    /// `download` as written. Never executed.
    pub download: Option<String>,
    /// Folder of the images of a COCO JSON entry, as written.
    pub image_dir: Option<String>,
}

impl DatasetConfig {
    /// Reads and checks a data set YAML.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, lacks `train`, `val` or `names`, or its `names` and `nc` do not
    /// make sense. The message names the key and line and shows what to write.
    pub fn read(file: &Path) -> Result<Self> {
        let file = std::path::absolute(file).map_err(|e| DataError::io(file, e))?;
        Self::parse(&yaml::read(&file)?, &file)
    }

    /// As [`DatasetConfig::read`], from the file's text.
    ///
    /// # Errors
    /// As [`DatasetConfig::read`].
    pub fn parse(text: &str, file: &Path) -> Result<Self> {
        // As in PyYAML, the last of several equal keys counts; a warning names it.
        let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
        let raw: RawConfig =
            serde_saphyr::from_str_with_options(text, options).map_err(|e| yaml_error(file, &e))?;
        raw.check_readable(text, file)?;
        let class_names = match &raw.names {
            Some(names) => names::check(names, raw.num_classes.as_ref(), file)?,
            None => return Err(missing_key("names", "names: {0: person, 1: bicycle}", &raw, file)),
        };
        let train = raw.required("train", "train: images/train", file)?;
        let val = raw.required("val", "val: images/val", file)?;
        warn_about_misspelt_keys(&raw, file);
        for (key, first, line) in &raw.repeated {
            tracing::warn!(
                "{}:{line}: `{key}` is at line {first} already; the last one counts, so remove the other",
                file.display()
            );
        }
        if let Some(reason) = names::alike(&class_names) {
            tracing::warn!("{}: {reason}", file.display());
        }
        Ok(Self {
            file: file.to_owned(),
            train,
            val,
            test: raw.entries.get("test").cloned().unwrap_or_default(),
            class_names,
            path: raw.path.unwrap_or_default(),
            download: raw.download,
            image_dir: raw.image_dir,
        })
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.class_names.len()
    }

    /// The entries of `split` as written; empty if the YAML has none.
    pub fn entries(&self, split: Split) -> &[String] {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
            Split::Test => &self.test,
        }
    }
}

/// The keys as written in the file.
#[derive(Default)]
struct RawConfig {
    path: Option<String>,
    entries: BTreeMap<&'static str, Vec<String>>,
    names: Option<Spanned<Names>>,
    num_classes: Option<Spanned<i64>>,
    download: Option<String>,
    image_dir: Option<String>,
    unknown: Vec<(String, u64)>,
    /// Keys that are there again, with the lines of the first and of this one.
    repeated: Vec<(String, u64, u64)>,
}

impl RawConfig {
    /// Fails if a value that is used has bytes in an unknown encoding.
    fn check_readable(&self, text: &str, file: &Path) -> Result<()> {
        let paths = self.entries.values().flatten().chain(&self.path).chain(&self.image_dir);
        let names = self.names.iter().flat_map(|names| names.value.texts());
        if !paths.map(String::as_str).chain(names).any(|value| value.contains(yaml::UNREADABLE)) {
            return Ok(());
        }
        let reason = "the text is not UTF-8, so a name or path cannot be read; save the file as UTF-8";
        Err(DataError::at_line(file, yaml::unreadable_line(text).unwrap_or(1), reason))
    }

    fn required(&self, key: &str, example: &str, file: &Path) -> Result<Vec<String>> {
        match self.entries.get(key) {
            Some(entries) if !entries.is_empty() => Ok(entries.clone()),
            _ => Err(missing_key(key, example, self, file)),
        }
    }
}

impl<'de> Deserialize<'de> for RawConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = RawConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping with the keys path, train, val, test and names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawConfig, A::Error> {
                let mut raw = RawConfig::default();
                let mut lines = BTreeMap::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let line = key.referenced.line();
                    let first = *lines.entry(key.value.clone()).or_insert(line);
                    if first != line {
                        raw.repeated.push((key.value.clone(), first, line));
                    }
                    match key.value.as_str() {
                        "path" => raw.path = map.next_value()?,
                        "train" => drop(raw.entries.insert("train", map.next_value::<OneOrMany>()?.0)),
                        "val" => drop(raw.entries.insert("val", map.next_value::<OneOrMany>()?.0)),
                        "test" => drop(raw.entries.insert("test", map.next_value::<OneOrMany>()?.0)),
                        "names" => raw.names = map.next_value()?,
                        "nc" => raw.num_classes = map.next_value()?,
                        "download" => raw.download = map.next_value()?,
                        "image_dir" => raw.image_dir = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            raw.unknown.push((key.value, key.referenced.line()));
                        }
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// `train: a`, `train: [a, b]` or nothing.
struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Paths;
        impl<'de> Visitor<'de> for Paths {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths (put quotes around one that looks like a number)")
            }

            fn visit_str<E>(self, path: &str) -> std::result::Result<OneOrMany, E> {
                let path = path.trim();
                Ok(OneOrMany(if path.is_empty() { vec![] } else { vec![path.to_owned()] }))
            }

            fn visit_unit<E>(self) -> std::result::Result<OneOrMany, E> {
                Ok(OneOrMany(vec![]))
            }

            fn visit_none<E>(self) -> std::result::Result<OneOrMany, E> {
                Ok(OneOrMany(vec![]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<OneOrMany, A::Error> {
                let mut paths = vec![];
                while let Some(path) = seq.next_element::<String>()? {
                    paths.push(path.trim().to_owned());
                }
                Ok(OneOrMany(paths))
            }
        }
        deserializer.deserialize_any(Paths)
    }
}

fn yaml_error(file: &Path, error: &serde_saphyr::Error) -> DataError {
    let example = "configs/data/coco.yaml is an example";
    let reason = format!("not a valid data set YAML: {}; {example}", yaml::reason(error));
    match error.location().map(|at| at.line()).and_then(|line| usize::try_from(line).ok()) {
        Some(line) if line > 0 => DataError::at_line(file, line, reason),
        _ => DataError::invalid(file, reason),
    }
}

fn missing_key(key: &str, example: &str, raw: &RawConfig, file: &Path) -> DataError {
    let near = raw.unknown.iter().find(|(unknown, _)| is_misspelt(unknown, key));
    let hint = match near {
        Some((unknown, line)) => format!("; did you mean `{unknown}:` at line {line}? Rename it to `{key}:`"),
        None => String::new(),
    };
    DataError::invalid(
        file,
        format!("the key `{key}` is missing or empty{hint}. Write for example `{example}`"),
    )
}

fn warn_about_misspelt_keys(raw: &RawConfig, file: &Path) {
    const KNOWN: [&str; 8] = ["path", "train", "val", "test", "names", "nc", "download", "image_dir"];
    for (unknown, line) in &raw.unknown {
        if let Some(key) = KNOWN.iter().find(|key| is_misspelt(unknown, key)) {
            tracing::warn!(
                "{}:{line}: unknown key `{unknown}` is ignored; did you mean `{key}`?",
                file.display()
            );
        }
    }
}

/// Whether `word` may be a misspelling (or a longer or shorter form) of `key`.
fn is_misspelt(word: &str, key: &str) -> bool {
    let word = word.to_lowercase();
    let starts_alike = word.len() >= 3 && (word.starts_with(key) || key.starts_with(&word));
    let also_called = match key {
        "val" => word.starts_with("val"),
        "names" => word == "classes" || word == "labels" || word == "class_names",
        _ => false,
    };
    // A short key allows few edits: nearly every short word is two edits from `nc`.
    starts_alike || also_called || osa_distance(&word, key) <= key.len() / 3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<DatasetConfig> {
        DatasetConfig::parse(text, Path::new("/data/fruit.yaml"))
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_key() {
        let config = parse(
            "path: fruit\ntrain: [a.txt, images/b]\nval: v.txt\ntest:\nnc: 2\nnames: [apple, pear]\n\
             download: |\n  import os\nroboflow:\n  workspace: x\n",
        )
        .unwrap();
        assert_eq!((config.path.as_str(), config.train.len()), ("fruit", 2));
        assert_eq!(config.entries(Split::Val), ["v.txt"]);
        assert!(config.test.is_empty());
        assert_eq!(config.class_names, ["apple", "pear"]);
        assert_eq!(config.download.as_deref(), Some("import os\n"));
    }

    #[test]
    fn class_names_are_taken_by_their_source_text() {
        let names = parse("train: a\nval: b\nnames: [no, yes, on, off, 7, 1.50, true, 'null', 0x1F]\n");
        let names = names.unwrap().class_names;
        assert_eq!(names, ["no", "yes", "on", "off", "7", "1.50", "true", "null", "0x1F"]);
        let names = parse("train: a\nval: b\nnames:\n  1: no\n  0: 12\n").unwrap().class_names;
        assert_eq!(names, ["12", "no"]);
    }

    #[test]
    fn byte_order_mark_and_windows_line_ends_are_fine() {
        let text = "\u{feff}train: a\r\nval: b\r\nnames:\r\n  0: no\r\n  1: two words # note\r\n";
        assert_eq!(parse(text).unwrap().class_names, ["no", "two words"]);
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_counts() {
        let config = parse("train: a\nval: c\nnames: [x]\ntrain: b\nextra: 1\nextra: 2\n").unwrap();
        assert_eq!(config.train, ["b"]);
        let text = message("train: a\nval: c\nnames: [x, y]\nnc: 2\nnc: 3\n");
        assert!(text.starts_with("/data/fruit.yaml:5: `nc` is 3"), "{text}");
    }

    #[test]
    fn bytes_of_another_encoding_matter_only_in_values() {
        let config = |bytes: &[u8]| parse(&yaml::decode(bytes));
        let fine = config(b"train: a # \xD1\xB5\nval: b\n# \xE9\nnames: [x]\nlicense: \xE9\n").unwrap();
        assert_eq!(fine.train, ["a"]);
        let text = config(b"train: a\nval: b # \xE9\nnames: [caf\xE9]\n").unwrap_err().to_string();
        assert!(
            text.starts_with("/data/fruit.yaml:3: ") && text.contains("save the file as UTF-8"),
            "{text}"
        );
    }

    #[test]
    fn missing_keys_are_named_with_what_to_write() {
        let text = message("train: a\nnames: [x]\n");
        assert!(text.contains("`val` is missing") && text.contains("val: images/val"), "{text}");
        let text = message("train: a\nvall: b\nnames: [x]\n");
        assert!(text.contains("`vall:` at line 2") && text.contains("`val:`"), "{text}");
        let text = message("train: a\nval: b\nname: [x]\n");
        assert!(text.contains("`names` is missing") && text.contains("`name:` at line 3"), "{text}");
        assert!(message("train:\nval: b\nnames: [x]\n").contains("`train` is missing or empty"));
        assert!(message("").contains("missing"), "{}", message(""));
    }

    #[test]
    fn wrong_yaml_gives_the_line() {
        let text = message("train: a\nval: {b\nnames: [x]\n");
        assert!(text.starts_with("/data/fruit.yaml:"), "{text}");
        assert!(message("- a\n- b\n").contains("lines of `key: value`"));
        assert!(message("train: 7\nval: b\nnames: [x]\n").contains("quotes"));
    }

    #[test]
    fn misspelt_keys_are_distinguished_from_other_keys() {
        for (word, key) in
            [("vall", "val"), ("validation", "val"), ("trian", "train"), ("Names", "names"), ("pth", "path")]
        {
            assert!(is_misspelt(word, key), "{word} {key}");
        }
        for (word, key) in [("roboflow", "val"), ("license", "names"), ("id", "nc"), ("task", "path")] {
            assert!(!is_misspelt(word, key), "{word} {key}");
        }
    }
}
