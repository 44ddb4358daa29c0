//! Opens one split: lists its images, checks each one, and reads its labels.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use yolo_eval::coco::ImageId;
use yolo_eval::coco::classes::CategoryMap;
use yolo_eval::coco::files::Listed;
use yolo_eval::{Convention, Ltwh};

use super::cache::{self, Cache, FileState, Key, Scanned};
use super::coco_images::{ImageDirs, find_images};
use super::coco_json::{self, CocoImage, Skipped};
use super::config::{DatasetConfig, Entry, SearchPath, Split};
use super::{Item, Label, Problem, Severity, labels, list, probe};
use crate::{DataError, Result};

/// If none of this many first images has a label file, the folders are probably wrong.
const FIRST_IMAGES: usize = 100;

/// How to scan.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Folder for the scan cache (see [`super::cache::default_cache_dir`]); absent for no cache.
    pub cache_dir: Option<PathBuf>,
    /// Treat all classes as one, called `item`.
    pub single_class: bool,
    /// Fail on the first rejected image instead of leaving it out.
    pub strict: bool,
    /// Classes of the categories of COCO files whose names do not tell.
    pub category_map: Option<CategoryMap>,
    /// Whose rules label files follow: see [`labels::parse_by`].
    pub convention: Convention,
}

/// One split of a data set, ready to load.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Class names; every label's class is an index into them.
    pub class_names: Vec<String>,
    /// The usable images, ordered by their full path as a string.
    pub items: Vec<Item>,
    /// What the scan found.
    pub report: ScanReport,
    /// COCO annotations of the same split for evaluation, if they are in their usual place.
    pub coco_annotations: Option<PathBuf>,
    /// Where the split comes from, for messages.
    pub source: String,
}

/// Counts of a scan. Every listed image is counted in exactly one of the first four.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Images with at least one label.
    pub found: usize,
    /// Images without a label file; used as background.
    pub missing: usize,
    /// Images whose label file is empty (or that a COCO file has no boxes for); used as background.
    pub empty: usize,
    /// Images left out because they or their label files are bad.
    pub corrupt: usize,
    /// Crowd annotations, which labels do not have, if the labels come from COCO files.
    pub crowds: Option<usize>,
    /// All problems, in the order of the images.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ScanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, missing, empty, corrupt, .. } = self;
        let total = found + missing + empty + corrupt;
        write!(f, "{total} images: {found} labelled, {} background ", missing + empty)?;
        write!(f, "({missing} without label file, {empty} with an empty one), {corrupt} corrupt")
    }
}

impl Dataset {
    /// Opens `split` of a data set and searches relative paths as in [`SearchPath::from_env`].
    ///
    /// `progress` is called with the number of images done and their total, from several threads.
    ///
    /// Bad images and label files are left out and listed in [`ScanReport::problems`].
    ///
    /// # Errors
    /// There are no images, a list or annotation file cannot be read, a class index is not in `names`, or no image is
    /// usable; with [`ScanOptions::strict`], any image is rejected.
    pub fn open(
        config: &DatasetConfig,
        split: Split,
        options: &ScanOptions,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self> {
        Self::open_in(config, split, &SearchPath::from_env(), options, progress)
    }

    /// As [`Dataset::open`], with the folders in which relative paths are searched.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_in(
        config: &DatasetConfig,
        split: Split,
        search: &SearchPath,
        options: &ScanOptions,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self> {
        let entries = config.locate(split, search)?;
        let n_json = entries.iter().filter(|entry| is_json(&entry.path)).count();
        let parts = if n_json == 0 {
            from_label_files(config, &entries, search, options, progress)?
        } else if n_json == entries.len() {
            from_coco_json(config, &entries, options, progress)?
        } else {
            let reason = format!("`{split}` mixes COCO JSON with folders or lists: use one kind in a split");
            return Err(DataError::invalid(&config.file, reason));
        };
        let coco_annotations = coco_annotations(&entries);
        let places: Vec<String> = entries.iter().map(|entry| entry.path.display().to_string()).collect();
        let source = format!("{split} of {}: {}", config.file.display(), places.join(", "));
        let dataset = Self {
            class_names: config.class_names.clone(),
            items: parts.0,
            report: parts.1,
            coco_annotations,
            source,
        };
        dataset.check_rejected(options)?;
        Ok(if options.single_class { dataset.with_single_class() } else { dataset })
    }

    /// What is expected where, if no image has a label; `None` if any has one. `lost` is what cannot be done then.
    pub fn without_labels(&self, lost: &str) -> Option<String> {
        let first = self.items.first().filter(|_| self.num_instances() == 0)?;
        let label = list::label_path(&first.image);
        let expected = match self.report.crowds {
            Some(0) => "annotations with a box in one of the images".to_owned(),
            Some(crowds) => format!("annotations with `iscrowd` 0; {crowds} are crowds and left out"),
            None if label.is_file() => {
                let label = label.display();
                format!("rows `class cx cy w h` in {label} and the other label files, which are all empty")
            }
            None => format!(
                "label files such as {} (the path of the image with its last folder `images` replaced by `labels`)",
                label.display()
            ),
        };
        Some(format!("no labels found in {}, {lost}; expected {expected}", self.source))
    }

    /// Fails if no image has a label.
    ///
    /// # Errors
    /// The text of [`Dataset::without_labels`].
    pub fn check_trainable(&self) -> Result<()> {
        self.without_labels("nothing to train on").map_or(Ok(()), |reason| Err(DataError::mismatch(reason)))
    }

    /// Number of labels of all images.
    pub fn num_instances(&self) -> usize {
        self.items.iter().map(|item| item.labels.len()).sum()
    }

    fn check_rejected(&self, options: &ScanOptions) -> Result<()> {
        if !self.items.is_empty() && (self.report.corrupt == 0 || !options.strict) {
            return Ok(());
        }
        let rejected = self.report.problems.iter().filter(|problem| problem.severity == Severity::Rejected);
        let first: Vec<String> = rejected.take(3).map(ToString::to_string).collect();
        let what = if self.items.is_empty() { "no usable image is left in" } else { "bad images in" };
        Err(DataError::mismatch(format!(
            "{what} {} ({}). The first problems: {}",
            self.source,
            self.report,
            first.join("; ")
        )))
    }

    fn with_single_class(mut self) -> Self {
        self.class_names = vec!["item".to_owned()];
        self.items.iter_mut().flat_map(|item| &mut item.labels).for_each(|label| label.class = 0);
        self
    }
}

/// An image to scan, with the path of its label file unless its labels come from a COCO file.
struct Pair {
    image: PathBuf,
    label_path: Option<PathBuf>,
}

fn from_label_files(
    config: &DatasetConfig,
    entries: &[Entry],
    search: &SearchPath,
    options: &ScanOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(Vec<Item>, ScanReport)> {
    let list = list::list_images(entries, search.current_dir.as_deref())?;
    let pairs: Vec<Pair> = list
        .images
        .into_iter()
        .map(|image| Pair { label_path: Some(list::label_path(&image)), image })
        .collect();
    let scans = scan(&pairs, entries, options, progress);
    let corrupt = list.problems.iter().filter(|problem| problem.severity == Severity::Rejected).count();
    let mut report = ScanReport { corrupt, problems: list.problems, ..ScanReport::default() };
    report.problems.extend(warn_without_labels(&pairs, &scans, &config.file));
    if !options.single_class {
        check_classes(config, &pairs, &scans)?;
    }
    let mut items = vec![];
    for (pair, scanned) in pairs.into_iter().zip(scans) {
        report.problems.extend(scanned.problems);
        let Some((width, height)) = scanned.size else {
            report.corrupt += 1;
            continue;
        };
        match (scanned.has_label_file, scanned.labels.is_empty()) {
            (false, _) => report.missing += 1,
            (true, true) => report.empty += 1,
            (true, false) => report.found += 1,
        }
        items.push(Item { image: pair.image, width, height, labels: scanned.labels });
    }
    Ok((items, report))
}

fn from_coco_json(
    config: &DatasetConfig,
    entries: &[Entry],
    options: &ScanOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(Vec<Item>, ScanReport)> {
    let mut report = ScanReport::default();
    let mut annotated = vec![];
    for entry in entries {
        annotated.extend(read_coco_entry(config, entry, options, &mut report)?);
    }
    annotated.sort_by(|(a, _), (b, _)| a.image.as_os_str().cmp(b.image.as_os_str()));
    report.problems.extend(listed_twice(&annotated, &entries[0].path));
    let (pairs, annotated): (Vec<Pair>, Vec<Annotated>) = annotated.into_iter().unzip();
    let scans = scan(&pairs, entries, options, progress);
    let mut items = vec![];
    let mut outside = Skipped::default();
    for ((pair, Annotated { image: coco_image, objects }), scanned) in
        pairs.into_iter().zip(annotated).zip(scans)
    {
        report.problems.extend(scanned.problems);
        let Some((width, height)) = scanned.size else {
            report.corrupt += 1;
            continue;
        };
        let size_px = [f64::from(width), f64::from(height)];
        let [w, h] = coco_image.size_px.unwrap_or(size_px);
        if [w, h] != size_px {
            let reason = format!(
                "the image is {width} x {height}, but {w} x {h} in the annotations (image id {}); boxes are taken \
                 as fractions of the annotated size. Check that the image and the annotations belong together",
                coco_image.id
            );
            report.problems.push(Problem::warning(&pair.image, None, reason));
        }
        let labels = normalised_labels(&coco_image.id, &objects, [w, h], &mut outside);
        if labels.is_empty() {
            report.empty += 1;
        } else {
            report.found += 1;
        }
        items.push(Item { image: pair.image, width, height, labels });
    }
    outside.report(
        &entries[0].path,
        "annotation(s) are outside of their image and are",
        &mut report.problems,
    );
    Ok((items, report))
}

/// An image of a COCO file that exists, with its objects as classes of the data set.
struct Annotated {
    image: CocoImage,
    objects: Vec<(u32, Ltwh)>,
}

/// The images of one COCO file that exist.
fn read_coco_entry(
    config: &DatasetConfig,
    Entry { root, path }: &Entry,
    options: &ScanOptions,
    report: &mut ScanReport,
) -> Result<Vec<(Pair, Annotated)>> {
    let coco = coco_json::read(path)?;
    let classes = coco.classes_in(&config.class_names, options.category_map.as_ref(), path)?;
    let dirs = ImageDirs::new(path, root, config.image_dir_in(root));
    report.problems.extend(coco.problems);
    report.crowds = Some(report.crowds.unwrap_or(0) + coco.crowds);
    let listed: Vec<Listed> = coco
        .images
        .iter()
        .map(|image| Listed { file_name: &image.file_name, number: image.id.number() })
        .collect();
    let files = find_images(path, &listed, &dirs, &mut report.problems);
    let mut annotated = vec![];
    for (image, file) in coco.images.into_iter().zip(files) {
        // Categories that the user left out have no class.
        let objects =
            image.objects.iter().filter_map(|(category, bbox)| Some((*classes.get(category)?, *bbox)));
        let objects = objects.collect();
        match file {
            Ok(found) => {
                annotated.push((Pair { image: found, label_path: None }, Annotated { image, objects }))
            }
            Err(reason) => {
                report.corrupt += 1;
                report.problems.push(Problem::rejected(path, None, reason));
            }
        }
    }
    Ok(annotated)
}

/// A warning about image files that the annotations list under several ids: boxes of one id are missing under the other.
fn listed_twice(annotated: &[(Pair, Annotated)], path: &Path) -> Option<Problem> {
    let mut pairs = annotated.windows(2).filter(|pair| pair[0].0.image == pair[1].0.image);
    let first = pairs.next()?;
    let count = 1 + pairs.count();
    let [(Pair { image, .. }, a), (_, b)] = first else { return None };
    let reason = format!(
        "{count} image file(s) are listed under several image ids, each with a part of the boxes; the first is {} with \
         the ids {} and {}. Keep one id per file",
        image.display(),
        a.image.id,
        b.image.id
    );
    Some(Problem::warning(path, None, reason))
}

fn normalised_labels(
    image: &ImageId,
    objects: &[(u32, Ltwh)],
    [width, height]: [f64; 2],
    outside: &mut Skipped,
) -> Vec<Label> {
    let mut labels = vec![];
    for &(class, bbox_orig) in objects {
        match coco_json::normalise(bbox_orig, width, height) {
            Some(bbox_norm) => labels.push(Label { class, bbox_norm, polygon_norm: vec![] }),
            None => outside.add(&format!("in image {image}")),
        }
    }
    labels
}

/// Scans all pairs in parallel, in their order; unchanged ones are taken from the cache.
fn scan(
    pairs: &[Pair],
    entries: &[Entry],
    options: &ScanOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Scanned> {
    let sources: Vec<PathBuf> = entries.iter().map(|entry| entry.path.clone()).collect();
    let cache = Cache::open(options.cache_dir.as_deref(), &sources, options.convention);
    let done = AtomicUsize::new(0);
    let scan_pair = |pair: &Pair| {
        let key = key_of(pair);
        let cached = key.as_ref().and_then(|key| cache.get(&pair.image, key)).cloned();
        let scanned = cached.unwrap_or_else(|| scan_one(pair, options.convention));
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, pairs.len());
        // A rejected image is not cached: it may only lack permissions, which the key does not include.
        (key.filter(|_| scanned.size.is_some()), scanned)
    };
    let scans: Vec<(Option<Key>, Scanned)> = pairs.par_iter().map(scan_pair).collect();
    let keyed = pairs
        .iter()
        .zip(&scans)
        .filter_map(|(pair, (key, scanned))| key.as_ref().map(|key| (pair.image.as_path(), (key, scanned))));
    // An image listed twice has one line in the cache.
    let unique: std::collections::BTreeMap<&Path, (&Key, &Scanned)> = keyed.collect();
    let lines: Vec<_> = unique.into_iter().map(|(image, (key, scanned))| (image, key, scanned)).collect();
    cache.write(&lines);
    scans.into_iter().map(|(_, scanned)| scanned).collect()
}

fn key_of(pair: &Pair) -> Option<Key> {
    let label = pair.label_path.as_deref().and_then(cache::content_hash);
    Some(Key { image: FileState::of(&pair.image)?, label_path: pair.label_path.clone(), label })
}

fn scan_one(pair: &Pair, convention: Convention) -> Scanned {
    let mut scanned = Scanned::default();
    match probe::probe(&pair.image) {
        Ok(probed) => {
            scanned.size = Some((probed.width, probed.height));
            scanned.problems.extend(probed.warning.map(|reason| Problem::warning(&pair.image, None, reason)));
        }
        Err(reason) => scanned.problems.push(Problem::rejected(&pair.image, None, reason)),
    }
    let Some(label_path) = &pair.label_path else { return scanned };
    match std::fs::read(label_path).map(|content| labels::parse_by(label_path, &content, convention)) {
        Ok(Ok(parsed)) => {
            scanned.has_label_file = true;
            scanned.labels = parsed.labels;
            scanned.highest_class = parsed.highest_class;
            scanned.problems.extend(parsed.warnings);
        }
        Ok(Err(problems)) => {
            scanned.has_label_file = true;
            scanned.size = None;
            scanned.problems.extend(problems);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            scanned.size = None;
            let reason = format!(
                "the label file cannot be read ({error}): check that it is a file, and its permissions"
            );
            scanned.problems.push(Problem::rejected(label_path, None, reason));
        }
    }
    scanned
}

/// Fails on the first class index that is not in `names`: training on it would fail.
fn check_classes(config: &DatasetConfig, pairs: &[Pair], scans: &[Scanned]) -> Result<()> {
    let num_classes = config.num_classes();
    let too_high = |scanned: &Scanned| {
        scanned.highest_class.filter(|(class, _)| scanned.size.is_some() && *class as usize >= num_classes)
    };
    let mut bad = pairs.iter().zip(scans).filter_map(|(pair, s)| too_high(s).map(|at| (pair, at)));
    let Some((pair, (class, line))) = bad.next() else { return Ok(()) };
    let more = match bad.count() {
        0 => String::new(),
        n => format!(" ({n} more files have such labels)"),
    };
    let reason = format!(
        "class {class}, but the data set has {num_classes} class(es), so indices go from 0 to {}: correct the label, \
         or add the class to `names` in {}{more}",
        num_classes.saturating_sub(1),
        config.file.display()
    );
    Err(DataError::at_line(pair.label_path.clone().unwrap_or_default(), line, reason))
}

fn warn_without_labels(pairs: &[Pair], scans: &[Scanned], file: &Path) -> Option<Problem> {
    let first = &scans[..scans.len().min(FIRST_IMAGES)];
    if first.is_empty() || first.iter().any(|scanned| scanned.has_label_file) {
        return None;
    }
    let looked_for = pairs.iter().take(3).filter_map(|p| p.label_path.as_ref());
    let looked_for: Vec<String> = looked_for.map(|path| path.display().to_string()).collect();
    let reason = format!(
        "none of the first {} images has a label file, so all count as background; looked for {}. The path of a label \
         is that of its image with the last folder `images` replaced by `labels`",
        first.len(),
        looked_for.join(", ")
    );
    Some(Problem::warning(file, None, reason))
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) && path.is_file()
}

/// `annotations/instances_<name>.json` below the root, for a split that is one folder or list called `name`.
fn coco_annotations(entries: &[Entry]) -> Option<PathBuf> {
    let [Entry { root, path }] = entries else { return None };
    if is_json(path) {
        return Some(path.clone());
    }
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() }?;
    let json = root.join("annotations").join(format!("instances_{}.json", name.to_str()?));
    json.is_file().then_some(json)
}
