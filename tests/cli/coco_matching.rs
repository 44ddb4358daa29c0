//! Annotations whose ids, names and files are written otherwise than the data set's: the figures are the same, or there
//! are none.

use serde_json::{Value, json};

use crate::support::{ANNOTATIONS, COCO_KEYS, Case, IMAGES, Outcome, VAL, annotations, coco_figures};

const FILE: &str = "in/mine.json";

/// The annotations with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut annotations = annotations();
    change(&mut annotations);
    annotations
}

fn run(case: &Case, annotations: &Value, flags: &str) -> Outcome {
    case.write(FILE, annotations.to_string());
    case.run(&format!("{VAL} --exist-ok --json --annotations {FILE} {flags}"))
}

/// COCO's figures of the tiny data set with these annotations.
fn figures(case: &Case, annotations: &Value) -> Vec<f64> {
    coco_figures(&run(case, annotations, "").ok().json()["coco"])
}

fn list<'a>(annotations: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    annotations[key].as_array_mut().unwrap()
}

#[test]
fn classes_are_found_by_name_whatever_their_ids_order_case_and_space() {
    let case = Case::with_data();
    let expected = figures(&case, &annotations());
    assert!(expected[0] > 0.0 && expected[0] < 1.0, "{expected:?}");
    let other = changed(|gt| {
        // Ids of red, green and blue; `shapes` is the parent that exporters add.
        let ids = [3, 7, 1];
        gt["categories"] = json!([{"id": 0, "name": "shapes"}, {"id": 1, "name": "Blue "},
            {"id": 3, "name": "RED"}, {"id": 7, "name": " green"}]);
        for annotation in list(gt, "annotations") {
            annotation["category_id"] = ids[annotation["category_id"].as_u64().unwrap() as usize - 1].into();
        }
    });
    assert_eq!(figures(&case, &other), expected);
}

#[test]
fn a_class_without_a_category_has_no_ground_truth_and_shifts_no_other() {
    let case = Case::with_data();
    // Without green, ids 1 and 3 are left.
    let listed = changed(|gt| list(gt, "annotations").retain(|annotation| annotation["category_id"] != 2));
    let mut absent = listed.clone();
    list(&mut absent, "categories").remove(1);
    let outcome = run(&case, &absent, "").ok();
    assert_eq!(coco_figures(&outcome.json()["coco"]), figures(&case, &listed));
    outcome.warns(&[FILE, "no category for 1 of 3 classes (green)"]);
}

#[test]
fn a_category_with_objects_that_is_no_class_is_refused_with_both_sides() {
    let case = Case::with_data();
    let other = changed(|gt| gt["categories"][2]["name"] = "azure".into());
    let parts = [FILE, "`azure` (id 3)", "without a category: `blue`", "--category-map"];
    run(&case, &other, "").fails(&parts);
    let expected = figures(&case, &annotations());
    case.write("in/map.yaml", "azure: Blue\n");
    let mapped = run(&case, &other, "--category-map in/map.yaml").ok().json();
    assert_eq!(coco_figures(&mapped["coco"]), expected);
    // By id, and what has no class is left out.
    case.write("in/map.yaml", "3: ~\n");
    let left = run(&case, &other, "--category-map in/map.yaml").ok().json();
    assert_ne!(coco_figures(&left["coco"]), expected);
    case.write("in/map.yaml", "azure: navy\n");
    run(&case, &other, "--category-map in/map.yaml").fails(&["`navy`", "`red`, `green`, `blue`"]);
    case.write("in/map.yaml", "- azure\n");
    run(&case, &other, "--category-map in/map.yaml").fails(&["in/map.yaml", "category: class"]);
}

#[test]
fn two_names_that_differ_by_case_are_told_apart_or_refused() {
    let case = Case::with_data();
    let other = changed(|gt| list(gt, "categories").push(json!({"id": 9, "name": "Red"})));
    assert_eq!(figures(&case, &other), figures(&case, &annotations()));
    let both = changed(|gt| {
        list(gt, "categories").push(json!({"id": 9, "name": "Red"}));
        gt["annotations"][0]["category_id"] = 9.into();
    });
    run(&case, &both, "").fails(&["`red` (id 1)", "`Red` (id 9)"]);
}

/// The annotations with ids that count from 0 and files as `name` writes them.
fn renamed(name: impl Fn(&str) -> String) -> Value {
    changed(|gt| {
        for image in list(gt, "images") {
            image["id"] = (image["id"].as_i64().unwrap() - 1).into();
            image["file_name"] = name(image["file_name"].as_str().unwrap()).into();
        }
        for annotation in list(gt, "annotations") {
            annotation["image_id"] = (annotation["image_id"].as_i64().unwrap() - 1).into();
        }
    })
}

#[test]
fn images_are_found_by_name_before_number() {
    let case = Case::with_data();
    let expected = figures(&case, &annotations());
    let names: [fn(&str) -> String; 5] = [
        |name| format!("images/val/{name}"),
        |name| format!("C:\\data\\images\\val\\{name}"),
        |name| name.replace(".png", ".jpg"),
        |name| name.to_uppercase(),
        |name| name.trim_start_matches('0').to_owned(),
    ];
    for name in names {
        assert_eq!(figures(&case, &renamed(name)), expected, "{}", name("000001.png"));
    }
}

#[test]
fn an_image_without_annotations_is_refused_unless_allowed() {
    let case = Case::with_data();
    let part = changed(|gt| {
        list(gt, "images").pop();
        list(gt, "annotations").truncate(6);
    });
    run(&case, &part, "").fails(&[FILE, "1 of 4 images", "000004.png", "--allow-missing"]);
    let outcome = run(&case, &part, "--allow-missing").ok();
    assert!(outcome.json()["coco"]["ap"].as_f64().unwrap() > 0.0);
    outcome.warns(&["1 of 4 images", "COCO's figures are without them"]);
    // Numbers that only look as if they fit.
    let other = renamed(|name| format!("x{name}"));
    run(&case, &other, "").fails(&["4 of 4 images"]);
    let twice = changed(|gt| {
        let again = json!({"id": 77, "file_name": "000002.png", "width": 64, "height": 64});
        list(gt, "images").push(again);
    });
    run(&case, &twice, "").fails(&["000002.png could be two images", "id 2", "id 77"]);
}

#[test]
fn images_of_the_annotations_outside_the_split_are_counted_and_ignored() {
    let case = Case::with_data();
    let more = changed(|gt| {
        list(gt, "images")
            .push(json!({"id": 77, "file_name": "train/000009.png", "width": 64, "height": 64}));
        let lost = json!({"id": 99, "image_id": 77, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81});
        list(gt, "annotations").push(lost);
    });
    let outcome = run(&case, &more, "").ok();
    assert_eq!(coco_figures(&outcome.json()["coco"]), figures(&case, &annotations()));
    outcome.shows(&["1 images are not in the split and do not count"]);
}

#[test]
fn images_of_another_size_are_pointed_out() {
    let case = Case::with_data();
    let other = changed(|gt| gt["images"][1]["width"] = 128.into());
    run(&case, &other, "").ok().warns(&["1 images have another size", "64 x 64, annotated as 128 x 64"]);
}

/// `coco-eval` on the predictions that `val` has written.
fn evaluated(case: &Case, annotations: &str) -> Vec<f64> {
    let predictions = "runs/val/exp/tiny_predictions.json";
    let run = format!("coco-eval --annotations {annotations} --predictions {predictions} --json");
    coco_figures(&case.run(&run).ok().json())
}

#[test]
fn ids_that_are_texts_go_to_the_predictions_and_back() {
    let case = Case::with_data();
    let expected = figures(&case, &annotations());
    let named = changed(|gt| {
        let id = |number: &Value| Value::from(format!("cam 1/{number}"));
        for image in list(gt, "images") {
            image["id"] = id(&image["id"]);
        }
        for annotation in list(gt, "annotations") {
            annotation["image_id"] = id(&annotation["image_id"]);
        }
    });
    let outcome = run(&case, &named, "--save-json").ok();
    assert_eq!(coco_figures(&outcome.json()["coco"]), expected);
    let written = case.json("runs/val/exp/tiny_predictions.json");
    assert_eq!(written[0]["image_id"], "cam 1/1");
    assert_eq!(evaluated(&case, FILE), expected);
}

#[test]
fn predictions_without_annotations_name_images_by_their_files() {
    let case = Case::with_data();
    let name = |name: &str| name.replace("000", "n.");
    for image in IMAGES {
        for (folder, extension) in [("images", "png"), ("labels", "txt")] {
            let at = |stem: &str| case.path(&format!("in/data/{folder}/val/{stem}.{extension}"));
            std::fs::rename(at(image), at(&name(image))).unwrap();
        }
    }
    // Without annotations a class is its index.
    let gt = changed(|gt| {
        for category in list(gt, "categories") {
            category["id"] = (category["id"].as_i64().unwrap() - 1).into();
        }
        for annotation in list(gt, "annotations") {
            annotation["category_id"] = (annotation["category_id"].as_i64().unwrap() - 1).into();
        }
        for image in list(gt, "images") {
            image["file_name"] = name(image["file_name"].as_str().unwrap()).into();
        }
    });
    let expected = figures(&case, &gt);
    case.run(&format!("{VAL} --exist-ok --save-json")).ok();
    assert_eq!(case.json("runs/val/exp/tiny_predictions.json")[0]["image_id"], name("000001"));
    assert_eq!(evaluated(&case, FILE), expected);
    let mut texts = gt.clone();
    let id = |number: &Value| Value::from(name(&format!("00000{number}")));
    for image in list(&mut texts, "images") {
        image["id"] = id(&image["id"]);
    }
    for annotation in list(&mut texts, "annotations") {
        annotation["image_id"] = id(&annotation["image_id"]);
    }
    case.write("in/texts.json", texts.to_string());
    assert_eq!(evaluated(&case, "in/texts.json"), expected);
}

#[test]
fn other_names_and_another_order_of_names_are_pointed_out() {
    let case = Case::with_data();
    let with_names = |names: &str| {
        let yaml = case.data_yaml().replace("[red, green, blue]", names);
        case.write("in/data/data.yaml", yaml);
        case.run(&format!("{VAL} --exist-ok")).ok()
    };
    let parts = [
        "another order",
        "class 0 is `red` in the weights and `green` in the data",
        "the order of the weights counts",
    ];
    with_names("[green, red, blue]").warns(&parts);
    // The network's own names say what it has found.
    let swapped = figures(&case, &annotations());
    with_names("[red, green, blue]");
    assert_eq!(swapped, figures(&case, &annotations()));
    with_names("[red, green, navy]").warns(&["OTHER CLASSES: 1 of 3", "class 2 is `blue`", "`navy`"]);
    let outcome = with_names("[Red, ' green', BLUE]");
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
}

#[test]
fn what_pycocotools_ignores_does_not_change_a_figure() {
    let case = Case::empty();
    let gt = annotations();
    let detection = |a: &Value| {
        let id = a["id"].as_f64().unwrap();
        json!({"image_id": a["image_id"], "category_id": a["category_id"], "bbox": [20, 20, 14, 16], "score": id / 10.0})
    };
    let detections: Value = gt["annotations"].as_array().unwrap().iter().map(detection).collect();
    case.write("in/dt.json", detections.to_string());
    let run = |gt: &Value, flags: &str| {
        case.write("in/gt.json", gt.to_string());
        case.run(&format!("coco-eval --annotations in/gt.json --predictions in/dt.json --json {flags}"))
    };
    let expected = coco_figures(&run(&gt, "").ok().json());
    assert!(expected[0] > 0.0 && expected[0] < 1.0, "{expected:?}");
    let extra = |key: &str, value: Value| {
        changed(|gt| {
            let mut lost = gt["annotations"][0].clone();
            lost["id"] = 99.into();
            lost[key] = value;
            list(gt, "annotations").push(lost);
        })
    };
    let twice = changed(|gt| {
        let first = gt["images"][0].clone();
        list(gt, "images").push(first);
    });
    let texts = changed(|gt| {
        for annotation in list(gt, "annotations") {
            let text = |value: &Value| Value::from(value.to_string());
            annotation["bbox"] = annotation["bbox"].as_array().unwrap().iter().map(text).collect();
        }
    });
    let cases = [
        (extra("image_id", 77.into()), "image_id that is not in images (77; the first is annotation id 99)"),
        (
            extra("category_id", 77.into()),
            "category_id that is not in categories (77; the first is annotation id 99)",
        ),
        (twice, "image id 1 is listed more than once"),
        (texts, "numbers of 8 annotations are written as text"),
    ];
    for (gt, remark) in cases {
        let outcome = run(&gt, "").ok();
        assert_eq!(coco_figures(&outcome.json()), expected, "{remark}");
        let warnings = outcome.stderr.lines().filter(|line| line.starts_with("warning"));
        assert_eq!(warnings.count(), 1, "{}", outcome.stderr);
        outcome.warns(&["in/gt.json", remark]);
        run(&gt, "--strict").fails(&["in/gt.json", remark]);
    }
    assert_eq!(COCO_KEYS.len(), expected.len());
}

#[test]
fn annotations_beside_the_data_that_lack_an_image_cost_only_the_figures() {
    let case = Case::with_data();
    let part = changed(|gt| {
        list(gt, "images").pop();
        list(gt, "annotations").truncate(6);
    });
    case.write(ANNOTATIONS, part.to_string());
    let outcome = case.run(&format!("{VAL} --json")).ok();
    assert_eq!(outcome.json()["coco"], Value::Null);
    outcome.warns(&["1 of 4 images", "continuing without COCO's figures", "--allow-missing"]);
}

#[test]
fn annotations_without_objects_are_refused_and_other_numbers_are_pointed_out() {
    let case = Case::with_data();
    let labels = annotations()["annotations"].as_array().unwrap().len();
    let none = changed(|gt| list(gt, "annotations").clear());
    run(&case, &none, "").fails(&[FILE, "no object in the images and classes of this split", "label files"]);
    let half = changed(|gt| list(gt, "annotations").truncate(labels / 2));
    let counts = format!("{} objects, where the label files have {labels}", labels / 2);
    run(&case, &half, "").ok().warns(&[FILE, &counts]);
    case.write(ANNOTATIONS, none.to_string());
    let outcome = case.run(&format!("{VAL} --exist-ok --json")).ok();
    let outcome = outcome.warns(&["no object in the images", "continuing without COCO's figures"]);
    assert_eq!(outcome.json()["coco"], Value::Null);
}

#[test]
fn images_of_one_name_have_their_paths_in_files_of_results() {
    let case = Case::with_data();
    for (name, folder) in [("000001", "a"), ("000002", "b")] {
        for (kind, extension) in [("images", "png"), ("labels", "txt")] {
            let to = case.path(&format!("in/data/{kind}/val/{folder}/0.{extension}"));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::rename(case.path(&format!("in/data/{kind}/val/{name}.{extension}")), to).unwrap();
        }
    }
    let outcome = case.run(&format!("{VAL} --save-json")).ok();
    outcome.warns(&["2 images share their name", "`a/0.png`"]);
    let predictions = case.json("runs/val/exp/tiny_predictions.json");
    let ids = predictions.as_array().unwrap().iter().map(|detection| detection["image_id"].to_string());
    let ids: std::collections::BTreeSet<String> = ids.collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["\"a/0.png\"", "\"b/0.png\"", "3", "4"]);
}

#[test]
fn a_category_map_may_name_classes_by_number_and_says_what_it_merges() {
    let case = Case::with_data();
    let expected = figures(&case, &annotations());
    case.write("in/numbers.yaml", "red: 0\ngreen: 1\nblue: 2\n");
    let outcome = run(&case, &annotations(), "--category-map in/numbers.yaml").ok();
    assert_eq!(coco_figures(&outcome.json()["coco"]), expected);
    case.write("in/merged.yaml", "red: green\n");
    run(&case, &annotations(), "--category-map in/merged.yaml")
        .ok()
        .warns(&["makes `red` (id 1) and `green` (id 2) one class, `green`"]);
    case.write("in/twice.yaml", "red: green\nred: blue\n");
    run(&case, &annotations(), "--category-map in/twice.yaml")
        .fails(&["in/twice.yaml:2: ", "a key that is there twice"]);
    case.write("in/wrong.yaml", "red: purple\n");
    let outcome = run(&case, &annotations(), "--category-map in/wrong.yaml").fails(&["`purple`"]);
    assert!(!outcome.stderr.contains("for --category-map"), "{}", outcome.stderr);
}
