//! What `val` computes and shows.

use serde_json::Value;

use crate::support::{Case, VAL, coco_figures, native_figures};

#[test]
fn the_console_shows_what_a_user_of_val_py_expects() {
    let case = Case::with_annotations();
    let outcome = case.run(&format!("{VAL} --prune 0.3")).ok();
    let parts = [
        "Model summary (fused):",
        "Pruned 30% of each convolution",
        "Class     Images  Instances          P          R      mAP50   mAP50-95",
        "Speed: ",
        "per image at shape (32, 3, 64, 64)",
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = ",
        " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = ",
        "Results saved to runs/val/exp",
    ];
    for part in parts {
        assert!(outcome.stdout.contains(part), "{part:?} is not in {}", outcome.stdout);
    }
    let row = |name: &str| outcome.stdout.lines().any(|line| line.trim_start().starts_with(name));
    assert!(["all ", "red ", "green ", "blue "].into_iter().all(row), "{}", outcome.stdout);
    outcome.shows(&["4 images: 4 labelled"]);
}

#[test]
fn the_tiny_model_finds_something_so_that_the_tests_have_something_to_compare() {
    let case = Case::with_annotations();
    let results = case.run(&format!("{VAL} --json")).ok().json();
    assert!(native_figures(&results).iter().all(|figure| *figure > 0.0), "{results}");
    assert!(coco_figures(&results["coco"])[1] > 0.0, "{results}");
}

#[test]
fn the_same_command_gives_the_same_figures_with_and_without_the_cache() {
    let case = Case::with_annotations();
    let run = |flags: &str| {
        let mut results = case.run(&format!("{VAL} --json {flags}")).ok().json();
        results.as_object_mut().unwrap().remove("speed_ms");
        results
    };
    let first = run("");
    for flags in ["", "--no-cache", "--workers 1", "--workers 3"] {
        assert_eq!(run(flags), first, "{flags}");
    }
}

#[test]
fn no_cache_means_that_nothing_is_written_to_it() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --no-cache")).ok();
    assert!(!case.path("cache").exists());
    case.run(VAL).ok();
    assert!(case.path("cache/yolo-prune").is_dir());
}

#[test]
fn a_cache_that_is_damaged_only_costs_time() {
    let case = Case::with_data();
    let first = case.run(&format!("{VAL} --json")).ok().json();
    let mut pending = vec![case.path("cache")];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, [&bytes[..bytes.len() / 2], b"\xff\0{"].concat()).unwrap();
        }
    }
    let second = case.run(&format!("{VAL} --json")).ok().json();
    assert_eq!(first["native"], second["native"]);
}

#[test]
fn the_number_of_images_per_batch_only_changes_padding() {
    let case = Case::with_data();
    let instances = |flags: &str| case.run(&format!("{VAL} --json {flags}")).ok().json()["data"].clone();
    let all = instances("");
    for flags in ["--batch-size 1", "--batch-size 3", "--batch-size 4096"] {
        assert_eq!(instances(flags), all, "{flags}");
    }
}

#[test]
fn an_image_size_that_does_not_fit_the_stride_is_rounded_up_with_a_warning() {
    let case = Case::with_data();
    let outcome = case.run("val --weights in/tiny.safetensors --data in/data/data.yaml --img 60").ok();
    outcome.warns(&["--imgsz 60", "stride 32", "64"]);
    assert_eq!(case.results()["data"]["imgsz"], 64);
}

#[test]
fn thresholds_that_spoil_the_metric_are_warned_of() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --conf 0.25")).ok().warns(&["--conf-thres 0.25", "above 0.001"]);
    case.run(&format!("{VAL} --half")).ok().warns(&["--half", "no effect on --device cpu"]);
}

#[test]
fn a_threshold_that_nothing_passes_gives_zeros() {
    let case = Case::with_annotations();
    let results = case.run(&format!("{VAL} --conf-thres 1 --json")).ok().json();
    assert_eq!(native_figures(&results), [0.0; 4]);
    assert!(coco_figures(&results["coco"]).iter().all(|figure| *figure <= 0.0), "{results}");
    assert_eq!(results["data"]["instances"], 8);
}

#[test]
fn speed_is_measured_on_squares() {
    let case = Case::with_data();
    let outcome = case.run(&format!("{VAL} --task speed --json")).ok();
    let speed = &outcome.json()["speed_ms"];
    assert_eq!(speed["shape"], serde_json::json!([32, 3, 64, 64]));
    assert!(speed["inference"].as_f64().unwrap() > 0.0);
}

#[test]
fn all_classes_can_count_as_one() {
    let case = Case::with_annotations();
    let results = case.run(&format!("{VAL} --single-cls --json")).ok().shows(&["--single-cls"]).json();
    assert!(results["coco"].is_null(), "COCO's figures are per class: {results}");
    let per_class = results["native"]["per_class"].as_array().unwrap();
    assert_eq!(per_class.len(), 1, "{results}");
    assert_eq!((&per_class[0]["name"], &per_class[0]["instances"]), (&"item".into(), &8.into()));
    let dense = case.run(&format!("{VAL} --json")).ok().json();
    assert!(native_figures(&results)[2] > native_figures(&dense)[2], "{results}");
}

#[test]
fn one_class_evaluates_a_model_on_data_with_other_classes() {
    let case = Case::with_data();
    case.write("in/data/data.yaml", case.data_yaml().replace("[red, green, blue]", "[a, b, c, d, e]"));
    let results = case.run(&format!("{VAL} --single-cls --json")).ok().json();
    assert_eq!(results["data"]["instances"], 8);
}

#[test]
fn coco_json_as_a_split_gives_the_same_figures_as_label_files() {
    let case = Case::with_annotations();
    let labels = case.run(&format!("{VAL} --json")).ok().json();
    let yaml = case.data_yaml().replace("val: images/val", "val: annotations/instances_val.json");
    case.write("in/data/data.yaml", format!("{yaml}image_dir: images/val\n"));
    let json = case.run(&format!("{VAL} --json")).ok().json();
    assert_eq!(json["data"], labels["data"]);
    assert_eq!(json["native"], labels["native"]);
    assert_eq!(json["coco"], labels["coco"]);
}

#[test]
fn a_data_set_in_the_training_split_is_measured_as_well() {
    let case = Case::with_data();
    std::fs::create_dir_all(case.path("in/data/images/train")).unwrap();
    std::fs::copy(case.path("in/data/images/val/000001.png"), case.path("in/data/images/train/1.png"))
        .unwrap();
    case.write("in/data/labels/train/1.txt", "0 0.4375 0.4375 0.25 0.25\n");
    case.write("in/data/data.yaml", case.data_yaml().replace("train: images/val", "train: images/train"));
    let results = case.run(&format!("{VAL} --task train --json")).ok().json();
    assert_eq!((&results["data"]["images"], &results["data"]["instances"]), (&1.into(), &1.into()));
}

#[test]
fn per_class_figures_add_up() {
    let case = Case::with_data();
    let results = case.run(&format!("{VAL} --json")).ok().json();
    let per_class = results["native"]["per_class"].as_array().unwrap();
    let sum = |key: &str| per_class.iter().map(|class: &Value| class[key].as_f64().unwrap()).sum::<f64>();
    assert_eq!(sum("instances"), 8.0);
    for key in ["precision", "recall", "map50", "map"] {
        let mean = sum(key) / per_class.len() as f64;
        assert!((mean - results["native"][key].as_f64().unwrap()).abs() < 1e-9, "{key}: {results}");
    }
}
