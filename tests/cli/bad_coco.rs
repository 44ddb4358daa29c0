//! COCO JSON that is wrong, for `coco-eval` and beside the data of `val`.

use serde_json::{Value, json};

use crate::support::{ANNOTATIONS, Case, VAL, annotations, coco_figures};

const RUN: &str = "coco-eval --annotations in/gt.json --predictions in/dt.json";

fn detections() -> Value {
    json!([
        {"image_id": 1, "category_id": 1, "bbox": [16.0, 16.0, 16.0, 16.0], "score": 0.9},
        {"image_id": 2, "category_id": 2, "bbox": [16.0, 16.0, 16.0, 16.0], "score": 0.8},
    ])
}

fn case(gt: &str, dt: &str) -> Case {
    let case = Case::empty();
    case.write("in/gt.json", gt);
    case.write("in/dt.json", dt);
    case
}

/// Runs `coco-eval` on predictions of this text, which has to fail with their name and all `parts`.
fn refuse_predictions(dt: &str, parts: &[&str]) {
    let parts = [&["in/dt.json"], parts].concat();
    case(&annotations().to_string(), dt).run(RUN).fails(&parts);
}

/// Runs `coco-eval` on annotations of this text, which has to fail with their name and all `parts`.
fn refuse_annotations(gt: &str, parts: &[&str]) {
    let parts = [&["in/gt.json"], parts].concat();
    case(gt, &detections().to_string()).run(RUN).fails(&parts);
}

/// The annotations with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut annotations = annotations();
    change(&mut annotations);
    annotations
}

#[test]
fn detections_on_images_that_the_annotations_lack_are_refused_with_both_files() {
    let mut dt = detections();
    dt[1]["image_id"] = 99.into();
    refuse_predictions(&dt.to_string(), &["image_id 99", "in/gt.json", "annotation file of the images"]);
}

#[test]
fn tokens_that_are_not_numbers_are_refused_with_line_and_entry() {
    for token in ["NaN", "Infinity", "-Infinity"] {
        let dt = format!("[{},\n{}]", detections()[0], detections()[1].to_string().replace("0.8", token));
        refuse_predictions(&dt, &["in/dt.json:2: ", "entry 1", "NaN and Infinity", "remove the entry"]);
    }
    let dt = detections().to_string().replace("0.8", "1e999");
    refuse_predictions(&dt, &["in/dt.json:1: ", "entry 1"]);
}

#[test]
fn ids_that_occur_twice_are_refused() {
    let gt = changed(|gt| gt["annotations"][3]["id"] = 1.into());
    refuse_annotations(&gt.to_string(), &["annotation id 1 occurs twice", "entry 0", "entry 3", "renumber"]);
    let gt = changed(|gt| gt["images"][1]["id"] = 1.into());
    refuse_annotations(&gt.to_string(), &["image id 1 occurs twice", "000001.png", "000002.png"]);
    let gt = changed(|gt| gt["categories"][2]["id"] = 1.into());
    refuse_annotations(&gt.to_string(), &["category id 1 occurs twice", "red", "blue"]);
}

#[test]
fn a_box_of_negative_size_is_refused() {
    let gt = changed(|gt| gt["annotations"][3]["bbox"] = json!([1, 2, -3, 4]));
    refuse_annotations(&gt.to_string(), &["annotation id 4", "negative size"]);
}

#[test]
fn files_that_are_not_there_are_named() {
    let case = case(&annotations().to_string(), &detections().to_string());
    let run = |gt: &str, dt: &str| case.run(&format!("coco-eval --annotations {gt} --predictions {dt}"));
    run("in/gone.json", "in/dt.json").fails(&["in/gone.json", "no such file"]);
    run("in/gt.json", "in/gone.json").fails(&["in/gone.json", "no such file"]);
    run("in", "in/dt.json").fails(&["in:"]);
}

#[test]
fn what_is_not_json_gives_the_line() {
    refuse_predictions("", &["empty", "again"]);
    refuse_predictions("hello", &["in/dt.json:1: "]);
    let whole = detections().to_string();
    refuse_predictions(&whole[..whole.len() - 5], &["in/dt.json:1: ", "cut short", "again"]);
    let whole = annotations().to_string();
    refuse_annotations(&whole[..whole.len() / 2], &["in/gt.json:1: ", "cut short", "again"]);
    refuse_annotations("\u{1}\u{2}", &["in/gt.json:1: "]);
}

#[test]
fn files_that_are_swapped_are_noticed() {
    refuse_predictions(
        &annotations().to_string(),
        &["in/dt.json:1: ", "list of detections", "annotation file?"],
    );
    refuse_annotations(&detections().to_string(), &["in/gt.json:1: ", "annotations", "results file?"]);
}

#[test]
fn entries_of_another_shape_are_named() {
    let without = |key: &str| {
        let mut dt = detections();
        dt[1].as_object_mut().unwrap().remove(key);
        dt.to_string()
    };
    for key in ["image_id", "category_id", "bbox", "score"] {
        refuse_predictions(&without(key), &["in/dt.json:1: ", "entry 1", key, "add it"]);
    }
    let mut dt = detections();
    dt[1]["bbox"] = json!([1, 2, 3]);
    refuse_predictions(&dt.to_string(), &["entry 1", "a bbox of 3 numbers", "[left, top, width, height]"]);
    refuse_annotations("{\"images\": [], \"categories\": []}", &["in/gt.json:1: ", "annotations", "add it"]);
    refuse_annotations("{\"images\": 3}", &["images to be a list"]);
}

#[test]
fn no_detections_give_zeros() {
    let outcome = case(&annotations().to_string(), "[]").run(&format!("{RUN} --json")).ok();
    for figure in coco_figures(&outcome.json()) {
        assert!(figure == 0.0 || figure == -1.0, "{}", outcome.stdout);
    }
}

#[test]
fn no_annotations_give_minus_one() {
    let gt = changed(|gt| gt["annotations"] = json!([]));
    let outcome = case(&gt.to_string(), &detections().to_string()).run(&format!("{RUN} --json")).ok();
    assert!(coco_figures(&outcome.json()).iter().all(|figure| *figure == -1.0), "{}", outcome.stdout);
}

#[test]
fn detections_of_an_unknown_category_are_counted_in_a_warning() {
    let mut dt = detections();
    dt[1]["category_id"] = 55.into();
    let case = case(&annotations().to_string(), &dt.to_string());
    case.run(RUN).ok().warns(&["1 detection", "category", "left out", "same category ids"]);
}

/// What `val` does with these annotations: beside the data they cost COCO's figures only, asked for they fail.
fn beside_or_asked_for(text: &str, parts: &[&str]) {
    let case = Case::with_data();
    case.write(ANNOTATIONS, text);
    let file = [&["instances_val.json"], parts].concat();
    case.run(VAL).ok().warns(&file);
    let results = case.results();
    assert_eq!(results["coco"], Value::Null);
    assert_eq!(results["data"]["images"], 4);
    let case = Case::with_data();
    case.write("in/mine.json", text);
    let file = [&["in/mine.json"], parts].concat();
    case.run(&format!("{VAL} --annotations in/mine.json")).fails(&file);
}

#[test]
fn val_goes_on_without_broken_annotations_unless_they_were_asked_for() {
    beside_or_asked_for("{\"images\": [", &["cut short"]);
    beside_or_asked_for("[]", &["results file?"]);
    let gt = changed(|gt| gt["annotations"][3]["id"] = 1.into());
    beside_or_asked_for(&gt.to_string(), &["annotation id 1 occurs twice"]);
}

#[test]
fn annotations_of_none_of_the_images_are_noticed() {
    let case = Case::with_data();
    let gt = changed(|gt| {
        for image in gt["images"].as_array_mut().unwrap() {
            image["id"] = (image["id"].as_i64().unwrap() + 1000).into();
            image["file_name"] = format!("x{}", image["file_name"].as_str().unwrap()).into();
        }
        gt["annotations"] = json!([]);
    });
    case.write(ANNOTATIONS, gt.to_string());
    let results =
        case.run(&format!("{VAL} --json")).ok().warns(&["4 of 4 images", "not in the annotations"]).json();
    assert_eq!(results["coco"], Value::Null);
}

/// Annotations whose categories are not the classes of the data set.
fn other_categories() -> String {
    let gt = changed(|gt| {
        for (category, name) in gt["categories"].as_array_mut().unwrap().iter_mut().zip(["cat", "dog", "cow"])
        {
            category["name"] = name.into();
            category["id"] = (category["id"].as_i64().unwrap() * 10).into();
        }
        gt["annotations"] = json!([]);
    });
    gt.to_string()
}

#[test]
fn val_goes_on_without_annotations_of_other_categories_with_a_warning() {
    let case = Case::with_data();
    case.write(ANNOTATIONS, other_categories());
    let results = case.run(&format!("{VAL} --json")).ok().warns(&["categories", "red"]).json();
    assert_eq!(results["coco"], Value::Null);
}

#[test]
fn annotations_of_other_categories_that_were_asked_for_are_refused() {
    let case = Case::with_data();
    case.write("in/mine.json", other_categories());
    case.run(&format!("{VAL} --annotations in/mine.json")).fails(&["categories", "red"]);
}

#[test]
fn predictions_that_cannot_be_written_fail_before_the_images_are_read() {
    let case = Case::with_data();
    case.write(ANNOTATIONS, other_categories());
    let outcome = case.run(&format!("{VAL} --save-json")).fails(&["--save-json", "categories", "red"]);
    assert!(!outcome.stdout.contains("mAP50"), "it failed after the validation: {}", outcome.stdout);
}

#[test]
fn annotations_that_are_asked_for_are_read_before_the_images() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --annotations in/gone.json")).fails(&["in/gone.json", "No such file"]);
}
