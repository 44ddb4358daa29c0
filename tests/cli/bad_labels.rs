//! Label files with bad rows: the image is left out, the others count.

use crate::support::{Case, IMAGES, OBJECTS, VAL};

const LABEL: &str = "in/data/labels/val/000002.txt";

/// Validates with `row` as second line of one label file. The image has to be left out with a warning that
/// names the line and holds all `parts`; the other images count.
fn leaves_out(row: &str, parts: &[&str]) {
    let case = Case::with_data();
    case.write(LABEL, format!("0 0.5 0.5 0.2 0.2\n{row}\n"));
    let parts = [&["000002.txt:2: ", "image left out"], parts].concat();
    case.run(VAL).ok().warns(&parts);
    assert_counts(&case, IMAGES.len() - 1, OBJECTS * (IMAGES.len() - 1));
}

fn assert_counts(case: &Case, images: usize, instances: usize) {
    let data = &case.results()["data"];
    assert_eq!((&data["images"], &data["instances"]), (&images.into(), &instances.into()));
}

#[test]
fn letters_are_quoted() {
    leaves_out("cat 0.5 0.5 0.2 0.2", &["`cat`", "not a number", "remove the row"]);
    leaves_out("0 0.5 half 0.2 0.2", &["column 3", "`half`", "not a number"]);
}

#[test]
fn values_that_are_not_finite_are_quoted() {
    leaves_out("0 0.5 nan 0.2 0.2", &["column 3", "nan", "not finite", "remove the row"]);
    leaves_out("0 inf 0.5 0.2 0.2", &["column 2", "inf", "not finite"]);
    leaves_out("nan 0.5 0.5 0.2 0.2", &["class nan"]);
}

#[test]
fn values_outside_of_the_image_are_quoted() {
    leaves_out("0 -0.5 0.5 0.2 0.2", &["column 2", "-0.5", "negative", "clip"]);
    leaves_out("0 0.5 0.5 0.2 1.5", &["column 5", "1.5", "above 1", "divide pixels by the image size"]);
    leaves_out("-1 0.5 0.5 0.2 0.2", &["class -1", "negative"]);
}

#[test]
fn a_wrong_number_of_columns_is_given() {
    leaves_out("0 0.5 0.5 0.2", &["4 columns", "class cx cy w h"]);
    leaves_out("0 0.5 0.5 0.2 0.2 0.9", &["6 columns", "confidence"]);
    leaves_out("0,0.5,0.5,0.2,0.2", &["commas", "spaces"]);
}

#[test]
fn a_class_that_the_data_set_does_not_have_fails_with_its_line() {
    let case = Case::with_data();
    case.write(LABEL, "0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n");
    let parts =
        ["000002.txt:2: ", "class 7", "3 class(es)", "0 to 2", "in/data/data.yaml", "correct the label"];
    case.run(VAL).fails(&parts);
}

#[test]
fn a_bad_label_is_reported_from_the_cache_as_well_and_a_corrected_one_counts() {
    let case = Case::with_data();
    let good = case.read(LABEL);
    case.write(LABEL, "0 0.5 0.5 0.2\n");
    for _ in 0..2 {
        case.run(&format!("{VAL} --exist-ok")).ok().warns(&["000002.txt:1: ", "4 columns"]);
        assert_counts(&case, 3, 6);
    }
    case.write(LABEL, good);
    case.run(&format!("{VAL} --exist-ok")).ok();
    assert_counts(&case, 4, 8);
}

#[test]
fn many_problems_are_shown_in_part_and_counted() {
    let case = Case::with_data();
    for name in &IMAGES[1..] {
        case.write(&format!("in/data/labels/val/{name}.txt"), "bad row\n".repeat(50));
    }
    let outcome = case.run(VAL).ok();
    let shown = outcome.stderr.lines().filter(|line| line.contains("image left out")).count();
    assert_eq!(shown, 10, "{}", outcome.stderr);
    outcome.warns(&["more problems"]);
    assert_counts(&case, 1, 2);
}

#[test]
fn background_images_and_repeated_rows_count_as_in_yolov5() {
    let case = Case::with_data();
    case.write(LABEL, "");
    std::fs::remove_file(case.path("in/data/labels/val/000003.txt")).unwrap();
    case.write("in/data/labels/val/000004.txt", "1 .5 .5 .2 .2\n1 .5 .5 .2 .2\n");
    case.run(VAL).ok().warns(&["000004.txt:2: ", "repeated"]);
    assert_counts(&case, 4, 3);
}

#[test]
fn a_data_set_without_any_label_is_measured_with_a_warning() {
    let case = Case::with_data();
    std::fs::remove_dir_all(case.path("in/data/labels")).unwrap();
    case.run(VAL).ok().warns(&["in/data/data.yaml", "label file", "background"]);
    assert_counts(&case, 4, 0);
}

#[test]
fn nothing_left_is_a_failure_that_shows_why() {
    let case = Case::with_data();
    for name in IMAGES {
        case.write(&format!("in/data/labels/val/{name}.txt"), "0 0.5 0.5 0.2\n");
    }
    case.run(VAL).fails(&["no usable image", "000001.txt:1: ", "4 columns"]);
}
