//! `data check` and `data convert`.

use std::path::Path;

use serde_json::Value;

use crate::support::{ANNOTATIONS, Case, NAMES, annotations, keys, shared};

const CHECK: &str = "data check in/data/data.yaml";

/// The tiny data set with two images in each of two splits.
fn split_data() -> Case {
    let case = Case::with_data();
    let lists = [("train", ["000001", "000002"]), ("val", ["000003", "000004"])];
    for (split, names) in lists {
        let lines = names.map(|name| format!("./images/val/{name}.png\n"));
        case.write(&format!("in/data/{split}.txt"), lines.concat());
    }
    let yaml = "path: .\ntrain: train.txt\nval: val.txt\nnames: [red, green, blue]\n";
    case.write("in/data/data.yaml", yaml);
    case
}

#[test]
fn a_sound_data_set_is_counted_and_ready() {
    let outcome = split_data().run(CHECK).ok();
    let line = |start: &str| {
        let found = outcome.stdout.lines().find(|line| line.trim_start().starts_with(start));
        found
            .unwrap_or_else(|| panic!("no {start:?} in {}", outcome.stdout))
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(line("Images"), ["Images", "2", "2"]);
    assert_eq!(line("Objects"), ["Objects", "4", "4"]);
    assert_eq!(line("side at 640 px"), ["side", "at", "640", "px", "160", "160"]);
    // Images 1 and 2 have red, green, green, blue; 3 and 4 have blue, red, red, green.
    assert_eq!(line("0 red")[..4], ["0", "red", "1", "2"]);
    assert_eq!(line("1 green")[..4], ["1", "green", "2", "1"]);
    assert!(outcome.stdout.contains('█') && outcome.stdout.contains("No problems in files."));
    assert!(outcome.stdout.ends_with("Ready to train.\n"), "{}", outcome.stdout);
    assert!(outcome.written.is_empty(), "{:?}", outcome.written);
}

#[test]
fn json_is_one_object_alone_on_stdout() {
    let found = split_data().run(&format!("{CHECK} --json --imgsz 64")).ok().json();
    assert_eq!(keys(&found), ["data", "findings", "schema", "splits"]);
    let train = &found["splits"]["train"];
    assert_eq!((&train["labelled"], &train["corrupt"]), (&2.into(), &0.into()));
    assert_eq!(train["statistics"]["objects"], 4);
    assert_eq!(train["statistics"]["box_side"]["median"], 16.0);
    let class = serde_json::json!({"name": "green", "objects": 2, "images": 2});
    assert_eq!(train["statistics"]["classes"][1], class);
    assert_eq!(found["findings"], serde_json::json!([]));
}

#[test]
fn problems_are_shown_with_file_and_line() {
    let case = split_data();
    case.write("in/data/labels/val/000002.txt", "0 0.5 0.5 0.25 0.25\n1 0.5 0.5 1.5 0.25\n");
    case.write("in/data/images/val/000004.png", "no image");
    let outcome = case.run(CHECK).ok();
    outcome.shows(&[
        "labels/val/000002.txt:2: image left out: column 4: 1.5 is above 1",
        "images/val/000004.png: image left out: not an image",
        "warning  train: 1 of 2 images are left out",
        "warning  val: 1 class without objects in train: blue",
        "Ready to train.",
    ]);
}

#[test]
fn the_same_images_to_learn_from_and_to_measure_on_are_pointed_out() {
    Case::with_data().run(CHECK).ok().shows(&["warning  val: the same images as train"]);
}

#[test]
fn what_would_stop_training_fails() {
    let case = split_data();
    case.write("in/data/labels/val/000001.txt", "7 0.5 0.5 0.25 0.25\n");
    let outcome = case.run(CHECK);
    assert!(
        outcome.stdout.contains("000001.txt:1: class 7, but the data set has 3 class"),
        "{}",
        outcome.stdout
    );
    outcome.fails(&["in/data/data.yaml: 1 of these would stop training"]);
    for name in ["000001", "000002"] {
        std::fs::remove_file(case.path(&format!("in/data/labels/val/{name}.txt"))).unwrap();
    }
    let outcome = case.run(&format!("{CHECK} --json"));
    assert_eq!(outcome.json()["findings"][0]["level"], "error");
    outcome.fails(&["1 of these would stop training"]);
    case.run("data check in/data/date.yaml")
        .fails(&["date.yaml: no such file", "did you mean in/data/data.yaml?"]);
    let yaml = "path: .\ntrain: train.txt\nval: gone.txt\nnames: [red, green, blue]\n";
    case.write("in/data/data.yaml", yaml);
    case.run(&format!("{CHECK} --split val")).fails(&["would stop training"]);
}

/// Class and box of a label, in ten-thousandths.
type Row = (u32, [i64; 4]);

/// A data set's images by file name with their rounded labels.
fn labels(folder: &Path, split: &str) -> Vec<(String, Vec<Row>)> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join(split)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        let row = |line: &str| {
            let cells: Vec<f64> = line.split(' ').map(|cell| cell.parse().unwrap()).collect();
            let rounded = [1, 2, 3, 4].map(|i| (cells[i] * 1e4).round() as i64);
            (cells[0] as u32, rounded)
        };
        let mut rows: Vec<_> = text.lines().map(row).collect();
        rows.sort_unstable();
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), rows)
    };
    files.iter().map(read).collect()
}

#[test]
fn labels_become_coco_and_labels_again() {
    let case = split_data();
    let outcome = case.run("data convert in/data/data.yaml --out coco --json").ok();
    let said = outcome.json();
    assert_eq!((&said["layout"], &said["images"], &said["objects"]), (&"coco".into(), &4.into(), &8.into()));
    let val = case.json("coco/annotations/instances_val.json");
    assert_eq!(val["images"][0]["id"], 3);
    assert_eq!(val["annotations"][0]["bbox"], serde_json::json!([20.0, 20.0, 16.0, 16.0]));
    let names: Vec<&str> =
        val["categories"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    case.run("data convert coco/data.yaml --out yolo --images copy").ok().shows(&["4 images with 8 objects"]);
    let originals = labels(&case.path("in/data/labels"), "val");
    let back =
        [labels(&case.path("yolo/labels"), "train"), labels(&case.path("yolo/labels"), "val")].concat();
    assert_eq!(back, originals);
    // Both are as good as the original: the same figures.
    let val = |data: &str| {
        let val = format!("val --weights in/tiny.safetensors --data {data} --imgsz 64 --json");
        case.run(&val).ok().json()["native"]["map"].clone()
    };
    let expected = val("in/data/data.yaml");
    assert!(expected.as_f64().unwrap() > 0.0);
    assert_eq!([val("coco/data.yaml"), val("yolo/data.yaml")], [expected.clone(), expected]);
    case.run("data check yolo/data.yaml").ok().shows(&["Ready to train."]);
}

#[test]
fn coco_files_need_no_yaml_and_crowds_are_left_out() {
    let case = Case::with_data();
    let mut coco = annotations();
    coco["annotations"][0]["iscrowd"] = 1.into();
    case.write(ANNOTATIONS, coco.to_string());
    case.run(&format!("data convert {ANNOTATIONS} --out out --images leave"))
        .ok()
        .shows(&["4 images with 7"]);
    assert_eq!(labels(&case.path("out/labels"), "val")[0].1.len(), 1);
    assert!(!case.path("out/images").exists());
    let moved = case.write("in/elsewhere/all.json", coco.to_string());
    case.run(&format!("data convert {} --out lost", moved.display()))
        .fails(&["no usable image", "image_dir"]);
    let args = format!("data convert {} --image-dir in/data/images/val --out found", moved.display());
    case.run(&args).ok();
    assert!(case.path("found/images/train/000001.png").is_file());
}

#[test]
fn bad_sources_and_folders_that_exist_are_refused() {
    let case = split_data();
    case.write("in/some.json", "{}");
    case.write("in/other.json", annotations().to_string());
    case.run("data convert in/data/data.yaml --out in").fails(&["in: it exists already", "--out"]);
    case.run("data convert in/some.json --out out").fails(&["in/some.json", "missing field `images`"]);
    case.run("data convert in/other.json in/some.json --out out")
        .fails(&["which split", "instances_train.json"]);
    case.run("data convert in/data/data.yaml in/other.json --out out")
        .fails(&["one data set yaml, or COCO files"]);
    case.run("data convert in/gone.json --out out").fails(&["in/gone.json", "check the path"]);
    case.run("data convert in/other.json --image-dir nowhere --out out").fails(&["nowhere", "--image-dir"]);
}

#[test]
fn cocos_labels_are_those_of_its_json_and_come_back() {
    let Some(data) = shared("data/coco-tiny") else { return };
    let case = Case::empty();
    let files = ["train", "val"].map(|split| data.join(format!("annotations/instances_{split}2017.json")));
    let [train, val] = [&files[0], &files[1]].map(|file| file.to_str().unwrap());
    let outcome = case.run_args(&["data", "convert", train, val, "--out", "yolo", "--json"]).ok();
    assert_eq!((&outcome.json()["images"], &outcome.json()["classes"]), (&160.into(), &80.into()));
    // The labels that came with the images were made from the same annotations by others. Theirs are of boxes as they
    // are; ours end at the edge of the image, and repeated rows stay.
    for split in ["train", "val"] {
        let theirs = labels(&data.join("labels"), &format!("{split}2017"));
        let ours = labels(&case.path("yolo/labels"), split);
        let ours: Vec<_> = ours.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
        let names = |all: &[(String, Vec<_>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs.clone()));
        for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            assert_eq!(ours.len(), theirs.len(), "{name}");
            for (a, b) in ours.iter().zip(theirs) {
                let near = a.1.iter().zip(b.1).all(|(a, b)| (a - b).abs() <= 2);
                assert!(a.0 == b.0 && near, "{name}: {a:?} {b:?}");
            }
        }
    }
    case.run("data convert yolo/data.yaml --out coco").ok();
    let boxes = |coco: &Value| {
        let of = |a: &Value| {
            let hundredths = |i: usize| (a["bbox"][i].as_f64().unwrap() * 100.0).round() as i64;
            let ids = [&a["image_id"], &a["category_id"]].map(|id| id.as_i64().unwrap());
            (ids, [0, 1, 2, 3].map(hundredths))
        };
        let all = coco["annotations"].as_array().unwrap().iter().filter(|a| a["iscrowd"] != 1);
        let mut all: Vec<_> = all.map(of).collect();
        all.sort_unstable();
        all
    };
    let original: Value = serde_json::from_slice(&std::fs::read(val).unwrap()).unwrap();
    let (original, back) = (boxes(&original), boxes(&case.json("coco/annotations/instances_val.json")));
    assert_eq!(original.len(), back.len());
    let far = original
        .iter()
        .zip(&back)
        .filter(|(a, b)| a.0 != b.0 || a.1.iter().zip(b.1).any(|(a, b)| (a - b).abs() > 1));
    let far: Vec<_> = far.collect();
    assert!(far.is_empty(), "{far:?}");
}

#[test]
fn a_picture_shows_images_with_their_boxes() {
    let case = split_data();
    let outcome = case.run(&format!("{CHECK} --mosaic look/train.png")).ok();
    assert_eq!(outcome.written, ["look", "look/train.png"]);
    let picture = image::load_from_memory(&case.read("look/train.png")).unwrap().to_rgb8();
    assert!(picture.width() >= 640 && picture.height() >= 640, "{:?}", picture.dimensions());
    // The colours of YOLOv5's first two classes, which are not in the images.
    for colour in [[0xff, 0x38, 0x38], [0xff, 0x9d, 0x97]] {
        assert!(picture.pixels().filter(|pixel| pixel.0 == colour).count() > 100, "{colour:?}");
    }
    case.run(&format!("{CHECK} --mosaic look.txt")).fails(&["look.txt: not the name of a picture", ".jpg"]);
}
