//! A COCO instances file as an entry of the data set YAML.

use super::Folder;

const ANNOTATIONS: &str = r#"{
"images": [{"id": 2, "file_name": "b.png", "width": 20, "height": 30}, {"id": 1, "file_name": "a.png", "width": 20, "height": 30},
           {"id": 3, "file_name": "gone.png", "width": 20, "height": 30}],
"categories": [{"id": 0, "name": "animals"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "cat"}],
"annotations": [
  {"id": 1, "image_id": 1, "category_id": 7, "bbox": [5, 15, 10, 30], "iscrowd": 0, "segmentation": []},
  {"id": 2, "image_id": 1, "category_id": 9, "bbox": [0, 0, 4, 3], "iscrowd": 0},
  {"id": 3, "image_id": 1, "category_id": 9, "bbox": [0, 0, 4, 3], "iscrowd": 1},
  {"id": 4, "image_id": 1, "category_id": 9, "bbox": [25, 0, 4, 3], "iscrowd": 0}
]}"#;

fn folder(yaml: &str) -> Folder {
    let folder = Folder::new();
    folder.write("annotations/instances_val.json", ANNOTATIONS);
    let entries = "train: annotations/instances_val.json\nval: annotations/instances_val.json\n";
    folder.write("set.yaml", format!("{entries}{yaml}"));
    folder
}

#[test]
fn boxes_come_from_the_annotations_and_classes_from_the_names() {
    let folder = folder("names: [cat, dog]\n");
    let dataset = folder.opened();
    let report = &dataset.report;
    assert_eq!((report.found, report.empty, report.missing, report.corrupt), (1, 1, 0, 1));
    assert_eq!(dataset.items[0].image, folder.path("images/val/a.png"));
    let labels = &dataset.items[0].labels;
    assert_eq!((labels.len(), labels[0].class, labels[1].class), (2, 1, 0));
    let bbox = labels[0].bbox_norm;
    assert_eq!((bbox.cx, bbox.cy, bbox.w, bbox.h), (0.5, 0.75, 0.5, 0.5));
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(problems.iter().any(|p| p.contains("`gone.png`") && p.contains("image_dir")), "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("outside of their image")), "{problems:?}");
    assert_eq!(dataset.coco_annotations, Some(folder.path("annotations/instances_val.json")));
}

#[test]
fn images_may_lie_in_a_named_folder() {
    let folder = folder("names: [cat, dog]\nimage_dir: elsewhere\n");
    std::fs::rename(folder.path("images"), folder.path("elsewhere")).unwrap();
    std::fs::rename(folder.path("elsewhere/val"), folder.path("elsewhere2")).unwrap();
    std::fs::remove_dir(folder.path("elsewhere")).unwrap();
    std::fs::rename(folder.path("elsewhere2"), folder.path("elsewhere")).unwrap();
    assert_eq!(folder.opened().items.len(), 2);
}

#[test]
fn a_category_without_a_name_is_an_error() {
    let error = folder("names: [cat]\n").error();
    assert!(error.contains("`dog` (id 7)") && error.contains("instances_val.json"), "{error}");
}

#[test]
fn names_start_from_the_root_and_may_have_another_case_or_extension() {
    let folder = folder("names: [Cat, DOG]\n");
    let plain = folder.opened().items;
    for (a, b) in [
        ("images/val/a.png", "images/val/b.png"),
        ("images\\\\val\\\\a.png", "D:\\\\x\\\\b.png"),
        ("A.PNG", "b.jpg"),
    ] {
        let text =
            ANNOTATIONS.replace("\"a.png\"", &format!("\"{a}\"")).replace("\"b.png\"", &format!("\"{b}\""));
        folder.write("annotations/instances_val.json", text);
        assert_eq!(folder.opened().items, plain, "{a}");
    }
}

#[test]
fn one_file_under_two_ids_is_pointed_out() {
    let folder = folder("names: [cat, dog]\n");
    folder.write("annotations/instances_val.json", ANNOTATIONS.replace("gone.png", "a.png"));
    let problems: Vec<String> = folder.opened().report.problems.iter().map(ToString::to_string).collect();
    let found = problems.iter().any(|p| p.contains("a.png with the ids 1 and 3"));
    assert!(found, "{problems:?}");
}

#[test]
fn crowds_alone_are_nothing_to_train_on() {
    let folder = folder("names: [cat, dog]\n");
    folder.write("annotations/instances_val.json", ANNOTATIONS.replace("\"iscrowd\": 0", "\"iscrowd\": 1"));
    let dataset = folder.opened();
    assert_eq!(dataset.report.crowds, Some(4));
    let error = dataset.check_trainable().unwrap_err().to_string();
    assert!(error.contains("no labels found in") && error.contains("4 are crowds and left out"), "{error}");
}

#[test]
fn an_image_of_another_size_is_pointed_out() {
    let folder = folder("names: [cat, dog]\n");
    folder.png("images/val/a.png", 30, 20);
    let dataset = folder.opened();
    let problem = dataset.report.problems.iter().find(|p| p.reason.contains("but 20 x 30")).unwrap();
    assert!(problem.to_string().contains("a.png: warning: the image is 30 x 20"), "{problem}");
    assert_eq!((dataset.items[0].width, dataset.items[0].height), (30, 20));
}

#[test]
fn json_and_folders_do_not_mix() {
    let folder = folder("names: [cat, dog]\n");
    folder.write(
        "set.yaml",
        "train: images/val\nval: [images/val, annotations/instances_val.json]\nnames: [a]\n",
    );
    assert!(folder.error().contains("mixes"), "{}", folder.error());
}
