//! `coco-eval` on sound files.

use serde_json::{Value, json};

use crate::support::{COCO_KEYS, Case, annotations, coco_figures, keys, shared};

const RUN: &str = "coco-eval --annotations in/gt.json --predictions in/dt.json";

/// Detections that are exactly the annotations.
fn perfect() -> Value {
    let gt = annotations();
    let detection = |a: &Value| json!({"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.5});
    gt["annotations"].as_array().unwrap().iter().map(detection).collect()
}

fn case(gt: &Value, dt: &Value) -> Case {
    let case = Case::empty();
    case.write("in/gt.json", gt.to_string());
    case.write("in/dt.json", dt.to_string());
    case
}

#[test]
fn perfect_detections_have_perfect_figures_in_the_usual_twelve_lines() {
    let outcome = case(&annotations(), &perfect()).run(RUN).ok();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 12, "{}", outcome.stdout);
    assert_eq!(lines[0], " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000");
    assert_eq!(lines[5], " Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000");
    assert_eq!(lines[8], " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000");
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
}

#[test]
fn json_is_the_coco_object_alone_on_stdout() {
    let outcome = case(&annotations(), &perfect()).run(&format!("{RUN} --json")).ok();
    let coco = outcome.json();
    let mut expected = COCO_KEYS.to_vec();
    expected.sort_unstable();
    assert_eq!(keys(&coco), expected);
    assert_eq!(coco["ap"], 1.0);
    assert_eq!(coco["ap_large"], -1.0);
    outcome.shows(&["Average Precision  (AP) @[ IoU=0.50:0.95"]);
}

#[test]
fn a_byte_order_mark_and_other_dialects_of_ids_are_fine() {
    let case = Case::empty();
    let gt = annotations().to_string().replace("\"id\":1,", "\"id\":\"1\",");
    case.write("in/gt.json", format!("\u{feff}{gt}"));
    case.write("in/dt.json", perfect().to_string().replace("\"image_id\":1,", "\"image_id\":1.0,"));
    assert_eq!(case.run(&format!("{RUN} --json")).ok().json()["ap"], 1.0);
}

#[test]
fn an_annotation_with_the_id_zero_counts_and_is_named() {
    let mut gt = annotations();
    gt["annotations"][0]["id"] = json!(0);
    let outcome =
        case(&gt, &perfect()).run(RUN).ok().warns(&["gt.json: annotation id 0 counts here; pycocotools"]);
    assert!(outcome.stdout.lines().next().unwrap().ends_with("= 1.000"), "{}", outcome.stdout);
}

#[test]
fn missing_areas_are_those_of_the_boxes() {
    let mut gt = annotations();
    for annotation in gt["annotations"].as_array_mut().unwrap() {
        annotation.as_object_mut().unwrap().retain(|key, _| key != "area" && key != "iscrowd");
    }
    let outcome = case(&gt, &perfect()).run(&format!("{RUN} --json")).ok();
    assert_eq!(outcome.json()["ap_small"], 1.0);
    outcome.warns(&["in/gt.json", "area"]);
}

#[test]
fn the_figures_are_those_of_pycocotools() {
    let Some(folder) = shared("reference/cocoeval") else { return };
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let reference: Value = serde_json::from_str(&text).unwrap();
        let (gt, dt) = (&reference["ground_truth"], &reference["detections"]);
        let Some(expected) = reference["stats"].as_array().filter(|_| gt.is_object() && dt.is_array()) else {
            continue;
        };
        let outcome = case(gt, dt).run(&format!("{RUN} --json")).ok();
        for ((key, found), expected) in COCO_KEYS.iter().zip(coco_figures(&outcome.json())).zip(expected) {
            let difference = (found - expected.as_f64().unwrap()).abs();
            assert!(difference <= 1e-12, "{}: {key} is {found}, not {expected}", reference["name"]);
        }
        n_files += 1;
    }
    assert!(n_files >= 25, "only {n_files} files could be used");
}

#[test]
fn predictions_of_the_reference_have_the_figures_of_the_reference() {
    let (Some(gt), Some(dt), Some(reference)) = (
        shared("data/coco-tiny/annotations/instances_val2017.json"),
        shared("reference/yolov5n/predictions-coco-tiny-layer-0.3.json"),
        shared("reference/yolov5n/val-coco-tiny.json"),
    ) else {
        return;
    };
    let case = Case::empty();
    let args =
        ["coco-eval", "--annotations", gt.to_str().unwrap(), "--predictions", dt.to_str().unwrap(), "--json"];
    let found = coco_figures(&case.run_args(&args).ok().json());
    let reference: Value = serde_json::from_slice(&std::fs::read(reference).unwrap()).unwrap();
    let runs = reference.as_array().unwrap();
    let run = runs.iter().find(|run| run["prune"] == "layer" && run["amount"] == 0.3).unwrap();
    for (found, expected) in found.iter().zip(run["coco_stats"].as_array().unwrap()) {
        assert!((found - expected.as_f64().unwrap()).abs() < 1e-4, "{found} {expected}");
    }
}
