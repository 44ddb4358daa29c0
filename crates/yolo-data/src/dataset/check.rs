//! Checks whether a data set as a whole can be trained on.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::statistics::{Statistics, TINY_SIDE};
use super::{Dataset, Split};

/// Number of names that a message lists.
const LISTED_NAMES: usize = 5;
/// Fractions of corrupt images and tiny boxes above which there is a warning.
const MANY_CORRUPT: f64 = 0.1;
const MANY_TINY: f64 = 0.02;
/// Bytes that are compared at once.
const CHUNK: usize = 1 << 16;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Training works, but not as well as it could.
    Warning,
    /// Training cannot work.
    Error,
}

/// A problem of a data set as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What is wrong (with the count), and what to do about it.
    pub reason: String,
}

impl Finding {
    /// A [`Level::Error`].
    pub fn error(reason: impl Into<String>) -> Self {
        Self { level: Level::Error, reason: reason.into() }
    }

    /// A [`Level::Warning`].
    pub fn warning(reason: impl Into<String>) -> Self {
        Self { level: Level::Warning, reason: reason.into() }
    }
}

/// The problems of a data set for training with images of `image_size` pixels. `splits` are its splits with their
/// statistics.
pub fn findings(splits: &[(Split, &Dataset, &Statistics)], image_size: usize) -> Vec<Finding> {
    let mut found = Vec::new();
    for &(split, dataset, statistics) in splits {
        found.extend(of_split(split, dataset, statistics, image_size));
    }
    let of = |split| splits.iter().find(|(other, ..)| *other == split);
    if let Some((_, train, train_statistics)) = of(Split::Train) {
        for held_out in [Split::Val, Split::Test] {
            let Some((_, other, other_statistics)) = of(held_out) else { continue };
            found.extend(unseen_classes(train_statistics, held_out, other_statistics));
            found.extend(leaks(train, held_out, other));
        }
    }
    found
}

fn of_split(split: Split, dataset: &Dataset, statistics: &Statistics, image_size: usize) -> Vec<Finding> {
    let mut found = Vec::new();
    let report = &dataset.report;
    let listed = report.found + report.missing + report.empty + report.corrupt;
    let lost = if split == Split::Train { "nothing to train on" } else { "nothing to measure on" };
    if let Some(reason) = dataset.without_labels(lost) {
        let reason = format!("{split}: {reason}");
        // Training works without labels to validate on; its figures are zero.
        found.push(if split == Split::Train { Finding::error(reason) } else { Finding::warning(reason) });
        return found;
    }
    found.extend(repeated_images(split, dataset));
    if report.corrupt as f64 > MANY_CORRUPT * listed as f64 {
        found.push(Finding::warning(format!(
            "{split}: {} of {listed} images are left out; the problems give the reasons",
            report.corrupt
        )));
    }
    let absent: Vec<&str> = statistics
        .classes
        .iter()
        .filter(|class| class.objects == 0)
        .map(|class| class.name.as_str())
        .collect();
    if split == Split::Train && !absent.is_empty() {
        found.push(Finding::warning(format!(
            "train: {} without objects, so they cannot be learned: {}",
            classes(absent.len()),
            listing(&absent)
        )));
    }
    let tiny = statistics.box_sizes.tiny;
    if tiny as f64 > MANY_TINY * statistics.objects as f64 {
        found.push(Finding::warning(format!(
            "{split}: {tiny} of {} boxes have a side below {TINY_SIDE} pixels at {image_size} px; use a larger image size \
             to detect more of them",
            statistics.objects
        )));
    }
    found
}

/// Image files that a split has more than once.
fn repeated_images(split: Split, dataset: &Dataset) -> Option<Finding> {
    let mut seen = HashSet::new();
    let mut repeated = dataset.items.iter().filter(|item| !seen.insert(&item.image));
    let first = repeated.next()?;
    let count = 1 + repeated.count();
    let files = if count == 1 {
        "1 entry repeats an image".to_owned()
    } else {
        format!("{count} entries repeat images")
    };
    Some(Finding::warning(format!(
        "{split}: {files} that the split has already; the first is {}. List every file once, and under one image id",
        first.image.display()
    )))
}

/// Classes that are evaluated but not in the training split.
fn unseen_classes(train: &Statistics, held_out: Split, other: &Statistics) -> Option<Finding> {
    let pairs = train.classes.iter().zip(&other.classes);
    let unseen: Vec<&str> = pairs
        .filter(|(train, other)| train.objects == 0 && other.objects > 0)
        .map(|(train, _)| train.name.as_str())
        .collect();
    (!unseen.is_empty() && train.objects > 0).then(|| {
        Finding::warning(format!(
            "{held_out}: {} without objects in train: {}; move some images to train",
            classes(unseen.len()),
            listing(&unseen)
        ))
    })
}

/// Images that are in the training split and in another.
fn leaks(train: &Dataset, held_out: Split, other: &Dataset) -> Option<Finding> {
    let shared = shared_images(train, other);
    let &(first, second) = shared.first()?;
    let count = shared.len();
    let reason = if count == other.items.len() && count == train.items.len() {
        format!(
            "{held_out}: the same images as train, so figures on them do not show how well a network generalises"
        )
    } else {
        format!(
            "{held_out}: {count} of {} images are also in train ({} is {}), so figures on them are too good; remove them \
             from one split",
            other.items.len(),
            other.items[second].image.display(),
            train.items[first].image.display()
        )
    };
    Some(Finding::warning(reason))
}

/// Images of `b` with the same content as one of `a`: the index of that one and their own.
///
/// Files of the same size are compared byte by byte; a file that cannot be read is different from all others.
pub fn shared_images(a: &Dataset, b: &Dataset) -> Vec<(usize, usize)> {
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
    let size = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.len());
    for (index, item) in a.items.iter().enumerate() {
        if let Some(size) = size(&item.image) {
            by_size.entry(size).or_default().push(index);
        }
    }
    let twin = |(index, item): (usize, &super::Item)| {
        let candidates = by_size.get(&size(&item.image)?)?;
        let same = |other: &&usize| is_same_file(&a.items[**other].image, &item.image);
        candidates.iter().find(same).map(|&other| (other, index))
    };
    b.items.iter().enumerate().filter_map(twin).collect()
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    if a == b {
        return true;
    }
    let (Ok(mut a), Ok(mut b)) = (File::open(a), File::open(b)) else { return false };
    loop {
        let (Some(of_a), Some(of_b)) = (chunk(&mut a), chunk(&mut b)) else { return false };
        if of_a != of_b {
            return false;
        }
        if of_a.is_empty() {
            return true;
        }
    }
}

/// The next bytes of a file, none at its end.
fn chunk(file: &mut File) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn classes(count: usize) -> String {
    if count == 1 { "1 class".to_owned() } else { format!("{count} classes") }
}

fn listing(names: &[&str]) -> String {
    let shown = names[..names.len().min(LISTED_NAMES)].join(", ");
    if names.len() > LISTED_NAMES { format!("{shown}, …") } else { shown }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use yolo_eval::Cxcywh;

    use super::*;
    use crate::dataset::{Item, Label, ScanReport};

    fn dataset(images: &[(&Path, &[u32])], corrupt: usize) -> Dataset {
        let label = |&class: &u32| Label {
            class,
            bbox_norm: Cxcywh { cx: 0.5, cy: 0.5, w: 0.5, h: 0.5 },
            polygon_norm: vec![],
        };
        let item = |&(image, classes): &(&Path, &[u32])| Item {
            image: image.to_owned(),
            width: 64,
            height: 64,
            labels: classes.iter().map(label).collect(),
        };
        Dataset {
            class_names: vec!["cat".to_owned(), "dog".to_owned()],
            items: images.iter().map(item).collect(),
            report: ScanReport { found: images.len(), corrupt, ..ScanReport::default() },
            coco_annotations: None,
            source: String::new(),
        }
    }

    fn found(train: &Dataset, val: &Dataset) -> Vec<Finding> {
        let counts = [train, val].map(|dataset| Statistics::of(dataset, 64));
        findings(&[(Split::Train, train, &counts[0]), (Split::Val, val, &counts[1])], 64)
    }

    #[test]
    fn nothing_to_learn_from_is_an_error_and_nothing_to_measure_on_a_warning() {
        let (a, b) = (Path::new("a.png"), Path::new("b.png"));
        let full = dataset(&[(a, &[0, 1])], 0);
        let empty = dataset(&[(b, &[])], 0);
        assert_eq!(found(&full, &dataset(&[(b, &[1, 0])], 0)), []);
        let levels = |train, val| found(train, val).iter().map(|f| f.level).collect::<Vec<_>>();
        assert_eq!(levels(&empty, &full), [Level::Error]);
        assert_eq!(levels(&full, &empty), [Level::Warning]);
    }

    #[test]
    fn classes_that_are_not_learned_are_named() {
        let (a, b) = (Path::new("a.png"), Path::new("b.png"));
        let all = found(&dataset(&[(a, &[0])], 1), &dataset(&[(b, &[1])], 0));
        let reasons: Vec<&str> = all.iter().map(|finding| finding.reason.as_str()).collect();
        assert!(reasons[0].contains("1 of 2 images are left out"), "{reasons:?}");
        assert!(reasons[1].starts_with("train: 1 class without objects") && reasons[1].ends_with("dog"));
        assert!(reasons[2].starts_with("val: 1 class without objects in train: dog"), "{reasons:?}");
        assert_eq!(reasons.len(), 3);
    }

    #[test]
    fn images_in_two_splits_are_found_by_content() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let long = vec![7u8; CHUNK + 5];
        let mut other = long.clone();
        other[CHUNK + 2] = 8;
        let [a, b, c, d] =
            [("a", &long), ("b", &other), ("c", &long), ("d", &vec![1])].map(|(n, bytes)| write(n, bytes));
        let train = dataset(&[(&a, &[0]), (&d, &[1])], 0);
        let val = dataset(&[(&b, &[0]), (&c, &[1])], 0);
        assert_eq!(shared_images(&train, &val), [(0, 1)]);
        let all = found(&train, &val);
        assert!(all.len() == 1 && all[0].reason.contains("1 of 2 images are also in train"), "{all:?}");
        assert!(found(&train, &train)[0].reason.contains("the same images as train"));
    }
}
