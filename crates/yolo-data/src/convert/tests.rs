//! Conversion to the other layout and back.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::dataset::config::SearchPath;
use crate::dataset::{Item, ScanOptions};
use crate::image::{RgbImage, encode_jpeg};

/// A folder with two images of 100 × 50 pixels in each of two splits, and their labels in YOLO's layout.
fn source() -> (TempDir, DatasetConfig) {
    let folder = TempDir::new().unwrap();
    let jpeg = encode_jpeg(&RgbImage::filled(100, 50, [90, 120, 30]), 90).unwrap();
    let labels = "0 0.5 0.5 0.5 0.5\n1 0.123456 0.2 0.1 0.2\n";
    let outline = "1 0.1 0.1 0.5 0.1 0.5 0.9 0.1 0.9\n";
    for (split, names, text) in [("train", ["7", "12"], labels), ("val", ["b", "c"], outline)] {
        for (name, text) in names.into_iter().zip([text, ""]) {
            super::write(&folder.path().join(format!("images/{split}/sub/{name}.jpg")), &jpeg).unwrap();
            super::write(&folder.path().join(format!("labels/{split}/sub/{name}.txt")), text).unwrap();
        }
    }
    let yaml = folder.path().join("data.yaml");
    super::write(&yaml, "train: images/train\nval: images/val\nnames: [cat, \"no\"]\n").unwrap();
    let config = DatasetConfig::read(&yaml).unwrap();
    (folder, config)
}

fn open(config: &DatasetConfig) -> Vec<(Split, Dataset)> {
    let open = |split| {
        let dataset =
            Dataset::open_in(config, split, &SearchPath::default(), &ScanOptions::default(), &|_, _| {});
        (split, dataset.unwrap())
    };
    splits_of(config).into_iter().map(open).collect()
}

fn options(layout: Layout, placement: Placement) -> ConvertOptions {
    ConvertOptions { layout, placement, category_ids: CategoryIds::Auto }
}

/// The data set `config` in another layout.
fn converted(config: &DatasetConfig, out: &Path, options: ConvertOptions) -> DatasetConfig {
    let splits = open(config);
    let splits: Vec<(Split, &Dataset)> = splits.iter().map(|(split, dataset)| (*split, dataset)).collect();
    let done = convert(&splits, out, options, &mut |_| true).unwrap();
    assert_eq!(done, Converted { images: 4, objects: 3 });
    DatasetConfig::read(&out.join("data.yaml")).unwrap()
}

/// File name, size, classes and boxes in pixels of every image.
type Content = Vec<(String, [u32; 2], Vec<(u32, [f32; 4])>)>;

fn content(config: &DatasetConfig) -> Content {
    let boxes = |item: &Item| {
        let pixels = |label: &crate::dataset::Label| {
            let yolo_eval::Cxcywh { cx, cy, w, h } = label.bbox_norm;
            (label.class, [cx * 100.0, cy * 50.0, w * 100.0, h * 50.0])
        };
        item.labels.iter().map(pixels).collect()
    };
    let name = |item: &Item| item.image.file_name().unwrap().to_str().unwrap().to_owned();
    let items = open(config).into_iter().flat_map(|(_, dataset)| dataset.items);
    items.map(|item| (name(&item), [item.width, item.height], boxes(&item))).collect()
}

fn assert_same(a: &Content, b: &Content) {
    assert_eq!(a.len(), b.len());
    for ((name, size, boxes), (other_name, other_size, other_boxes)) in a.iter().zip(b) {
        assert_eq!((name, size, boxes.len()), (other_name, other_size, other_boxes.len()));
        for ((class, a), (other_class, b)) in boxes.iter().zip(other_boxes) {
            assert_eq!(class, other_class);
            // COCO's boxes have two decimals.
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.011), "{name}: {a:?} {b:?}");
        }
    }
}

#[test]
fn a_round_trip_keeps_images_classes_and_boxes() {
    let (folder, config) = source();
    let at = |name: &str| folder.path().join(name);
    let coco = converted(&config, &at("coco"), options(Layout::Coco, Placement::Link));
    assert!(is_coco(&coco) && !is_coco(&config));
    assert_same(&content(&config), &content(&coco));
    let yolo = converted(&coco, &at("yolo"), options(Layout::Yolo, Placement::Copy));
    assert_same(&content(&coco), &content(&yolo));
    assert_eq!(yolo.class_names, ["cat", "no"]);
    assert!(at("yolo/images/train/7.jpg").metadata().unwrap().is_file());
    let label = std::fs::read_to_string(at("yolo/labels/train/7.txt")).unwrap();
    assert_eq!(label, "0 0.500000 0.500000 0.500000 0.500000\n1 0.123500 0.200000 0.100000 0.200000\n");
    assert_eq!(std::fs::read(at("yolo/labels/train/12.txt")).unwrap(), b"");
}

#[test]
fn coco_files_need_no_yaml() {
    let (folder, config) = source();
    let out = folder.path().join("coco");
    converted(&config, &out, options(Layout::Coco, Placement::Leave));
    let files: Vec<PathBuf> =
        ["train", "val"].map(|split| out.join(format!("annotations/instances_{split}.json"))).to_vec();
    let images = folder.path().join("images");
    let alone = config_of_json(&files, Some(&images)).unwrap();
    assert_same(&content(&config), &content(&alone));
    // Without the folder of the images, nothing is found, and the message names the places.
    let lost = config_of_json(&files, None).unwrap();
    let search = SearchPath::default();
    let error = Dataset::open_in(&lost, Split::Train, &search, &ScanOptions::default(), &|_, _| {});
    assert!(error.unwrap_err().to_string().contains("image_dir"));
}

#[test]
fn coco_has_ids_areas_and_outlines() {
    let (folder, config) = source();
    let out = folder.path().join("coco");
    converted(&config, &out, options(Layout::Coco, Placement::Leave));
    let read = |split: &str| -> serde_json::Value {
        let text = std::fs::read(out.join(format!("annotations/instances_{split}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let (train, val) = (read("train"), read("val"));
    // Numeric names are ids; if a name is not a number, images are counted. They are in the order of their paths.
    assert_eq!((&train["images"][0]["id"], &train["images"][1]["id"]), (&12.into(), &7.into()));
    assert_eq!(train["images"][1]["file_name"], "train/sub/7.jpg");
    assert_eq!((&val["images"][0]["id"], &val["images"][1]["id"]), (&1.into(), &2.into()));
    assert_eq!(train["categories"][1], serde_json::json!({"id": 2, "name": "no", "supercategory": "none"}));
    let first = &train["annotations"][0];
    assert_eq!(
        (&first["bbox"], &first["area"]),
        (&serde_json::json!([25.0, 12.5, 50.0, 25.0]), &1250.0.into())
    );
    let outlined = &val["annotations"][0];
    let outline = outlined["segmentation"][0].as_array().unwrap();
    assert_eq!(outline[..4], [10.0, 5.0, 50.0, 5.0].map(serde_json::Value::from));
    assert_eq!(outlined["area"], 1600.0);
    assert!(yolo_eval::coco::GroundTruth::read(out.join("annotations/instances_val.json")).is_ok());
}

#[test]
fn an_existing_folder_is_kept_and_a_failure_leaves_nothing() {
    let (folder, config) = source();
    let splits = open(&config);
    let splits: Vec<(Split, &Dataset)> = splits.iter().map(|(split, dataset)| (*split, dataset)).collect();
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = entries();
    let (yolo, link) = (Layout::Yolo, Placement::Link);
    let mut calls = 0;
    let mut stop = |_| {
        calls += 1;
        calls < 2
    };
    let error = convert(&splits, &folder.path().join("new"), options(yolo, link), &mut stop).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
    let images = folder.path().join("images");
    let error = convert(&splits, &images, options(yolo, link), &mut |_| true).unwrap_err().to_string();
    assert!(error.contains("images: it exists"), "{error}");
    // Two images that share a label file.
    let twin = folder.path().join("images/train/sub/7.jpeg");
    std::fs::copy(folder.path().join("images/train/sub/7.jpg"), twin).unwrap();
    let twins = open(&config);
    let twins: Vec<(Split, &Dataset)> = twins.iter().map(|(split, dataset)| (*split, dataset)).collect();
    let error = convert(&twins, &folder.path().join("new"), options(yolo, link), &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("same label file"), "{error}");
    assert_eq!(entries(), before);
}
