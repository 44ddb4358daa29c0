//! The data set as its users see it: opened, evaluated, and written into missing, empty and used folders.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;

use yolo_eval::coco::{Detection, GroundTruth, Params, evaluate};
use yolo_eval::{Ltwh, Xyxy};

use super::*;
use crate::anchors::{AnchorDecision, check_anchors};
use crate::dataset::config::SearchPath;
use yolo_eval::coco::classes::match_classes;

use crate::dataset::{Dataset, DatasetConfig, ScanOptions, image_id};

const SMALL: DemoOptions = DemoOptions { train_images: 40, val_images: 20, image_size: 128, seed: 3 };
/// For tests of folders only.
const TINY: DemoOptions = DemoOptions { train_images: 2, val_images: 1, image_size: 64, seed: 3 };

/// The anchors of the published P5 networks, in pixels.
const P5_ANCHORS: [[[f32; 2]; 3]; 3] = [
    [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
    [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
    [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
];

fn open(yaml: &Path, split: Split) -> Dataset {
    let config = DatasetConfig::read(yaml).unwrap();
    Dataset::open_in(&config, split, &SearchPath::default(), &ScanOptions::default(), &|_, _| {}).unwrap()
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn pixels_and_labels_do_not_change() {
    let scene = Scene::draw(&DemoOptions::default(), Split::Val, 0);
    let labels = files::label_text(&scene.objects, 256);
    let pinned = (17_547_846_122_636_717_018, 15_788_175_419_236_994_031);
    let found = (hash(&scene.image.pixels), hash(labels.as_bytes()));
    assert_eq!(found, pinned, "raise VERSION as well; labels:\n{labels}");
}

#[test]
fn an_image_depends_on_seed_split_and_index_only() {
    let pixels = |options: &DemoOptions, split, index| Scene::draw(options, split, index).image.pixels;
    let first = pixels(&SMALL, Split::Train, 5);
    assert!(first == pixels(&DemoOptions { train_images: 9, val_images: 1, ..SMALL }, Split::Train, 5));
    assert!(first != pixels(&DemoOptions { seed: 4, ..SMALL }, Split::Train, 5));
    assert!(first != pixels(&SMALL, Split::Val, 5));
    assert!(first != pixels(&SMALL, Split::Train, 6));
}

#[test]
fn boxes_are_tight_inside_the_image_and_little_is_hidden() {
    let mut counts = [0; 5];
    let (mut smallest, mut largest) = (u32::MAX, 0);
    for index in 0..200 {
        let scene = Scene::draw(&DemoOptions::default(), Split::Train, index);
        assert_eq!(scene.objects.is_empty(), index % 16 == 15, "image {index}");
        assert!(scene.objects.len() <= 6);
        for object in scene.objects {
            let [left, top, right, bottom] = object.edges;
            let (w, h) = (right - left, bottom - top);
            assert!(left < right && right <= 256 && top < bottom && bottom <= 256, "{object:?}");
            // A star with a fifth of its height squeezed and 30 % of its pixels hidden still fills this much.
            assert!(object.area <= w * h && f64::from(object.area) > 0.15 * f64::from(w * h), "{object:?}");
            counts[object.class as usize] += 1;
            (smallest, largest) = (smallest.min(w.max(h)), largest.max(w.max(h)));
        }
    }
    assert!(counts.iter().all(|&n| n > 80), "{counts:?}");
    assert!(smallest <= 13 && largest >= 110, "{smallest} to {largest}");
}

#[test]
fn it_opens_without_problems_and_labels_equal_annotations() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = write(&folder.path().join("demo"), &SMALL, |_| {}).unwrap();
    for (split, images) in [(Split::Train, 40), (Split::Val, 20)] {
        let dataset = open(&yaml, split);
        assert_eq!(dataset.report.problems, []);
        assert_eq!((dataset.items.len(), dataset.report.missing, dataset.report.corrupt), (images, 0, 0));
        assert_eq!(dataset.report.empty, images / 16);
        assert_eq!(dataset.class_names, class_names());
        let drawn: usize = (0..images).map(|i| Scene::draw(&SMALL, split, i as u32).objects.len()).sum();
        assert_eq!(dataset.num_instances(), drawn);
        let gt = GroundTruth::read(dataset.coco_annotations.as_ref().unwrap()).unwrap();
        assert_eq!((gt.images().len(), gt.annotations().len()), (images, drawn));
        let summary = evaluate(&gt, &perfect_detections(&dataset, &gt), &Params::coco()).unwrap().summary();
        assert!(summary.ap > 0.99 && summary.ap_small > 0.99, "{}", summary.ap);
    }
}

#[test]
fn the_usual_anchors_fit_it() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = write(&folder.path().join("demo"), &SMALL, |_| {}).unwrap();
    let items = open(&yaml, Split::Train).items;
    let decision = check_anchors(&items, &P5_ANCHORS.map(Vec::from), &[8, 16, 32], 128, 4.0, 0).unwrap();
    let AnchorDecision::Keep(fit) = decision else { panic!("{decision:?}") };
    assert!(fit.anchors_above_threshold > 2.0, "{fit:?}");
}

/// Detections made from the label files as `val` makes them from a network's boxes.
fn perfect_detections(dataset: &Dataset, gt: &GroundTruth) -> Vec<Detection> {
    let classes = match_classes(&dataset.class_names, gt.categories(), &gt.used_categories(), None).unwrap();
    let mut detections = vec![];
    for item in &dataset.items {
        let image = image_id(item.image.file_stem().unwrap().to_str().unwrap()).unwrap();
        for label in &item.labels {
            let corners = Xyxy::from(label.bbox_norm);
            let (w, h) = (item.width as f32, item.height as f32);
            let corners = Xyxy::new(corners.x1 * w, corners.y1 * h, corners.x2 * w, corners.y2 * h);
            detections.push(Detection::like_val(
                image,
                classes.category_ids[label.class as usize].unwrap(),
                corners,
                0.9,
            ));
        }
    }
    detections
}

#[test]
fn annotations_hold_the_drawn_objects() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = write(&folder.path().join("demo"), &TINY, |_| {}).unwrap();
    let gt = GroundTruth::read(yaml.with_file_name("annotations").join("instances_val.json")).unwrap();
    assert_eq!((gt.images()[0].id, gt.images()[0].file_name.as_str()), (3, "000003.jpg"));
    let first = Scene::draw(&TINY, Split::Val, 0).objects[0];
    let [left, top, right, bottom] = first.edges.map(f64::from);
    let annotation = &gt.annotations()[0];
    assert_eq!(annotation.bbox, Ltwh { left, top, w: right - left, h: bottom - top });
    assert_eq!((annotation.id, annotation.category_id), (1, i64::from(first.class) + 1));
    assert_eq!(annotation.area, f64::from(first.area));
}

#[test]
fn images_survive_jpeg() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("demo"), &SMALL, |_| {}).unwrap();
    let decoded = crate::image::decode_file(folder.path().join("demo/images/val/000041.jpg")).unwrap();
    assert!(decoded.warnings.is_empty());
    let drawn = Scene::draw(&SMALL, Split::Val, 0).image;
    let differences = decoded.image.pixels.iter().zip(&drawn.pixels).map(|(a, b)| u64::from(a.abs_diff(*b)));
    let mean = differences.sum::<u64>() as f64 / drawn.pixels.len() as f64;
    assert!(mean < 6.0, "{mean}");
}

#[test]
fn a_complete_folder_is_used_again_and_progress_ends_at_the_number_of_images() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("made/on/demand");
    let mut seen = vec![];
    let yaml = write(&demo, &SMALL, |done| seen.push(done)).unwrap();
    assert_eq!(seen, [32, 60]);
    assert_eq!(yaml, demo.join("demo.yaml"));
    let time = fs::metadata(&yaml).unwrap().modified().unwrap();
    assert_eq!(write(&demo, &SMALL, |_| panic!("drawn again")).unwrap(), yaml);
    assert_eq!(fs::metadata(&yaml).unwrap().modified().unwrap(), time);
    assert_eq!(names_in(demo.parent().unwrap()), BTreeSet::from(["demand".to_owned()]));
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    let run = || write(&demo, &TINY, |_| panic!("stopped by the test"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    assert_eq!(names_in(folder.path()), BTreeSet::new());
}

#[test]
fn an_empty_folder_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    fs::create_dir(&demo).unwrap();
    assert!(write(&demo, &TINY, |_| {}).unwrap().is_file());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&demo), mode(&other), "as readable as any folder");
    }
}

#[test]
fn a_folder_with_other_content_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| write(path, &TINY, |_| {}).unwrap_err().to_string();
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("thesis.txt"), "years of work").unwrap();
    assert!(error(&mine).contains("not a demo data set"), "{}", error(&mine));
    assert_eq!(names_in(&mine), BTreeSet::from(["thesis.txt".to_owned()]));
    assert!(error(&mine.join("thesis.txt")).contains("thesis.txt"));

    let demo = folder.path().join("demo");
    write(&demo, &DemoOptions { seed: 99, ..TINY }, |_| {}).unwrap();
    assert!(error(&demo).contains("other options"));
    write(&demo, &DemoOptions { seed: 99, ..TINY }, |_| {}).unwrap();

    fs::remove_file(demo.join("labels/val/000003.txt")).unwrap();
    let incomplete = write(&demo, &DemoOptions { seed: 99, ..TINY }, |_| {}).unwrap_err().to_string();
    assert!(incomplete.contains("labels/val/000003.txt is missing"), "{incomplete}");
    fs::write(demo.join("demo-options.json"), "{}").unwrap();
    assert!(error(&demo).contains("another version"));
    assert_eq!(names_in(folder.path()).len(), 2, "nothing is left beside them");
}

#[test]
fn options_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    for bad in [
        DemoOptions { train_images: 0, ..TINY },
        DemoOptions { val_images: 0, ..TINY },
        DemoOptions { train_images: u32::MAX, ..TINY },
        DemoOptions { image_size: 63, ..TINY },
        DemoOptions { image_size: 4096, ..TINY },
    ] {
        assert!(write(&demo, &bad, |_| {}).is_err(), "{bad:?}");
        assert!(!demo.exists());
    }
}
