//! Data sets without anything to learn from, and yaml files as they come: `data check` says what `train` does.

use serde_json::Value;

use crate::support::{ANNOTATIONS, Case, VAL, annotations};

const TRAIN: &str = "train --weights in/tiny.safetensors --data in/data/data.yaml --imgsz 64 --epochs 1";
const PRUNE: &str =
    "prune-finetune --weights in/tiny.safetensors --data in/data/data.yaml --imgsz 64 --epochs 1";
const CHECK: &str = "data check in/data/data.yaml";

/// What all commands do with a data set without labels, where `expected` says what labels should be.
fn stops_training(case: &Case, expected: &str) {
    for run in [TRAIN, PRUNE] {
        case.run(run).fails(&["no labels found in train of", "nothing to train on; expected", expected]);
    }
    let check = case.run(CHECK).shows(&["error    train: no labels found in", expected]);
    check.fails(&["1 of these would stop training"]);
}

#[test]
fn nothing_is_trained_without_label_files() {
    let case = Case::with_data();
    std::fs::rename(case.path("in/data/labels"), case.path("in/data/label")).unwrap();
    stops_training(&case, "label files such as");
    let outcome = case.run(VAL).ok().warns(&["no labels found in val of", "nothing to measure on"]);
    let wrong = |line: &&str| line.matches("warning").count() > 1 || line.contains("\\n");
    assert_eq!(outcome.stderr.lines().find(wrong), None);
}

#[test]
fn nothing_is_trained_with_empty_label_files() {
    let case = Case::with_data();
    for name in crate::support::IMAGES {
        case.write(&format!("in/data/labels/val/{name}.txt"), "");
    }
    stops_training(&case, "which are all empty");
    case.run(VAL).ok().warns(&["no labels found in val of"]);
}

#[test]
fn crowds_are_counted_with_the_reason_and_alone_are_nothing_to_train_on() {
    let case = Case::with_data();
    let mut coco = annotations();
    for annotation in coco["annotations"].as_array_mut().unwrap() {
        annotation["iscrowd"] = 1.into();
    }
    case.write(ANNOTATIONS, coco.to_string());
    let yaml = case.data_yaml().replace("images/val", "annotations/instances_val.json");
    case.write("in/data/data.yaml", yaml);
    stops_training(&case, "8 are crowds and left out");
    let convert = format!("data convert {ANNOTATIONS} --out out");
    case.run(&convert).warns(&["8 annotation(s) are crowds", "CVAT"]).fails(&[
        "out: no labels found",
        "nothing to convert",
        "crowds",
    ]);
    coco["annotations"][0]["iscrowd"] = 0.into();
    case.write(ANNOTATIONS, coco.to_string());
    case.run(CHECK).ok().shows(&["7 annotation(s) are crowds", "Ready to train."]);
    case.run(&convert).ok().warns(&["7 annotation(s) are crowds"]).shows(&["4 images with 1 object"]);
}

#[test]
fn a_test_split_that_training_does_not_need_is_a_warning() {
    let case = Case::with_data();
    case.write("in/data/data.yaml", format!("{}test: ../test/images\n", case.data_yaml()));
    let outcome = case.run(CHECK).ok();
    outcome.shows(&["warning  test: ", "`test: ../test/images` does not exist", "Ready to train."]);
    case.run(&format!("{CHECK} --split test")).fails(&["would stop"]);
}

#[test]
fn a_file_that_is_listed_twice_is_found_by_data_check() {
    let case = Case::with_data();
    let mut coco = annotations();
    let again = serde_json::json!({"id": 50, "file_name": "000002.png", "width": 64, "height": 64});
    coco["images"].as_array_mut().unwrap().push(again);
    case.write(ANNOTATIONS, coco.to_string());
    let yaml = case.data_yaml().replace("images/val", "annotations/instances_val.json");
    case.write("in/data/data.yaml", yaml);
    case.run(CHECK)
        .ok()
        .shows(&["warning  train: 1 entry repeats an image", "000002.png with the ids 2 and 50"]);
}

#[test]
fn equal_class_names_are_a_warning() {
    let case = Case::with_data();
    case.write("in/data/data.yaml", case.data_yaml().replace("green", "red"));
    case.run(CHECK).ok().warns(&["in/data/data.yaml", "classes 0 (`red`) and 1 (`red`) have the same name"]);
}

#[test]
fn yaml_files_are_read_as_editors_write_them() {
    let case = Case::with_data();
    let counted =
        |case: &Case| -> Value { case.run(&format!("{CHECK} --json")).ok().json()["splits"].clone() };
    let expected = counted(&case);
    let yaml = case.data_yaml();
    let (first, rest) = yaml.split_once('\n').unwrap();
    let in_comments =
        [format!("{first} # ").as_bytes(), b"\xD1\xB5\xC1\xB7 \xE9\n# \xFF\n", rest.as_bytes()].concat();
    let utf16: Vec<u8> = format!("\u{feff}{yaml}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [in_comments, utf16] {
        case.write("in/data/data.yaml", bytes);
        assert_eq!(counted(&case), expected);
    }
    case.write("in/data/data.yaml", format!("train: gone\n{yaml}"));
    let outcome = case.run(CHECK).ok();
    outcome.warns(&["in/data/data.yaml:3: `train` is at line 1 already; the last one counts"]);
    case.write("in/data/data.yaml", format!("{yaml}nc: 3\nnc: 2\n"));
    case.run(CHECK).fails(&["in/data/data.yaml:6: `nc` is 2 but `names` has 3 names"]);
    case.write("in/data/data.yaml", [yaml.trim_end().replace("blue]", "bl").as_bytes(), b"\xE9]\n"].concat());
    case.run(CHECK).fails(&["in/data/data.yaml:4: ", "save the file as UTF-8"]);
    case.write("in/data/data.yaml", yaml);
    case.write("in/hyp.yaml", b"lr0: 0.01  # \xD1\xA7\nlr0: 0.02\n");
    case.run(&format!("{TRAIN} --hyp in/hyp.yaml"))
        .fails(&["in/hyp.yaml:2: a key that is there twice: lr0; keep one of them"]);
}
