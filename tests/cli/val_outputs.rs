//! The files of `val`, and what it prints for scripts.

use std::collections::BTreeSet;

use crate::support::{COCO_KEYS, Case, IMAGES, VAL, annotations, coco_figures, keys};

#[test]
fn results_have_exactly_the_keys_that_scripts_rely_on() {
    let case = Case::with_annotations();
    case.run(VAL).ok();
    let results = case.results();
    assert_eq!(keys(&results), ["coco", "confusion_matrix", "data", "model", "native", "schema", "speed_ms"]);
    assert_eq!(results["schema"], 1);
    let model = [
        "conv_sparsity",
        "conv_weights",
        "conv_zeros",
        "file_bytes",
        "gflops",
        "gflops_nonzero",
        "layers",
        "parameters",
        "sparsity",
        "weights",
        "zeros",
    ];
    assert_eq!(keys(&results["model"]), model);
    assert_eq!(keys(&results["data"]), ["images", "imgsz", "instances"]);
    let native = ["map", "map50", "per_class", "precision", "precision_at_recall", "recall"];
    assert_eq!(keys(&results["native"]), native);
    let class = ["instances", "map", "map50", "name", "precision", "recall"];
    assert_eq!(results["native"]["per_class"].as_array().unwrap().len(), 3);
    for found in results["native"]["per_class"].as_array().unwrap() {
        assert_eq!(keys(found), class);
    }
    let mut coco = COCO_KEYS.to_vec();
    coco.sort_unstable();
    assert_eq!(keys(&results["coco"]), coco);
    assert_eq!(keys(&results["speed_ms"]), ["inference", "nms", "preprocess", "shape"]);
    assert_eq!(results["data"], serde_json::json!({"images": 4, "instances": 8, "imgsz": 64}));
    assert_eq!(results["speed_ms"]["shape"], serde_json::json!([32, 3, 64, 64]));
}

#[test]
fn coco_is_null_without_annotations() {
    let case = Case::with_data();
    case.run(VAL).ok();
    assert!(case.results()["coco"].is_null());
}

#[test]
fn annotations_may_lie_anywhere() {
    let case = Case::with_data();
    case.write("in/mine.json", annotations().to_string());
    case.run(&format!("{VAL} --annotations in/mine.json")).ok();
    assert!(case.results()["coco"].is_object());
}

#[test]
fn json_is_results_json_alone_on_stdout() {
    let case = Case::with_annotations();
    let outcome = case.run(&format!("{VAL} --json --prune 0.3 --save-txt --save-json --verbose")).ok();
    assert_eq!(outcome.json(), case.results());
    outcome.shows(&["Model summary (fused)", "Class     Images"]);
}

#[test]
fn runs_are_numbered_unless_one_may_be_written_into() {
    let case = Case::with_data();
    assert_eq!(case.run(VAL).ok().written, ["runs/val/exp", "runs/val/exp/results.json"]);
    assert_eq!(case.run(VAL).ok().written, ["runs/val/exp2", "runs/val/exp2/results.json"]);
    assert_eq!(case.run(VAL).ok().written, ["runs/val/exp3", "runs/val/exp3/results.json"]);
    let outcome = case.run(&format!("{VAL} --exist-ok --prune 0.3")).ok();
    assert_eq!(outcome.written, ["runs/val/exp/results.json"]);
    outcome.shows(&["Results saved to runs/val/exp"]);
    let outcome = case.run(&format!("{VAL} --project elsewhere/deep --name mine")).ok();
    assert!(
        outcome.written.contains(&"elsewhere/deep/mine/results.json".to_owned()),
        "{:?}",
        outcome.written
    );
}

#[test]
fn detections_are_written_as_label_files() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --save-txt --max-det 20")).ok();
    case.run(&format!("{VAL} --save-txt --save-conf --max-det 20")).ok();
    for name in IMAGES {
        let columns = |run: &str, n: usize| {
            let text = String::from_utf8(case.read(&format!("runs/val/{run}/labels/{name}.txt"))).unwrap();
            let rows: Vec<Vec<f64>> = text
                .lines()
                .map(|line| line.split(' ').map(|column| column.parse().unwrap()).collect())
                .collect();
            assert_eq!(rows.len(), 20, "{text}");
            for row in &rows {
                assert!(row.len() == n && row[0].fract() == 0.0 && row[0] < 3.0, "{text}");
                assert!(row[1..].iter().all(|value| (0.0..=1.0).contains(value)), "{text}");
            }
            rows
        };
        let (plain, scored) = (columns("exp", 5), columns("exp2", 6));
        assert_eq!(plain.last().map(|row| &row[..]), scored.last().map(|row| &row[..5]));
        let scores: Vec<f64> = scored.iter().map(|row| row[5]).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    }
}

#[test]
fn images_without_detections_have_no_label_file_or_an_empty_one() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --save-txt --conf-thres 1")).ok();
    for name in IMAGES {
        let path = case.path(&format!("runs/val/exp/labels/{name}.txt"));
        assert!(std::fs::read(path).map_or(true, |content| content.is_empty()));
    }
}

#[test]
fn written_predictions_have_the_figures_that_were_printed() {
    let case = Case::with_annotations();
    let outcome = case.run(&format!("{VAL} --save-json")).ok();
    let predictions = "runs/val/exp/tiny_predictions.json";
    let list = case.json(predictions);
    let list = list.as_array().unwrap();
    assert!(!list.is_empty());
    for detection in list {
        assert_eq!(keys(detection), ["bbox", "category_id", "image_id", "score"]);
        assert!((1..=3).contains(&detection["category_id"].as_i64().unwrap()), "{detection}");
        assert!((1..=4).contains(&detection["image_id"].as_i64().unwrap()), "{detection}");
    }
    let args = format!("coco-eval --annotations {} --predictions {predictions}", crate::support::ANNOTATIONS);
    let again = case.run(&args).ok();
    assert!(outcome.stdout.contains(&again.stdout), "{}{}", outcome.stdout, again.stdout);
    let again = case.run(&format!("{args} --json")).ok().json();
    assert_eq!(coco_figures(&again), coco_figures(&case.results()["coco"]));
}

#[test]
fn predictions_of_images_without_a_number_carry_their_name() {
    let case = Case::with_data();
    for name in IMAGES {
        for (folder, extension) in [("images", "png"), ("labels", "txt")] {
            let path = |name: &str| case.path(&format!("in/data/{folder}/val/{name}.{extension}"));
            std::fs::rename(path(name), path(&format!("cat{name}"))).unwrap();
        }
    }
    case.run(&format!("{VAL} --save-json")).ok();
    let list = case.json("runs/val/exp/tiny_predictions.json");
    let found: BTreeSet<&str> =
        list.as_array().unwrap().iter().map(|detection| detection["image_id"].as_str().unwrap()).collect();
    assert_eq!(found.len(), IMAGES.len());
    assert!(found.contains("cat000001"), "{found:?}");
}

#[test]
fn a_project_that_is_a_file_is_refused() {
    let case = Case::with_data();
    case.write("taken", "a file");
    case.run(&format!("{VAL} --project taken")).fails(&["taken", "folder of the run", "--project"]);
    assert_eq!(case.read("taken"), b"a file");
    case.run(&format!("{VAL} --project taken/below")).fails(&[
        "taken/below",
        "folder of the run",
        "--project",
    ]);
}

#[test]
fn a_name_that_is_taken_by_a_file_is_passed_over() {
    let case = Case::with_data();
    case.write("runs/val/exp", "a file");
    case.run(VAL).ok().shows(&["Results saved to runs/val/exp2"]);
    assert_eq!(case.read("runs/val/exp"), b"a file");
}

#[test]
fn a_name_that_is_no_name_of_a_folder_is_refused_with_its_flag() {
    let case = Case::with_data();
    for name in ["", "..", "../up"] {
        let outcome = case.run(&format!("{VAL} --name={name}"));
        assert_ne!(outcome.code, Some(0), "{name:?} wrote {:?}", outcome.written);
        outcome.shows(&["--name"]);
    }
    // YOLOv5 makes the folders between.
    let outcome = case.run(&format!("{VAL} --name=a/b"));
    if outcome.code != Some(0) {
        outcome.fails(&["runs/val/a/b", "--name"]);
    }
}

#[test]
fn detections_of_images_with_the_same_name_do_not_replace_each_other_without_a_word() {
    let case = Case::with_data();
    for folder in ["a", "b"] {
        let image = case.read("in/data/images/val/000001.png");
        case.write(&format!("in/data/images/val/{folder}/000007.png"), image);
    }
    let outcome = case.run(&format!("{VAL} --save-txt")).ok();
    let n_files = outcome.written.iter().filter(|path| path.ends_with(".txt")).count();
    if n_files < IMAGES.len() + 2 {
        outcome.warns(&["000007"]);
    }
}

#[cfg(unix)]
#[test]
fn a_project_without_permission_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::with_data();
    let folder = case.path("locked");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::create_dir(folder.join("probe")).is_ok() {
        eprintln!("skipped: this user may write anywhere");
        return;
    }
    case.run(&format!("{VAL} --project locked")).fails(&["locked/exp", "folder of the run", "--project"]);
}

#[test]
fn nothing_is_left_of_a_run_that_fails_after_its_folder_was_made() {
    let case = Case::with_data();
    case.write(
        "in/mine.json",
        annotations().to_string().replace("000001.png", "x.png").replace("\"id\":1,", "\"id\":71,"),
    );
    let outcome = case.run(&format!("{VAL} --annotations in/mine.json"));
    if outcome.code != Some(0) {
        outcome.fails(&["in/mine.json"]);
    }
}
