//! The shipped configs, and 160 images of COCO where they are on this machine.

use std::path::{Path, PathBuf};

use yolo_data::dataset::coco_classes::COCO80_NAMES;
use yolo_data::dataset::config::SearchPath;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split, coco_json};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The small COCO extract beside the workspace; absent elsewhere.
fn coco_tiny() -> Option<PathBuf> {
    let workspace = workspace();
    let places = [workspace.join("../shared/data/coco-tiny"), workspace.join("shared/data/coco-tiny")];
    let found = places.into_iter().find(|dir| dir.is_dir());
    if found.is_none() {
        eprintln!("skipped: shared/data/coco-tiny is not on this machine");
    }
    found
}

fn open(config: &DatasetConfig, split: Split) -> Dataset {
    Dataset::open_in(config, split, &SearchPath::default(), &ScanOptions::default(), &|_, _| {}).unwrap()
}

#[test]
fn shipped_configs_have_cocos_classes_and_say_how_to_get_the_images() {
    for name in ["coco", "coco128"] {
        let config = DatasetConfig::read(&workspace().join(format!("configs/data/{name}.yaml"))).unwrap();
        assert_eq!(config.class_names, COCO80_NAMES);
        let search = SearchPath { current_dir: None, datasets_dir: Some("/nowhere".into()) };
        let error = config.locate(Split::Val, &search).unwrap_err().to_string();
        assert!(error.contains(&format!("cargo xtask fetch-{name}`")), "{error}");
        assert!(error.contains(&format!("/nowhere/{name}/")), "{error}");
    }
}

#[test]
fn coco_tiny_opens_with_all_its_images_and_rows() {
    let Some(dir) = coco_tiny() else { return };
    let config = DatasetConfig::read(&dir.join("coco-tiny.yaml")).unwrap();
    for (split, folder) in [(Split::Train, "train2017"), (Split::Val, "val2017")] {
        let dataset = open(&config, split);
        let rows = |path: PathBuf| {
            std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.trim().is_empty()).count()
        };
        let labels = std::fs::read_dir(dir.join("labels").join(folder)).unwrap();
        let expected: usize = labels.map(|entry| rows(entry.unwrap().path())).sum();
        assert_eq!(dataset.items.len(), 80);
        assert_eq!(dataset.report.corrupt, 0);
        assert!(dataset.report.problems.is_empty(), "{:?}", dataset.report.problems);
        assert_eq!(dataset.num_instances(), expected);
        let json = dir.join(format!("annotations/instances_{folder}.json"));
        assert_eq!(dataset.coco_annotations, Some(json));
    }
}

#[test]
fn coco_tinys_annotations_and_label_files_agree() {
    let Some(dir) = coco_tiny() else { return };
    let from_labels = open(&DatasetConfig::read(&dir.join("coco-tiny.yaml")).unwrap(), Split::Val);
    let names: String = COCO80_NAMES.iter().map(|name| format!("- {name}\n")).collect();
    let entry = "annotations/instances_val2017.json";
    let yaml = format!("path: {}\ntrain: {entry}\nval: {entry}\nnames:\n{names}", dir.display());
    let from_json = open(&DatasetConfig::parse(&yaml, &dir.join("json.yaml")).unwrap(), Split::Val);
    assert_eq!(from_json.items.len(), from_labels.items.len());
    for (a, b) in from_json.items.iter().zip(&from_labels.items) {
        assert_eq!(
            (&a.image, a.width, a.height, a.labels.len()),
            (&b.image, b.width, b.height, b.labels.len())
        );
        for label in &a.labels {
            // Label files have six decimals.
            let near = |x: f32, y: f32| (x - y).abs() < 2e-6;
            let same = b.labels.iter().any(|other| {
                let (p, q) = (label.bbox_norm, other.bbox_norm);
                label.class == other.class
                    && near(p.cx, q.cx)
                    && near(p.cy, q.cy)
                    && near(p.w, q.w)
                    && near(p.h, q.h)
            });
            assert!(same, "{} has no row for {label:?}", a.image.display());
        }
    }
    let coco = coco_json::read(&dir.join(entry)).unwrap();
    let coco_sizes: usize = coco.images.iter().filter(|image| image.size_px.is_some()).count();
    assert_eq!(coco_sizes, 80);
}
