//! `yolov5n.pt` on 80 images of COCO: the reference's figures.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{COCO_KEYS, Case, coco_figures, native_figures, runs_slow, shared};

/// Largest difference from the reference of the dense network, and of a pruned one.
const DENSE: f64 = 0.001;
const PRUNED: f64 = 0.003;

/// Weights, data yaml and the reference's figures.
fn inputs() -> Option<(PathBuf, PathBuf, Value)> {
    let weights = shared("weights/yolov5n.pt")?;
    let data = shared("data/coco-tiny/coco-tiny.yaml")?;
    let reference = std::fs::read(shared("reference/yolov5n/val-coco-tiny.json")?).unwrap();
    Some((weights, data, serde_json::from_slice(&reference).unwrap()))
}

/// The arguments of the reference's runs, and `more`.
fn val_args<'a>(weights: &'a Path, data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let paths = ["val", "--weights", weights.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let fixed = ["--imgsz", "640", "--batch-size", "16", "--conf-thres", "0.001", "--iou-thres", "0.65"];
    [&paths[..], &fixed, &["--json"], more].concat()
}

/// Asserts that every figure lies within `tolerance` of the reference's; all that do not are listed.
fn assert_figures(results: &Value, reference: &Value, method: &str, amount: f64, tolerance: f64) {
    let runs = reference.as_array().unwrap();
    let run = runs.iter().find(|run| run["prune"] == method && run["amount"] == amount).unwrap();
    let coco =
        COCO_KEYS.iter().zip(coco_figures(&results["coco"])).zip(run["coco_stats"].as_array().unwrap());
    let native = ["P", "R", "mAP50", "mAP"].iter().zip(native_figures(results));
    let native = native.zip(["p", "r", "map50", "map"].map(|key| &run["native"][key]));
    let wrong: Vec<String> = coco
        .chain(native)
        .map(|((name, found), expected)| (name, found, expected.as_f64().unwrap()))
        .filter(|(_, found, expected)| (found - expected).abs() > tolerance)
        .map(|(name, found, expected)| format!("{name} is {found:.5}, not {expected:.5}"))
        .collect();
    assert!(wrong.is_empty(), "{method} {amount}: {}", wrong.join("; "));
    // The reference's sparsity is a quotient of single precision; the count behind it is exact.
    let model = &results["model"];
    let parameters = model["parameters"].as_f64().unwrap();
    let zeros = (run["sparsity"].as_f64().unwrap() * parameters).round();
    assert_eq!(model["zeros"].as_f64(), Some(zeros));
    assert_eq!(model["sparsity"].as_f64(), Some(zeros / parameters));
}

fn assert_counts(results: &Value) {
    let model = &results["model"];
    assert_eq!((&model["parameters"], &model["layers"]), (&1_867_405.into(), &213.into()));
    assert_eq!(results["data"]["images"], 80);
}

#[test]
fn the_dense_network_has_the_references_figures() {
    let Some((weights, data, reference)) = inputs() else { return };
    let case = Case::empty();
    let outcome = case.run_args(&val_args(&weights, &data, &["--save-json"])).ok();
    let results = outcome.json();
    assert_counts(&results);
    let annotations = shared("data/coco-tiny/annotations/instances_val2017.json").unwrap();
    let predictions = "runs/val/exp/yolov5n_predictions.json";
    let args =
        ["coco-eval", "--annotations", annotations.to_str().unwrap(), "--predictions", predictions, "--json"];
    assert_eq!(coco_figures(&case.run_args(&args).ok().json()), coco_figures(&results["coco"]));
    assert_figures(&results, &reference, "layer", 0.0, DENSE);
}

#[test]
fn the_tutorials_pruning_has_the_references_figures() {
    let Some((weights, data, reference)) = inputs() else { return };
    let case = Case::empty();
    let outcome = case.run_args(&val_args(&weights, &data, &["--prune", "0.3"])).ok();
    let outcome = outcome.shows(&["Pruned 30% of each convolution", "0.299 global sparsity"]);
    assert_counts(&outcome.json());
    assert_figures(&outcome.json(), &reference, "layer", 0.3, PRUNED);
}

/// Looking three times at every image brings what it brings the reference, on the processor and, slowly, on Burn.
#[test]
fn test_time_augmentation_has_the_references_figures() {
    let Some((weights, data, _)) = inputs() else { return };
    let case = Case::empty();
    let devices: &[&str] = if runs_slow() { &["cpu", "flex"] } else { &["cpu"] };
    for device in devices {
        let args = val_args(&weights, &data, &["--augment", "--device", device]);
        let [_, _, map50, map] = native_figures(&case.run_args(&args).ok().json())[..] else {
            unreachable!()
        };
        assert!((map50 - 0.493).abs() < 0.002 && (map - 0.337).abs() < 0.002, "{device}: {map50} {map}");
    }
}

#[test]
fn global_pruning_has_the_references_figures() {
    let Some((weights, data, reference)) = inputs() else { return };
    let case = Case::empty();
    let outcome =
        case.run_args(&val_args(&weights, &data, &["--prune", "0.3", "--prune-method", "global"])).ok();
    assert_counts(&outcome.json());
    assert_figures(&outcome.json(), &reference, "global", 0.3, PRUNED);
}

/// What an epoch on 80 images has to bring back of the mAP that a prune of half of the weights costs. Ten epochs
/// bring back more (`docs/prune-finetune.md`), and a loop in PyTorch 0.239.
#[test]
fn an_epoch_of_fine_tuning_brings_back_a_third_of_what_was_lost() {
    let Some((weights, data, _)) = inputs().filter(|_| runs_slow()) else { return };
    let case = Case::empty();
    let paths = ["prune-finetune", "--weights", weights.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let more = ["--method", "global", "--iou-thres", "0.65", "--epochs", "1", "--no-distill", "--json"];
    let summary = case.run_args(&[&paths[..], &more].concat()).ok().json();
    let map = |stage: usize| summary["stages"][stage]["native"]["map"].as_f64().unwrap();
    assert!((map(0) - 0.3275).abs() < 0.001 && (map(1) - 0.208).abs() < 0.001, "{} {}", map(0), map(1));
    assert!(map(2) >= 0.245, "{}", map(2));
    let zeros = |stage: usize| summary["stages"][stage]["model"]["conv_zeros"].as_u64();
    assert_eq!((zeros(1), zeros(2)), (Some(930_944), Some(930_944)));
}
