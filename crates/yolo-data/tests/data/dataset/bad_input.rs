//! Bad files beside good ones: each is named with what to do, and the good ones still count.

use yolo_data::dataset::{ScanOptions, Severity};

use super::Folder;

#[test]
fn bad_images_are_left_out_with_the_reason() {
    let folder = Folder::new();
    folder.png("images/val/small.png", 9, 30);
    folder.write("images/val/empty.jpg", "");
    folder.write("images/val/page.jpg", "<html>");
    folder.write("images/val/anim.png", "GIF89a\x20\0\x20\0\0\0\0");
    let png = std::fs::read(folder.path("images/val/a.png")).unwrap();
    folder.write("images/val/cut.png", &png[..png.len() - 20]);
    folder.write("images/val/raw.dng", [7; 100]);
    let report = folder.opened().report;
    assert_eq!((report.found, report.empty, report.missing, report.corrupt), (1, 1, 1, 6));
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    let expected = [
        ("anim.png", "Gif images are not supported"),
        ("cut.png", "not a readable Png"),
        ("empty.jpg", "0 bytes"),
        ("page.jpg", "not an image"),
        ("raw.dng", "not an image"),
        ("small.png", "9 x 30"),
    ];
    for ((file, reason), problem) in expected.iter().zip(&problems) {
        assert!(problem.contains(file) && problem.contains(reason), "{problem}");
    }
    assert_eq!(problems.len(), expected.len());
}

#[test]
fn the_content_counts_and_not_the_extension() {
    let folder = Folder::new();
    std::fs::copy(folder.path("images/val/a.png"), folder.path("images/val/d.jpg")).unwrap();
    assert_eq!(folder.opened().report.corrupt, 0);
}

#[test]
fn a_bad_row_leaves_its_image_out() {
    let folder = Folder::new();
    folder.write("labels/val/b.txt", "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 640 0.5\n0 0.5 x 0.5 0.5\n");
    let dataset = folder.opened();
    assert_eq!((dataset.items.len(), dataset.report.corrupt), (2, 1));
    let problems: Vec<String> = dataset.report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].contains("b.txt:2: image left out: column 4: 640 is above 1"), "{}", problems[0]);
    assert!(problems[1].contains("b.txt:3: ") && problems[1].contains("`x`"), "{}", problems[1]);

    let error = folder.open(&ScanOptions { strict: true, ..ScanOptions::default() }).unwrap_err().to_string();
    assert!(error.contains("b.txt:2") && error.contains("1 corrupt"), "{error}");
}

#[test]
fn a_label_file_that_cannot_be_read_leaves_its_image_out() {
    let folder = Folder::new();
    folder.write("labels/val/c.txt/inside", "");
    let report = folder.opened().report;
    assert_eq!((report.corrupt, report.missing), (1, 0));
    assert!(report.problems[0].reason.contains("cannot be read"), "{}", report.problems[0]);
}

#[test]
fn a_class_without_a_name_fails_the_whole_data_set() {
    let folder = Folder::new();
    folder.write("labels/val/b.txt", "0 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.5 0.5\n");
    let error = folder.error();
    assert!(error.contains("b.txt:2: class 2, but the data set has 2 class(es)"), "{error}");
    assert!(error.contains("`names`") && error.contains("set.yaml"), "{error}");
}

#[test]
fn missing_listed_images_are_named_with_their_line() {
    let folder = Folder::new();
    folder.write("val.txt", "./images/val/a.png\r\n\r\n.\\images\\val\\b.png\r\n./images/val/gone.png\r\n");
    folder.write("set.yaml", "train: val.txt\nval: val.txt\nnames: [cat, dog]\n");
    let dataset = folder.opened();
    assert_eq!((dataset.items.len(), dataset.report.corrupt), (2, 1));
    let problem = &dataset.report.problems[0];
    assert_eq!((problem.line, problem.severity), (Some(4), Severity::Rejected));
}

#[test]
fn without_any_label_file_the_places_looked_at_are_shown() {
    let folder = Folder::new();
    std::fs::rename(folder.path("labels"), folder.path("annotations_txt")).unwrap();
    let report = folder.opened().report;
    assert_eq!(report.missing, 3);
    let warning = report.problems[0].to_string();
    assert!(warning.contains("labels/val/a.txt") && warning.contains("labels/val/c.txt"), "{warning}");
    assert!(warning.contains("set.yaml: warning") && !warning.contains('\n'), "{warning}");
    let error = folder.opened().check_trainable().unwrap_err().to_string();
    assert!(error.contains("expected label files such as") && error.contains("labels/val/a.txt"), "{error}");
    for name in ["a", "b", "c"] {
        folder.write(&format!("labels/val/{name}.txt"), "\n");
    }
    let error = folder.opened().check_trainable().unwrap_err().to_string();
    assert!(error.contains("labels/val/a.txt and the other label files, which are all empty"), "{error}");
}

#[test]
fn no_usable_image_is_an_error_with_the_first_reasons() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        folder.write(&format!("images/val/{name}.png"), "");
    }
    let error = folder.error();
    assert!(
        error.contains("no usable image") && error.contains("3 corrupt") && error.contains("a.png"),
        "{error}"
    );
}

#[test]
fn a_mistyped_entry_lists_the_places_tried_and_runs_nothing() {
    let folder = Folder::new();
    folder.write(
        "set.yaml",
        "path: coco128\ntrain: images/vall\nval: images/vall\nnames: [a]\ndownload: bash touch pwned\n",
    );
    let error = folder.error();
    assert!(error.contains("set.yaml") && error.contains("images/vall"), "{error}");
    assert!(error.contains("cargo xtask fetch-coco128"), "{error}");
}
