//! Results of earlier scans, stored per image so that only changed files are scanned again.
//!
//! The file has a version line and then one JSON object per line. It is in the user's cache folder, never beside the
//! data. A cache that cannot be read or written only costs time: this is logged at debug level and the files are
//! scanned.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use yolo_eval::{Convention, Cxcywh};
use yolo_files::AtomicFile;

use super::{Label, Problem};

/// First line of a cache file. The number changes whenever a scan of the same files may give another result.
const VERSION_LINE: &str = "yolo-prune data set cache 3";

/// The folder for caches: `$XDG_CACHE_HOME/yolo-prune`, or otherwise `~/.cache/yolo-prune`; `None` without a home
/// folder.
pub fn default_cache_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME")
        .filter(|dir| dir.is_absolute())
        .or_else(|| set("HOME").or_else(|| set("USERPROFILE")).map(|home| home.join(".cache")))?;
    Some(base.join("yolo-prune"))
}

/// Size and times of an image. The file is unchanged if all are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    size: u64,
    mtime_ns: i64,
    /// When the file system changed the entry, which copies with the old modification time do too; 0 if the system does
    /// not record it.
    ctime_ns: i64,
}

impl FileState {
    /// `None` if the file does not exist.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?;
        let mtime_ns = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).ok()?,
            Err(before) => -i64::try_from(before.duration().as_nanos()).ok()?,
        };
        Some(Self { size: metadata.len(), mtime_ns, ctime_ns: changed_ns(&metadata) })
    }
}

#[cfg(unix)]
fn changed_ns(metadata: &std::fs::Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn changed_ns(_metadata: &std::fs::Metadata) -> i64 {
    0
}

/// A hash of a label file's content; `None` if it cannot be read. Label files are small, and tools replace them without
/// a trace in size or time.
pub(super) fn content_hash(path: &Path) -> Option<u64> {
    std::fs::read(path).ok().map(|content| fnv1a(content.iter()))
}

/// The state of an image and its label file when they were scanned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) image: FileState,
    pub(super) label_path: Option<PathBuf>,
    /// Of the content.
    pub(super) label: Option<u64>,
}

/// The result of one scan, before classes are checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scanned {
    /// Width and height in pixels; absent for a rejected image.
    pub(super) size: Option<(u32, u32)>,
    /// Whether a label file exists.
    pub(super) has_label_file: bool,
    pub(super) labels: Vec<Label>,
    pub(super) highest_class: Option<(u32, usize)>,
    pub(super) problems: Vec<Problem>,
}

/// One line of the file. Floats are kept as bits, so that reading back is exact.
#[derive(Serialize, Deserialize)]
struct Line {
    image: PathBuf,
    key: Key,
    size: Option<(u32, u32)>,
    has_label_file: bool,
    labels: Vec<(u32, [u32; 4], Vec<[u32; 2]>)>,
    highest_class: Option<(u32, usize)>,
    problems: Vec<Problem>,
}

/// The entries of one cache file.
#[derive(Debug, Default)]
pub(super) struct Cache {
    file: Option<PathBuf>,
    entries: HashMap<PathBuf, (Key, Scanned)>,
}

impl Cache {
    /// Reads the cache of the data set named by `sources`, whose labels were read by the rules of `convention`; empty
    /// without a folder or a readable file.
    pub(super) fn open(dir: Option<&Path>, sources: &[PathBuf], convention: Convention) -> Self {
        let Some(dir) = dir else { return Self::default() };
        let rules = match convention {
            Convention::Yolov5 => String::new(),
            other => format!("-{}", other.name()),
        };
        let file = dir.join(format!("dataset-{:016x}{rules}.jsonl", source_hash(sources)));
        let entries = match std::fs::read_to_string(&file) {
            Ok(text) => parse(&text, &file),
            Err(error) => {
                tracing::debug!("no data set cache at {}: {error}", file.display());
                HashMap::new()
            }
        };
        Self { file: Some(file), entries }
    }

    /// The stored result for `image`, if neither it nor its label file has changed since.
    pub(super) fn get(&self, image: &Path, key: &Key) -> Option<&Scanned> {
        self.entries.get(image).filter(|(known, _)| known == key).map(|(_, scanned)| scanned)
    }

    /// Replaces the content of the file by `scans`, atomically; does nothing if it already holds them.
    pub(super) fn write(&self, scans: &[(&Path, &Key, &Scanned)]) {
        let Some(file) = &self.file else { return };
        let unchanged = scans.len() == self.entries.len()
            && scans.iter().all(|(image, key, _)| self.get(image, key).is_some());
        if unchanged {
            return;
        }
        if let Err(error) = write_scans(file, scans) {
            tracing::debug!("data set cache {} not written: {error}", file.display());
        }
    }
}

fn parse(text: &str, file: &Path) -> HashMap<PathBuf, (Key, Scanned)> {
    let mut lines = text.lines();
    if lines.next() != Some(VERSION_LINE) {
        tracing::debug!("data set cache {} is of another version", file.display());
        return HashMap::new();
    }
    let lines: Vec<&str> = lines.collect();
    let entries = lines.par_iter().filter_map(|line| match serde_json::from_str::<Line>(line) {
        Ok(line) => Some(line.into_entry()),
        Err(error) => {
            tracing::debug!("bad line in data set cache {}: {error}", file.display());
            None
        }
    });
    entries.collect()
}

fn write_scans(file: &Path, scans: &[(&Path, &Key, &Scanned)]) -> std::io::Result<()> {
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
    let mut out = AtomicFile::create(file)?;
    writeln!(out, "{VERSION_LINE}")?;
    for (image, key, scanned) in scans {
        // A path that is not UTF-8 cannot be written as JSON, so its image is scanned each time.
        if let Ok(line) = serde_json::to_string(&Line::new(image, key, scanned)) {
            writeln!(out, "{line}")?;
        }
    }
    out.commit()
}

impl Line {
    fn new(image: &Path, key: &Key, scanned: &Scanned) -> Self {
        let bits = |label: &Label| {
            let Cxcywh { cx, cy, w, h } = label.bbox_norm;
            let polygon = label.polygon_norm.iter().map(|point| point.map(f32::to_bits)).collect();
            (label.class, [cx, cy, w, h].map(f32::to_bits), polygon)
        };
        Self {
            image: image.to_owned(),
            key: key.clone(),
            size: scanned.size,
            has_label_file: scanned.has_label_file,
            labels: scanned.labels.iter().map(bits).collect(),
            highest_class: scanned.highest_class,
            problems: scanned.problems.clone(),
        }
    }

    fn into_entry(self) -> (PathBuf, (Key, Scanned)) {
        let label = |(class, bbox, polygon): (u32, [u32; 4], Vec<[u32; 2]>)| {
            let [cx, cy, w, h] = bbox.map(f32::from_bits);
            let polygon_norm = polygon.into_iter().map(|point| point.map(f32::from_bits)).collect();
            Label { class, bbox_norm: Cxcywh { cx, cy, w, h }, polygon_norm }
        };
        let scanned = Scanned {
            size: self.size,
            has_label_file: self.has_label_file,
            labels: self.labels.into_iter().map(label).collect(),
            highest_class: self.highest_class,
            problems: self.problems,
        };
        (self.image, (self.key, scanned))
    }
}

fn source_hash(paths: &[PathBuf]) -> u64 {
    fnv1a(paths.iter().flat_map(|path| path.as_os_str().as_encoded_bytes().iter().chain(&[0])))
}

/// FNV-1a. The standard hasher may differ between builds, which would then not find their files.
pub(crate) fn fnv1a<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> (PathBuf, Key, Scanned) {
        let stamp = FileState { size: 3, mtime_ns: 1_700_000_000_123_456_789, ctime_ns: 7 };
        let bbox_norm = Cxcywh { cx: 0.1, cy: 1.0 / 3.0, w: f32::MIN_POSITIVE, h: 0.7 };
        let label = Label { class: 4, bbox_norm, polygon_norm: vec![[0.1, 0.2], [0.3, 1e-9]] };
        let key = Key { image: stamp, label_path: Some("/l.txt".into()), label: Some(u64::MAX - 1) };
        let problems = vec![Problem::warning(Path::new("/l.txt"), Some(3), "odd\n\"line\"")];
        let scanned = Scanned {
            size: Some((30, 20)),
            has_label_file: true,
            labels: vec![label],
            highest_class: Some((4, 1)),
            problems,
        };
        (PathBuf::from("/i.jpg"), key, scanned)
    }

    #[test]
    fn what_was_written_is_read_back_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (image, key, scanned) = example();
        let open = || Cache::open(Some(dir.path()), &[PathBuf::from("/d")], Convention::Yolov5);
        open().write(&[(&image, &key, &scanned)]);
        let cache = open();
        assert_eq!(cache.get(&image, &key), Some(&scanned));
        let changed = Key { image: FileState { size: 4, ..key.image }, ..key.clone() };
        assert_eq!(cache.get(&image, &changed), None);
        let relabelled = Key { label: None, ..key.clone() };
        assert_eq!(cache.get(&image, &relabelled), None);
        let other = Cache::open(Some(dir.path()), &[PathBuf::from("/d")], Convention::Ultralytics);
        assert_eq!(other.get(&image, &key), None);
        assert_eq!(
            Cache::open(Some(dir.path()), &[PathBuf::from("/e")], Convention::Yolov5).get(&image, &key),
            None
        );
    }

    #[test]
    fn a_damaged_cache_only_loses_its_bad_lines() {
        let dir = tempfile::tempdir().unwrap();
        let (image, key, scanned) = example();
        let cache = Cache::open(Some(dir.path()), &[], Convention::Yolov5);
        cache.write(&[(&image, &key, &scanned), (Path::new("/j.jpg"), &key, &scanned)]);
        let file = cache.file.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, &text[..text.len() - 9]).unwrap();
        let cache = Cache::open(Some(dir.path()), &[], Convention::Yolov5);
        assert!(cache.get(&image, &key).is_some() && cache.get(Path::new("/j.jpg"), &key).is_none());
        std::fs::write(&file, text.replace(VERSION_LINE, "other")).unwrap();
        assert!(Cache::open(Some(dir.path()), &[], Convention::Yolov5).entries.is_empty());
        std::fs::write(&file, [0xFF, 0]).unwrap();
        assert!(Cache::open(Some(dir.path()), &[], Convention::Yolov5).entries.is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_not_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (image, key, scanned) = example();
        Cache::open(Some(&file.path().join("below")), &[], Convention::Yolov5)
            .write(&[(&image, &key, &scanned)]);
    }
}
