//! Data set descriptions that are wrong.

use crate::support::{Case, VAL};

/// Validates with a data yaml of this text, which has to fail with the yaml's name and all `parts`.
fn refuse(yaml: &str, parts: &[&str]) {
    let case = Case::with_data();
    case.write("in/data/data.yaml", yaml);
    let parts = [&["in/data/data.yaml"], parts].concat();
    case.run(VAL).fails(&parts);
}

#[test]
fn a_data_yaml_that_is_not_there_is_named_with_the_names_that_are_known() {
    let case = Case::with_model();
    let run = |data: &str| case.run(&format!("val --weights in/tiny.safetensors --data {data}"));
    run("in/gone.yaml").fails(&["in/gone.yaml", "no such file", "--data", "coco, coco128"]);
    run("cocoo").fails(&["cocoo", "no such file", "coco, coco128"]);
    run("in").fails(&["in:", "folder", "name the data yaml in it"]);
}

#[test]
fn a_known_data_set_that_is_not_there_comes_with_the_command_that_gets_it() {
    let case = Case::with_model();
    for name in ["coco", "coco.yaml"] {
        let outcome = case.run(&format!("val --weights in/tiny.safetensors --data {name}"));
        outcome.fails(&[
            "`val: val2017.txt` does not exist",
            "datasets/coco/val2017.txt",
            "cargo xtask fetch-coco`",
        ]);
    }
    let outcome = case.run("val --weights in/tiny.safetensors --data coco128");
    outcome.fails(&["images/train2017", "cargo xtask fetch-coco128`"]);
}

#[test]
fn a_known_data_set_is_found_among_the_data_sets_of_the_user() {
    let case = Case::with_model();
    let mut command = case.command();
    command.args(["val", "--weights", "in/tiny.safetensors", "--data", "coco128"]);
    command.env("YOLO_DATASETS_DIR", case.path("in/sets"));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let place = case.path("in/sets/coco128/images/train2017");
    assert!(text.contains(place.to_str().unwrap()), "{text}");
}

#[test]
fn missing_keys_are_named_with_what_to_write() {
    refuse("train: images/val\nnames: [a, b, c]\n", &["`val`", "missing", "val: images/val"]);
    refuse("val: images/val\nnames: [a, b, c]\n", &["`train`", "missing", "train: images/train"]);
    refuse("train: images/val\nval: images/val\n", &["`names`", "missing", "0: person"]);
    refuse("train: images/val\nval:\nnames: [a, b, c]\n", &["`val`", "empty", "val: images/val"]);
    refuse("train: t\nvalid: images/val\nnames: [a, b, c]\n", &["`val`", "`valid:` at line 2", "Rename it"]);
    refuse("", &["`names`", "missing or empty"]);
}

#[test]
fn a_split_that_the_yaml_does_not_have_is_named() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --task test")).fails(&["in/data/data.yaml", "`test`", "missing", "images/test"]);
}

#[test]
fn a_wrong_class_count_gives_the_line_and_both_numbers() {
    let yaml = "train: images/val\nval: images/val\nnc: 4\nnames: [red, green, blue]\n";
    refuse(yaml, &["data.yaml:3: ", "`nc` is 4", "3 names", "nc: 3"]);
    let yaml = "train: images/val\nval: images/val\nnames:\n  0: red\n  2: blue\n";
    refuse(yaml, &["data.yaml:", "2 names", "class 2", "without a name: 1"]);
    let yaml = "train: images/val\nval: images/val\nnames:\n  0: red\n  one: blue\n";
    refuse(yaml, &["data.yaml:5: ", "`one`", "class index"]);
}

#[test]
fn a_path_that_does_not_exist_lists_the_places_tried() {
    let case = Case::with_data();
    case.write("in/data/data.yaml", "path: fruit\ntrain: a\nval: images/val\nnames: [a, b, c]\n");
    let by_yaml = case.path("in/data/fruit/images/val");
    let here = case.path("fruit/images/val");
    let parts = ["in/data/data.yaml", "`val: images/val` does not exist", "`path`", "YOLO_DATASETS_DIR"];
    case.run(VAL).fails(&parts).shows(&[by_yaml.to_str().unwrap(), here.to_str().unwrap()]);
}

#[test]
fn what_is_not_yaml_gives_the_line() {
    refuse("train: images/val\nval: {b\nnames: [a, b, c]\n", &["data.yaml:", "not a valid data set YAML"]);
    refuse("- a\n- b\n", &["data.yaml:1: ", "not a valid data set YAML", "lines of `key: value`"]);
    refuse("train: a\nval: b\nnames: person\n", &["data.yaml:3", "names", "list"]);
}

#[test]
fn a_download_command_in_the_yaml_is_never_run() {
    let yaml = "path: gone\ntrain: a\nval: b\nnames: [a, b, c]\ndownload: touch owned\n";
    let case = Case::with_data();
    case.write("in/data/data.yaml", yaml);
    case.run(VAL).fails(&["in/data/data.yaml", "`download`", "never run"]);
    assert!(!case.path("owned").exists());
}

#[test]
fn an_image_folder_without_images_says_what_was_looked_for() {
    let case = Case::with_data();
    case.write("in/data/empty/readme.md", "nothing here");
    case.write("in/data/data.yaml", case.data_yaml().replace("val: images/val", "val: empty"));
    case.run(VAL).fails(&["in/data/empty", "no image", "jpg", "put the images there"]);
}

#[test]
fn a_list_file_names_the_line_of_an_image_that_is_gone() {
    let case = Case::with_data();
    case.write(
        "in/data/val.txt",
        "./images/val/000001.png\n./images/val/gone.png\n./images/val/000002.png\n",
    );
    case.write("in/data/data.yaml", case.data_yaml().replace("val: images/val", "val: val.txt"));
    case.run(VAL).ok().warns(&["val.txt:2: ", "gone.png", "does not exist", "remove it"]);
    let results = case.results();
    assert_eq!((&results["data"]["images"], &results["data"]["instances"]), (&2.into(), &4.into()));
}

#[test]
fn a_model_with_other_classes_is_refused_with_both_files() {
    let case = Case::with_data();
    case.write("in/data/data.yaml", case.data_yaml().replace("blue]", "blue, grey]"));
    case.run(VAL).fails(&["in/tiny.safetensors", "3 classes", "in/data/data.yaml", "4", "belong together"]);
}

#[test]
fn classes_that_are_more_than_the_models_are_refused_before_the_run_folder_is_made() {
    let case = Case::with_data();
    case.write("in/data/data.yaml", case.data_yaml().replace(", blue", ""));
    case.write("in/data/labels/val/000002.txt", "0 0.5 0.5 0.2 0.2\n");
    case.write("in/data/labels/val/000003.txt", "0 0.5 0.5 0.2 0.2\n");
    let outcome = case.run(VAL);
    outcome.fails(&["3 classes", "2"]);
    assert!(!case.path("runs").exists());
}
