//! The data set YAML of what was written.

use std::fmt::Write as _;
use std::path::Path;

use super::Layout;
use crate::dataset::Split;

/// Words that YAML readers may not read as text.
const SPECIAL: [&str; 8] = ["null", "true", "false", "yes", "no", "on", "off", "y"];

/// The file's text. Paths are relative to its folder, so that the data set can be moved.
pub(super) fn text(splits: &[Split], names: &[String], layout: Layout, image_dir: Option<&Path>) -> String {
    let mut text = "path: .\n".to_owned();
    let entry = |split: Split| match layout {
        Layout::Yolo => format!("images/{split}"),
        Layout::Coco => format!("annotations/instances_{split}.json"),
    };
    for split in [Split::Train, Split::Val, Split::Test] {
        // Writing to a string cannot fail.
        let _ = match splits.contains(&split) {
            true => writeln!(text, "{split}: {}", entry(split)),
            false if split == Split::Test => Ok(()),
            false => {
                let other = splits.first().copied().unwrap_or(split);
                writeln!(
                    text,
                    "{split}: {} # the source has no {split}; keep some images apart",
                    entry(other)
                )
            }
        };
    }
    if let (Layout::Coco, Some(dir)) = (layout, image_dir) {
        let _ = writeln!(text, "image_dir: {}", quoted(&dir.display().to_string()));
    }
    text += "names:\n";
    for (class, name) in names.iter().enumerate() {
        let name = if is_plain(name) { name.clone() } else { quoted(name) };
        let _ = writeln!(text, "  {class}: {name}");
    }
    text
}

/// Whether YAML reads a name as text without quotes.
fn is_plain(name: &str) -> bool {
    let is_word = name.starts_with(|c: char| c.is_alphabetic()) && !name.ends_with(' ');
    let is_special = SPECIAL.contains(&name.to_lowercase().as_str()) || name.eq_ignore_ascii_case("n");
    is_word && !is_special && name.chars().all(|c| c.is_alphanumeric() || " _-".contains(c))
}

/// The name in double quotes, with special characters escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            _ if letter.is_control() => quoted += &format!("\\u{:04x}", letter as u32),
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dataset::DatasetConfig;

    #[test]
    fn every_class_name_is_read_back() {
        let names =
            ["traffic light", "no", "7", "it's: \"#1\"", " a", "größer", "a\tb", "\\", "1.5", "~", ""];
        let names = names.map(str::to_owned);
        let text = text(&[Split::Train, Split::Val], &names, Layout::Yolo, None);
        let config = DatasetConfig::parse(&text, Path::new("/d/data.yaml")).unwrap();
        assert_eq!(config.class_names, names);
        assert!(text.contains("  0: traffic light\n  1: \"no\"\n"), "{text}");
    }

    #[test]
    fn a_missing_split_is_replaced_by_the_other() {
        let names = ["a".to_owned()];
        let text = text(&[Split::Val], &names, Layout::Coco, Some(Path::new("/i m")));
        let config = DatasetConfig::parse(&text, Path::new("/d/data.yaml")).unwrap();
        assert_eq!(config.train, config.val);
        assert_eq!(config.val, ["annotations/instances_val.json"]);
        assert_eq!((config.test.len(), config.image_dir.as_deref()), (0, Some("/i m")));
    }
}
