//! COCO 2017 and coco128, in the layout that `configs/data/*.yaml` expect.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::extract::{STATE_DIR, extract, remove_leftovers};
use crate::{Artefact, FetchError, Options, Progress, Result, artefacts, disk, download, http, lock, verify};

/// Some files of an archive that belong to a data set.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is called in the notes of what is done.
    pub id: &'static str,
    /// The archive.
    pub archive: Artefact,
    /// Prefix of the entries wanted, and what replaces it: `("val2017/", "images/val2017/")`.
    pub moves: &'static [(&'static str, &'static str)],
    /// Folders that hold at least this many files once it is complete. A file counts as a folder of one.
    pub present: &'static [(&'static str, usize)],
    /// About how many bytes it takes on disk.
    pub unpacked_bytes: u64,
}

/// What became of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Parts that were unpacked now.
    pub unpacked: Vec<&'static str>,
    /// Parts that had been there.
    pub were_there: Vec<&'static str>,
    /// Files that differ from the archive's; they were left alone.
    pub kept: Vec<PathBuf>,
}

/// Validation images, annotations and labels; with `train` those of the training images as well (19 GB).
pub fn coco_parts(train: bool) -> Vec<Part> {
    let mut parts = labels_and_annotations("val2017");
    parts.push(Part {
        id: "images/val2017",
        archive: artefacts::coco_val_images(),
        moves: &[("val2017/", "images/val2017/")],
        present: &[("images/val2017", 5000)],
        unpacked_bytes: 830_000_000,
    });
    if train {
        parts.extend(labels_and_annotations("train2017"));
        parts.push(Part {
            id: "images/train2017",
            archive: artefacts::coco_train_images(),
            moves: &[("train2017/", "images/train2017/")],
            present: &[("images/train2017", 118_287)],
            unpacked_bytes: 19_600_000_000,
        });
    }
    parts
}

fn labels_and_annotations(split: &str) -> Vec<Part> {
    let labels = Part {
        id: "labels/val2017",
        archive: artefacts::coco_labels(),
        moves: &[
            ("coco/labels/val2017/", "labels/val2017/"),
            ("coco/val2017.txt", "val2017.txt"),
            ("coco/test-dev2017.txt", "test-dev2017.txt"),
        ],
        present: &[("labels/val2017", 4952), ("val2017.txt", 1)],
        unpacked_bytes: 25_000_000,
    };
    let annotations = Part {
        id: "annotations/val2017",
        archive: artefacts::coco_annotations(),
        moves: &[("annotations/instances_val2017.json", "annotations/instances_val2017.json")],
        present: &[("annotations/instances_val2017.json", 1)],
        unpacked_bytes: 20_000_000,
    };
    if split == "val2017" {
        return vec![labels, annotations];
    }
    let labels = Part {
        id: "labels/train2017",
        moves: &[("coco/labels/train2017/", "labels/train2017/"), ("coco/train2017.txt", "train2017.txt")],
        present: &[("labels/train2017", 117_266), ("train2017.txt", 1)],
        unpacked_bytes: 500_000_000,
        ..labels
    };
    let annotations = Part {
        id: "annotations/train2017",
        moves: &[("annotations/instances_train2017.json", "annotations/instances_train2017.json")],
        present: &[("annotations/instances_train2017.json", 1)],
        unpacked_bytes: 480_000_000,
        ..annotations
    };
    vec![labels, annotations]
}

/// Everything of coco128.
pub fn coco128_parts() -> Vec<Part> {
    vec![Part {
        id: "coco128",
        archive: artefacts::coco128(),
        moves: &[("coco128/images/", "images/"), ("coco128/labels/", "labels/")],
        present: &[("images/train2017", 128), ("labels/train2017", 126)],
        unpacked_bytes: 8_000_000,
    }]
}

impl Part {
    fn destination(&self, entry: &str) -> Option<PathBuf> {
        let moved = |(from, to): &(&str, &str)| entry.strip_prefix(from).map(|rest| format!("{to}{rest}"));
        self.moves.iter().find_map(moved).map(PathBuf::from)
    }

    fn is_there(&self, stamps: &Stamps, dest: &Path) -> bool {
        stamps.holds(self.id, dest) || self.is_present(dest)
    }

    fn is_present(&self, dest: &Path) -> bool {
        self.present.iter().all(|(path, count)| count_files(&dest.join(path)) >= *count)
    }
}

fn count_files(path: &Path) -> usize {
    if path.is_file() {
        return 1;
    }
    std::fs::read_dir(path).map_or(0, |entries| entries.flatten().count())
}

/// What was unpacked from where, by part.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stamps(BTreeMap<String, Stamp>);

#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    archive: String,
    sha256: String,
    /// Files by folder.
    files: BTreeMap<PathBuf, usize>,
}

impl Stamps {
    fn path(dest: &Path) -> PathBuf {
        dest.join(STATE_DIR).join("unpacked.json")
    }

    fn read(dest: &Path) -> Self {
        // Without readable notes everything is fetched again, which does no harm.
        let json = std::fs::read(Self::path(dest)).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    }

    fn write(&self, dest: &Path) -> Result<()> {
        let path = Self::path(dest);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| FetchError::io(&path, std::io::Error::other(error)))?;
        disk::write_small(&path, &json)
    }

    /// Whether everything that was unpacked for `id` is still there.
    fn holds(&self, id: &str, dest: &Path) -> bool {
        let folders_hold = |stamp: &Stamp| {
            stamp.files.iter().all(|(folder, count)| count_files(&dest.join(folder)) >= *count)
        };
        self.0.get(id).is_some_and(folders_hold)
    }
}

/// Brings `parts` into the folder `dest`: what is there already is left alone, archives are removed once they are
/// unpacked (local ones of the options stay). An interrupted call continues with the next one.
///
/// # Errors
/// As [`crate::fetch`] and [`extract()`].
pub fn fetch_parts(dest: &Path, parts: &[Part], options: &Options, progress: Progress<'_>) -> Result<Report> {
    refuse_offline(dest, parts, options)?;
    let state = dest.join(STATE_DIR);
    std::fs::create_dir_all(&state).map_err(|error| FetchError::io(&state, error))?;
    let _lock = lock::acquire(&state.join("lock"), progress)?;
    remove_leftovers(dest);
    let mut stamps = Stamps::read(dest);
    let is_there = |part: &&Part| part.is_there(&stamps, dest);
    let (there, missing): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(is_there);
    let mut report = Report { were_there: there.iter().map(|part| part.id).collect(), ..Report::default() };
    require_space(&missing, dest, options)?;
    for archive in archives(&missing) {
        let (path, sha256) = archive_file(archive, &state, options, progress)?;
        for part in missing.iter().filter(|part| part.archive == *archive) {
            let extracted = extract(&path, dest, &|entry| part.destination(entry), options, progress)?;
            if extracted.files.is_empty() {
                let reason = format!("it holds nothing of {}", part.id);
                return Err(FetchError::Archive { path, reason, fix: "check that it is the right archive" });
            }
            let stamp =
                Stamp { archive: archive.name.clone(), sha256: sha256.clone(), files: extracted.files };
            stamps.0.insert(part.id.to_owned(), stamp);
            stamps.write(dest)?;
            report.unpacked.push(part.id);
            report.kept.extend(extracted.kept);
        }
        if path.starts_with(&state) {
            std::fs::remove_file(&path).map_err(|error| FetchError::io(&path, error))?;
        }
    }
    Ok(report)
}

/// The archives of `parts`, each once.
fn archives<'a>(parts: &[&'a Part]) -> Vec<&'a Artefact> {
    let mut archives: Vec<&Artefact> = Vec::new();
    for part in parts {
        if !archives.contains(&&part.archive) {
            archives.push(&part.archive);
        }
    }
    archives
}

/// Fails with the URLs of all that is missing if nothing may be downloaded.
fn refuse_offline(dest: &Path, parts: &[Part], options: &Options) -> Result<()> {
    let stamps = Stamps::read(dest);
    let missing: Vec<&Part> = parts.iter().filter(|part| !part.is_there(&stamps, dest)).collect();
    let is_at_hand =
        |name: &str| options.local_file(name).is_some() || dest.join(STATE_DIR).join(name).is_file();
    let absent = archives(&missing).into_iter().filter(|archive| !is_at_hand(&archive.name));
    let urls: Vec<&str> = absent.filter_map(|archive| archive.urls.first().map(String::as_str)).collect();
    if urls.is_empty() || !options.offline {
        return Ok(());
    }
    Err(FetchError::Offline { path: dest.to_owned(), url: urls.join(" and ") })
}

/// The checked archive: a local one where it lies, else downloaded.
fn archive_file(
    archive: &Artefact,
    state: &Path,
    options: &Options,
    progress: Progress<'_>,
) -> Result<(PathBuf, String)> {
    let dest = state.join(&archive.name);
    if let Some(local) = options.local_file(&archive.name) {
        let sha256 = verify::check_file(archive, (&local, &dest), options, progress)?;
        return Ok((local, sha256));
    }
    let fetched = download::fetch(archive, &dest, options, progress)?;
    Ok((fetched.path, fetched.sha256))
}

/// Before the first byte: room for what stays, and for the biggest archive beside it.
fn require_space(missing: &[&Part], dest: &Path, options: &Options) -> Result<()> {
    let unpacked: u64 = missing.iter().map(|part| part.unpacked_bytes).sum();
    let downloads = missing.iter().filter(|part| options.local_file(&part.archive.name).is_none());
    let biggest = downloads.map(|part| part.archive.size.bytes()).max().unwrap_or(0);
    if missing.is_empty() { Ok(()) } else { disk::require_space(dest, unpacked + biggest, options) }
}

/// The labels and annotations of COCO's validation split, but only its first `count` images, one by one; the list
/// file of those images.
///
/// # Errors
/// As [`fetch_parts`]; the list of images is not what it should be.
pub fn fetch_coco_subset(
    dest: &Path,
    count: usize,
    options: &Options,
    progress: Progress<'_>,
) -> Result<PathBuf> {
    fetch_parts(dest, &labels_and_annotations("val2017"), options, progress)?;
    let list = dest.join("val2017.txt");
    let text = std::fs::read_to_string(&list).map_err(|error| FetchError::io(&list, error))?;
    let lines: Vec<&str> = text.lines().take(count).collect();
    let agent = http::agent(options);
    for line in &lines {
        let file = image_name(line).ok_or_else(|| FetchError::Wrong {
            origin: list.display().to_string(),
            reason: format!("{line:?} names no image of val2017"),
            fix: "delete the file and run again".to_owned(),
        })?;
        let image = dest.join("images/val2017").join(file);
        if image.exists() {
            continue;
        }
        disk::make_parent(&image)?;
        // Through our own folder, where the record of its checksum is in nobody's way.
        let waiting = dest.join(STATE_DIR).join("images").join(file);
        download::fetch_with(&agent, &artefacts::coco_image("val2017", file), &waiting, options, progress)?;
        std::fs::rename(&waiting, &image).map_err(|error| FetchError::io(&image, error))?;
    }
    let subset = dest.join(format!("val2017-{}.txt", lines.len()));
    disk::write_small(&subset, (lines.join("\n") + "\n").as_bytes())?;
    Ok(subset)
}

/// `000000000139.jpg` of `./images/val2017/000000000139.jpg`.
fn image_name(line: &str) -> Option<&str> {
    let (folder, file) = line.trim().rsplit_once('/')?;
    let stem = file.strip_suffix(".jpg")?;
    let is_id = !stem.is_empty() && stem.bytes().all(|digit| digit.is_ascii_digit());
    (is_id && folder.trim_start_matches("./") == "images/val2017").then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_land_where_the_yaml_expects_them() {
        let parts = coco_parts(true);
        let lands = |entry: &str| parts.iter().filter_map(|part| part.destination(entry)).collect::<Vec<_>>();
        for (entry, expected) in [
            ("val2017/000000000139.jpg", "images/val2017/000000000139.jpg"),
            ("train2017/000000000009.jpg", "images/train2017/000000000009.jpg"),
            ("coco/labels/val2017/000000000139.txt", "labels/val2017/000000000139.txt"),
            ("coco/train2017.txt", "train2017.txt"),
            ("annotations/instances_val2017.json", "annotations/instances_val2017.json"),
        ] {
            assert_eq!(lands(entry), [PathBuf::from(expected)], "{entry}");
        }
        assert!(lands("annotations/captions_val2017.json").is_empty());
        assert!(lands("coco/README.txt").is_empty());
        assert!(coco_parts(false).iter().all(|part| !part.archive.name.contains("train2017.zip")));
    }

    #[test]
    fn only_images_of_the_split_are_asked_for() {
        assert_eq!(image_name("./images/val2017/000000000139.jpg"), Some("000000000139.jpg"));
        for bad in ["", "000000000139.jpg", "./images/val2017/../../x.jpg", "images/train2017/1.jpg"] {
            assert_eq!(image_name(bad), None, "{bad}");
        }
    }
}
