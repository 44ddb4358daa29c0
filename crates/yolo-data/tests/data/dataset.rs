//! Opens whole data sets from disk: good ones, and ones with every kind of bad file.

mod bad_input;
mod coco_json;
mod real;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use yolo_data::dataset::config::SearchPath;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};

/// A data set in a temporary folder.
struct Folder(tempfile::TempDir);

impl Folder {
    /// Three good images of 20 × 30 pixels in `images/val`; the third has no label file.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("set.yaml", "train: images/val\nval: images/val\nnames: [cat, dog]\n");
        folder.png("images/val/a.png", 20, 30);
        folder.write("labels/val/a.txt", "1 0.5 0.5 0.5 0.25\n0 0.1 0.1 0.1 0.1\n");
        folder.png("images/val/b.png", 20, 30);
        folder.write("labels/val/b.txt", "");
        folder.png("images/val/c.png", 20, 30);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn png(&self, name: &str, width: u32, height: u32) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::new(width, height).save(path).unwrap();
    }

    /// Opens `val`, and checks that no file of the data set was added, changed or touched.
    fn open(&self, options: &ScanOptions) -> yolo_data::Result<Dataset> {
        let before = snapshot(self.0.path());
        let dataset = DatasetConfig::read(&self.path("set.yaml")).and_then(|config| {
            Dataset::open_in(&config, Split::Val, &SearchPath::default(), options, &|_, _| {})
        });
        assert!(before == snapshot(self.0.path()), "the data set was modified");
        dataset
    }

    fn opened(&self) -> Dataset {
        self.open(&ScanOptions::default()).unwrap()
    }

    fn error(&self) -> String {
        self.open(&ScanOptions::default()).unwrap_err().to_string()
    }
}

/// Content and modification time of every file below `dir`.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)> {
    let mut files = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        let content = metadata.is_file().then(|| std::fs::read(&path).unwrap());
        if metadata.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        files.insert(path, (content, metadata.modified().unwrap()));
    }
    files
}

#[test]
fn a_good_split_is_counted_and_ordered() {
    let folder = Folder::new();
    let dataset = folder.opened();
    let names: Vec<_> = dataset.items.iter().map(|item| item.image.file_name().unwrap()).collect();
    assert_eq!(names, ["a.png", "b.png", "c.png"]);
    assert_eq!((dataset.items[0].width, dataset.items[0].height), (20, 30));
    let report = &dataset.report;
    assert_eq!((report.found, report.empty, report.missing, report.corrupt), (1, 1, 1, 0));
    assert!(report.problems.is_empty());
    assert_eq!((dataset.num_instances(), dataset.items[0].labels[0].class), (2, 1));
    assert_eq!(dataset.class_names, ["cat", "dog"]);
    assert_eq!(dataset.coco_annotations, None);
    assert!(dataset.source.contains("val of "));
}

#[test]
fn annotations_are_found_by_the_name_of_the_folder_or_list() {
    let folder = Folder::new();
    folder.write("annotations/instances_val.json", "{}");
    assert_eq!(folder.opened().coco_annotations, Some(folder.path("annotations/instances_val.json")));
    folder.write("val.txt", "./images/val/b.png\n./images/val/a.png\n");
    folder.write("set.yaml", "train: val.txt\nval: val.txt\nnames: [cat, dog]\n");
    let dataset = folder.opened();
    assert_eq!(dataset.coco_annotations, Some(folder.path("annotations/instances_val.json")));
    assert_eq!(dataset.items.len(), 2);
    assert!(dataset.items[0].image < dataset.items[1].image);
}

#[test]
fn one_class_is_made_of_all_even_of_those_without_a_name() {
    let folder = Folder::new();
    folder.write("labels/val/b.txt", "17 0.5 0.5 0.5 0.25\n");
    let dataset = folder.open(&ScanOptions { single_class: true, ..ScanOptions::default() }).unwrap();
    assert_eq!(dataset.class_names, ["item"]);
    assert!(dataset.items.iter().flat_map(|item| &item.labels).all(|label| label.class == 0));
}

#[test]
fn a_label_file_replaced_with_the_same_size_and_time_is_read_again() {
    let folder = Folder::new();
    let cache_dir = tempfile::tempdir().unwrap();
    let options = ScanOptions { cache_dir: Some(cache_dir.path().to_owned()), ..ScanOptions::default() };
    folder.write("labels/val/a.txt", "0 0.5 0.5 0.5 0.5\n");
    let path = folder.path("labels/val/a.txt");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(folder.open(&options).unwrap().items[0].labels[0].class, 0);
    folder.write("labels/val/a.txt", "1 0.5 0.5 0.5 0.5\n");
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(folder.open(&options).unwrap().items[0].labels[0].class, 1);
}

#[test]
fn a_cached_scan_equals_a_fresh_one_and_sees_each_change() {
    let folder = Folder::new();
    folder.write("images/val/d.jpg", "no image");
    folder.write("labels/val/c.txt", "0 0.333 0.1 0.2 0.7 0.5 0.123456789\n0 .5 .5 0 .5\n0 .5 .5 0 .5\n");
    let cache_dir = tempfile::tempdir().unwrap();
    let options =
        ScanOptions { cache_dir: Some(cache_dir.path().join("made/on/demand")), ..ScanOptions::default() };
    let fresh = folder.opened();
    assert_eq!(folder.open(&options).unwrap(), fresh);
    assert_eq!(folder.open(&options).unwrap(), fresh);
    assert_eq!(format!("{:?}", folder.open(&options).unwrap()), format!("{fresh:?}"));

    let cache =
        std::fs::read_dir(cache_dir.path().join("made/on/demand")).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read_to_string(&cache).unwrap();
    assert!(!kept.contains("d.jpg"), "a rejected image may become readable without its file changing");
    let marked = kept.replace("[20,30]", "[21,31]");
    std::fs::write(&cache, marked).unwrap();
    folder.write("labels/val/a.txt", "1 0.5 0.5 0.5 0.5\n");
    let dataset = folder.open(&options).unwrap();
    assert_eq!(dataset.items[0].labels.len(), 1);
    let sizes: Vec<_> = dataset.items.iter().map(|item| (item.width, item.height)).collect();
    assert_eq!(sizes, [(20, 30), (21, 31), (21, 31)], "only the changed image is scanned again");

    std::fs::remove_file(folder.path("labels/val/a.txt")).unwrap();
    std::fs::write(&cache, "nonsense").unwrap();
    let dataset = folder.open(&options).unwrap();
    assert_eq!((dataset.report.missing, dataset.items[1].width), (1, 20));
    assert_eq!(dataset, folder.opened());
}

#[test]
fn backslashes_of_windows_are_understood_everywhere() {
    let folder = Folder::new();
    folder.write("sub/set/images/v/a.png", std::fs::read(folder.path("images/val/a.png")).unwrap());
    folder.write("set.yaml", "path: sub\\set\ntrain: images\\v\nval: images\\v\nnames: [cat, dog]\n");
    assert_eq!(folder.opened().items[0].image, folder.path("sub/set/images/v/a.png"));
}

#[test]
fn progress_ends_at_the_number_of_images() {
    let folder = Folder::new();
    let seen = std::sync::Mutex::new(vec![]);
    let config = DatasetConfig::read(&folder.path("set.yaml")).unwrap();
    let progress = |done, total| seen.lock().unwrap().push((done, total));
    Dataset::open(&config, Split::Val, &ScanOptions::default(), &progress).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
}
