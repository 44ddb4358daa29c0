//! Files as other tools write them, valid and invalid.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::coco::{Detection, ImageId};
use crate::{Ltwh, Result};

const IMAGES: &str = r#""images": [{"id": 1, "width": 640, "height": 480, "file_name": "a.jpg"},
 {"id": 2, "width": 427, "height": 640, "file_name": "b.jpg"}]"#;
const CATEGORIES: &str = r#""categories": [{"id": 18, "name": "dog", "supercategory": "animal"}]"#;

fn instances(annotations: &str) -> String {
    format!("{{{IMAGES},\n{CATEGORIES},\n\"annotations\": [{annotations}]}}")
}

fn in_file<T>(text: &str, read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.json");
    std::fs::write(&path, text).unwrap();
    read(&path)
}

fn gt(text: &str) -> Result<GroundTruth> {
    in_file(text, |path| GroundTruth::read(path))
}

fn dt(text: &str) -> Result<Detections> {
    in_file(text, |path| Detections::read(path))
}

/// Asserts that reading fails with one line that contains every part, the file name among them.
fn assert_refused<T: std::fmt::Debug>(result: Result<T>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in parts.iter().chain(&["file.json"]) {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn ids_may_be_integers_floats_or_strings() {
    let read = gt(&instances(
        r#"{"id": 0, "image_id": 1.0, "category_id": "18", "bbox": [1, 2.5, 30, 4e1], "area": 70,
            "iscrowd": 1, "segmentation": {"counts": [3, 5], "size": [1, 8]}, "ignore": 1},
           {"id": "7.0", "image_id": 2, "category_id": 18, "bbox": [0, 0, 3, 5], "iscrowd": null},
           {"id": 9, "image_id": 2, "category_id": 18, "bbox": [0, 0, 3, 5], "area": null, "iscrowd": false}"#,
    ))
    .unwrap();
    let expected = Annotation {
        id: 0,
        image_id: 1,
        category_id: 18,
        bbox: Ltwh { left: 1.0, top: 2.5, w: 30.0, h: 40.0 },
        area: 70.0,
        iscrowd: true,
    };
    assert_eq!(read.annotations()[0], expected);
    assert_eq!((read.annotations()[1].id, read.annotations()[1].area), (7, 15.0));
    assert!(!read.annotations()[1].iscrowd);
    assert_eq!(read.missing_areas(), 2);
    assert_eq!((read.images()[1].width, read.images()[1].height), (427, 640));
    assert_eq!(read.categories()[0].name, "dog");
}

#[test]
fn malformed_files_are_refused_with_the_place() {
    let cut = instances("");
    assert_refused(gt(&cut[..cut.len() - 2]), &["file.json:4", "cut short"]);
    assert_refused(gt(""), &["empty"]);
    assert_refused(gt("[]"), &["file.json:1", "results file"]);
    assert_refused(
        gt("{\"images\": [],\n\"categories\": []}"),
        &["file.json:2", "missing field `annotations`"],
    );
    assert_refused(gt("{\"images\": 3}"), &["images to be a list"]);
    assert_refused(gt("nonsense"), &["file.json:1"]);
    let missing = GroundTruth::read("/nowhere/file.json");
    assert_refused(missing, &["/nowhere/file.json"]);
}

#[test]
fn what_else_is_meant_is_understood_or_said_in_plain_words() {
    let crowd = r#"{"id": 1, "image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 4], "iscrowd": "1"}"#;
    let text = instances(crowd).replace("\"dog\"", "null").replace("\"a.jpg\"", "null");
    let read = gt(&text).unwrap();
    assert!(read.annotations()[0].iscrowd);
    assert_eq!((read.categories()[0].name.as_str(), read.images()[0].file_name.as_str()), ("", ""));
    let text = instances(&crowd.replace("[1, 2, 3, 4]", "{}"));
    assert_refused(gt(&text), &["found an object, expected bbox to be [left, top, width, height]"]);
    let utf16: Vec<u8> = instances("").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = super::Instances::parse(Path::new("file.json"), &utf16).map(|_| ());
    assert_refused(error, &["UTF-16; save it as UTF-8"]);
    let score = r#"[{"image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 4], "score": "0.5"}]"#;
    assert_refused(dt(score), &["detections entry 0: found string \"0.5\", expected a number"]);
}

#[test]
fn non_finite_tokens_are_refused_with_line_and_entry() {
    let good = r#"{"id": 1, "image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 4]}"#;
    for token in ["NaN", "Infinity", "-Infinity"] {
        let bad = format!(r#"{{"id": 2, "image_id": 1, "category_id": 18, "bbox": [1, {token}, 3, 4]}}"#);
        let text = instances(&format!("{good},\n{bad}"));
        assert_refused(gt(&text), &["file.json:5", "annotations entry 1", "NaN and Infinity"]);
    }
    assert_refused(gt(&instances(&good.replace('4', "1e999"))), &["annotations entry 0", "out of range"]);
}

#[test]
fn a_bad_box_is_refused_with_the_annotation_id() {
    for (bbox, reason) in [
        ("[1, 2, 3]", "a bbox of 3 numbers"),
        ("[1, 2, 3, 4, 5]", "a bbox of 5 numbers"),
        ("null", "no bbox"),
        ("[1, 2, -3, 4]", "negative size (-3 × 4)"),
    ] {
        let text = instances(&format!(r#"{{"id": 77, "image_id": 1, "category_id": 18, "bbox": {bbox}}}"#));
        assert_refused(gt(&text), &["annotation id 77", reason]);
    }
    let text = instances(r#"{"id": 77, "image_id": 1, "category_id": 18, "bbox": [1, "x", 3, 4]}"#);
    assert_refused(gt(&text), &["file.json:4", "annotations entry 0", "\"x\" is not a number"]);
}

#[test]
fn duplicate_ids_are_refused_and_both_are_named() {
    let one = r#"{"id": 5, "image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 4]}"#;
    let other = one.replace("\"image_id\": 1", "\"image_id\": 2");
    let parts = ["annotation id 5", "entry 0 (image 1)", "entry 1 (image 2)"];
    assert_refused(gt(&instances(&format!("{one},{other}"))), &parts);
    let images = instances("").replace("\"id\": 2", "\"id\": 1");
    assert_refused(gt(&images), &["image id 1", "entry 0 (\"a.jpg\")", "entry 1 (\"b.jpg\")"]);
}

/// Asserts that a file is read with one remark that contains every part, and refused with it if read strictly.
fn assert_remarked(text: &str, annotations: usize, parts: &[&str]) -> GroundTruth {
    let read = gt(text).unwrap();
    assert_eq!(read.annotations().len(), annotations);
    let [remark] = read.remarks() else { panic!("{:?}", read.remarks()) };
    for part in parts {
        assert!(remark.contains(part), "{part:?} is not in: {remark}");
    }
    assert_refused(in_file(text, |path| GroundTruth::read_strictly(path)), parts);
    read
}

#[test]
fn what_pycocotools_ignores_is_left_out_with_a_remark() {
    let mut list = Vec::new();
    for i in 0..7 {
        list.push(format!(
            r#"{{"id": {i}, "image_id": {}, "category_id": 18, "bbox": [1, 2, 3, 4]}}"#,
            30 + i
        ));
    }
    let parts = ["7 annotations", "(30, 31, 32, 33, 34, … (7 in all)", "annotation id 0"];
    assert_remarked(&instances(&list.join(",")), 0, &parts);
    let text = instances(r#"{"id": 4, "image_id": 1, "category_id": 19, "bbox": [1, 2, 3, 4]}"#);
    assert_remarked(&text, 0, &["1 annotation with a category_id", "(19; the first is annotation id 4)"]);
}

#[test]
fn repeated_images_count_once_and_texts_that_are_numbers_are_read() {
    let text = instances("").replace("\"b.jpg\"}", "\"b.jpg\"}, {\"id\": 1, \"file_name\": \"a.jpg\"}");
    let read = assert_remarked(&text, 0, &["image id 1 is listed more than once"]);
    assert_eq!(read.images().len(), 2);
    let text =
        instances(r#"{"id": 4, "image_id": 1, "category_id": 18, "bbox": ["1", "2.5", 3, 4], "area": "9"}"#);
    let read = assert_remarked(&text, 1, &["numbers of 1 annotation", "annotation id 4"]);
    assert_eq!((read.annotations()[0].bbox.top, read.annotations()[0].area), (2.5, 9.0));
}

#[test]
fn ids_of_images_may_be_texts_and_detections_use_them() {
    let text = instances(r#"{"id": "x", "image_id": "cam 2", "category_id": 18, "bbox": [1, 2, 3, 4]}"#);
    let read = gt(&text.replace("\"id\": 1,", "\"id\": \"z1\",").replace("\"id\": 2,", "\"id\": \"cam 2\","));
    let read = read.unwrap();
    let ids: Vec<i64> = read.images().iter().map(|image| image.id).collect();
    assert_eq!((ids, read.annotations()[0].image_id), (vec![1, 0], 0));
    assert_eq!(read.written_id(1), ImageId::Name("z1".to_owned()));
    let entry =
        |id: &str| format!(r#"[{{"image_id": {id}, "category_id": 1, "bbox": [1,2,3,4], "score": 0.5}}]"#);
    let found = |id: &str| in_file(&entry(id), |path| Detections::read_for(path, &read));
    assert_eq!(found("\"cam 2\"").unwrap()[0].image_id, 0);
    // By file name, as `val` writes it without annotations.
    assert_eq!(found("\"a\"").unwrap()[0].image_id, 1);
    assert_refused(found("\"c\""), &["image_id c is not in the images", "annotation file"]);
    assert_refused(found("5"), &["image_id 5"]);
}

#[test]
fn ids_that_are_not_numbers_are_refused() {
    let entry =
        |id: &str| format!(r#"[{{"image_id": {id}, "category_id": 1, "bbox": [1,2,3,4], "score": 0.5}}]"#);
    assert_eq!(dt(&entry("\"000012\"")).unwrap()[0].image_id, 12);
    assert_refused(dt(&entry("\"zidane\"")), &["detections entry 0", "image_id zidane is not a number"]);
    assert_refused(dt(&entry("1.5")), &["detections entry 0", "id 1.5 is not a whole number"]);
    assert_refused(dt(&entry("null")), &["detections entry 0", "an id"]);
}

#[test]
fn results_may_be_empty_but_not_broken() {
    assert!(dt(" []\n").unwrap().is_empty());
    assert!(dt("\u{feff}[]").unwrap().is_empty());
    assert_refused(dt("{\"images\": []}"), &["annotation file"]);
    let good = r#"{"image_id": 1, "category_id": 1, "bbox": [1,2,3,4], "score": 0.5}"#;
    let text = format!("[{good},\n{}]", good.replace("0.5", "NaN"));
    assert_refused(dt(&text), &["file.json:2", "detections entry 1", "NaN"]);
    let text = format!("[{good},{}]", good.replace("[1,2,3,4]", "[1,2]"));
    assert_refused(dt(&text), &["detections entry 1", "2 numbers"]);
    let text = format!("[{good},{}]", good.replace("3,4", "3,-4"));
    assert_refused(dt(&text), &["detections entry 1", "negative size"]);
    let text = format!("[{}]", good.replace("\"score\"", "\"confidence\""));
    assert_refused(dt(&text), &["detections entry 0", "missing field `score`"]);
}

#[test]
fn numbers_are_rounded_as_in_python() {
    // 0.0625 and 0.1875 are ties and go to even; 2.0005 and 1.0005 are not ties in binary.
    for (value, rounded) in
        [(0.0625, 0.062), (0.1875, 0.188), (2.0005, 2.001), (1.0005, 1.0), (-0.0001, -0.0)]
    {
        assert_eq!(round_like_val(value, 3), rounded, "{value}");
    }
    assert_eq!(round_like_val(f64::from(0.123_456_78_f32), 5), 0.12346);
}

#[test]
fn written_detections_read_back_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.json");
    let bbox = Ltwh { left: 10.123_456, top: 0.0, w: 99.999_9, h: 7.0 };
    let detections = [
        Detection { image_id: 139, category_id: 90, bbox, score: 0.123_456_7 },
        Detection { image_id: 285, category_id: 1, bbox, score: 0.000_001 },
    ];
    write_detections(&path, &detections).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let first = r#"{"image_id":139,"category_id":90,"bbox":[10.123,0.0,100.0,7.0],"score":0.12346}"#;
    assert!(text.starts_with(&format!("[{first},")), "{text}");
    assert_eq!(Detections::read(&path).unwrap().into_vec(), detections.map(Detection::rounded));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn values_that_json_cannot_represent_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.json");
    let nan = Detection { image_id: 4, category_id: 1, bbox: Ltwh::default(), score: f64::NAN };
    assert_refused(write_detections(&path, &[nan]), &["entry 0", "image 4"]);
    assert!(!path.exists());
}
