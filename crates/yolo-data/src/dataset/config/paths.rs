//! Finds the entries of a data set YAML on this machine.

use std::path::{Path, PathBuf};

use super::{DatasetConfig, Split};
use crate::{DataError, Result};

/// The folders that a relative path may start from, tried in this order after the folder of the YAML.
#[derive(Clone, Debug, Default)]
pub struct SearchPath {
    /// The current directory.
    pub current_dir: Option<PathBuf>,
    /// `$YOLO_DATASETS_DIR`, the folder of all data sets.
    pub datasets_dir: Option<PathBuf>,
}

impl SearchPath {
    /// The current directory and `$YOLO_DATASETS_DIR` of this process.
    pub fn from_env() -> Self {
        Self {
            current_dir: std::env::current_dir().ok(),
            datasets_dir: std::env::var_os("YOLO_DATASETS_DIR").and_then(|dir| std::path::absolute(dir).ok()),
        }
    }
}

/// One entry of a split, found on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The root of the data set under which the entry was found.
    pub root: PathBuf,
    /// The folder, list file or COCO JSON file.
    pub path: PathBuf,
}

impl DatasetConfig {
    /// The folders `path` may mean, in the order they are tried: itself if absolute, else below the YAML's
    /// folder, the current directory and `$YOLO_DATASETS_DIR` (there also by its last component alone).
    pub fn root_candidates(&self, search: &SearchPath) -> Vec<PathBuf> {
        let mut roots = vec![];
        let yaml_dir = self.file.parent().unwrap_or(Path::new(""));
        for written in [self.path.clone(), with_slashes(&self.path)] {
            let written = Path::new(&written);
            // `join` of an absolute path is that path.
            roots.push(yaml_dir.join(written));
            roots.extend(search.current_dir.iter().map(|dir| dir.join(written)));
            if let Some(dir) = &search.datasets_dir {
                roots.push(dir.join(written));
                roots
                    .extend(written.file_name().filter(|_| written.is_relative()).map(|name| dir.join(name)));
            }
        }
        let mut unique = vec![];
        for root in roots.into_iter().map(|root| tidy(&root)) {
            if !unique.contains(&root) {
                unique.push(root);
            }
        }
        unique
    }

    /// Finds every entry of `split` on disk. A relative entry is searched below each root; one that starts with `../` is
    /// also tried without it.
    ///
    /// # Errors
    /// The split has no entry, or one does not exist; the message lists every place tried.
    pub fn locate(&self, split: Split, search: &SearchPath) -> Result<Vec<Entry>> {
        let written = self.entries(split);
        if written.is_empty() {
            let reason =
                format!("the key `{split}` is missing or empty. Write for example `{split}: images/{split}`");
            return Err(DataError::invalid(&self.file, reason));
        }
        let roots = self.root_candidates(search);
        written.iter().map(|entry| self.locate_entry(split, entry, &roots)).collect()
    }

    /// The folder that `image_dir` means, given the root under which an entry was found.
    pub(crate) fn image_dir_in(&self, root: &Path) -> Option<PathBuf> {
        self.image_dir.as_ref().map(|dir| tidy(&root.join(with_slashes(dir))))
    }

    fn locate_entry(&self, split: Split, written: &str, roots: &[PathBuf]) -> Result<Entry> {
        let mut tried = vec![];
        for root in roots {
            for spelling in spellings(written) {
                let path = tidy(&root.join(&spelling));
                if path.exists() {
                    return Ok(Entry { root: root.clone(), path });
                }
                if !tried.contains(&path) {
                    tried.push(path);
                }
            }
        }
        let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
        let reason =
            format!("`{split}: {written}` does not exist. Tried: {}. {}", tried.join(", "), self.advice());
        Err(DataError::invalid(&self.file, reason))
    }

    fn advice(&self) -> String {
        let general = "correct `path` in the YAML, or set YOLO_DATASETS_DIR to the folder of your data sets";
        let stem = self.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = Path::new(&self.path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let known = ["coco", "coco128"].into_iter().find(|name| *name == folder || *name == stem);
        match known {
            Some(name) => format!("To download it: `cargo xtask fetch-{name}`; otherwise {general}."),
            None if self.download.is_some() => {
                format!("`download` in the YAML is never run: get the data set yourself, then {general}.")
            }
            None => format!("To fix it, {general}."),
        }
    }
}

/// The ways to read one entry: as written, and without a leading `../`.
fn spellings(written: &str) -> Vec<String> {
    let mut spellings = vec![written.to_owned()];
    if written.contains('\\') {
        spellings.push(with_slashes(written));
    }
    let inside =
        spellings.iter().filter_map(|s| s.strip_prefix("../").map(str::to_owned)).collect::<Vec<_>>();
    spellings.extend(inside);
    spellings
}

fn with_slashes(path: &str) -> String {
    path.replace('\\', "/")
}

/// Drops `.` components and trailing separators; `..` stays, since a symlink may stand before it.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(dir: &Path, text: &str) -> DatasetConfig {
        DatasetConfig::parse(&format!("{text}\nnames: [x]\n"), &dir.join("set.yaml")).unwrap()
    }

    #[test]
    fn a_relative_root_is_searched_beside_the_yaml_then_here_then_among_the_data_sets() {
        let temp = tempfile::tempdir().unwrap();
        let [yaml, here, sets] = ["a/yaml", "b/here", "c/sets"].map(|d| temp.path().join(d));
        let search = SearchPath { current_dir: Some(here.clone()), datasets_dir: Some(sets.clone()) };
        let config = config(&yaml, "path: ../datasets/f\ntrain: t\nval: v");
        let text = config.locate(Split::Val, &search).unwrap_err().to_string();
        let places = [yaml.join("../datasets/f/v"), here.join("../datasets/f/v"), sets.join("f/v")];
        for place in &places {
            assert!(text.contains(place.to_str().unwrap()), "{text}");
        }
        for place in [&places[2], &places[1], &places[0]] {
            for dir in [&yaml, &here, &sets] {
                std::fs::create_dir_all(dir).unwrap();
            }
            std::fs::create_dir_all(place).unwrap();
            let found = config.locate(Split::Val, &search).unwrap();
            assert_eq!(&found[0].path, place);
        }
    }

    #[test]
    fn an_entry_above_the_root_falls_back_to_one_inside() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("valid/images")).unwrap();
        let config = config(temp.path(), "train: ../train/images\nval: ../valid/images");
        let found = config.locate(Split::Val, &SearchPath::default()).unwrap();
        assert_eq!(found[0].path, temp.path().join("valid/images"));
    }

    #[test]
    fn a_missing_data_set_is_an_error_with_the_command_that_fetches_it() {
        let config = |text| config(Path::new("/nowhere"), text);
        let message = |c: DatasetConfig, s| c.locate(s, &SearchPath::default()).unwrap_err().to_string();
        let text = message(config("path: datasets/coco\ntrain: a\nval: b"), Split::Train);
        assert!(text.contains("`cargo xtask fetch-coco`"), "{text}");
        let text = message(config("path: datasets/coco128\ntrain: a\nval: b"), Split::Train);
        assert!(text.contains("`cargo xtask fetch-coco128`"), "{text}");
        let text = message(config("train: a\nval: b\ndownload: bash rm -rf /"), Split::Train);
        assert!(text.contains("never run"), "{text}");
        let text = message(config("train: a\nval: b"), Split::Test);
        assert!(text.contains("`test` is missing"), "{text}");
    }
}
