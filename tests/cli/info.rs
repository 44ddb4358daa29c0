//! `info`.

use yolo_model::weights::FloatFormat;

use crate::support::{Case, NAMES, keys, shared, tiny};

#[test]
fn a_checkpoint_is_shown_layer_by_layer() {
    let case = Case::with_model();
    let outcome = case.run("info --weights in/tiny.safetensors").ok();
    let parts =
        ["Model summary:", "Conv", "C3", "Detect", "3 → 8", "Strides: [8]", "Classes (3): red, green, blue"];
    let outcome = outcome.shows(&parts).shows(&["File: in/tiny.safetensors"]);
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    assert!(outcome.written.is_empty(), "{:?}", outcome.written);
}

#[test]
fn json_is_one_object_alone_on_stdout() {
    let case = Case::with_model();
    let info = case.run("info --weights in/tiny.safetensors --json").ok().json();
    let expected = [
        "anchors",
        "architecture",
        "classes",
        "fused",
        "layers",
        "model",
        "packing",
        "pruning",
        "schema",
        "strides",
    ];
    assert_eq!(keys(&info), expected);
    assert_eq!(info["schema"], 1);
    assert_eq!(info["classes"], serde_json::json!(NAMES));
    assert_eq!(info["fused"], false);
    let model = &info["model"];
    assert_eq!(model["file_bytes"], std::fs::metadata(case.path("in/tiny.safetensors")).unwrap().len());
    let layers = info["layers"].as_array().unwrap();
    let weights: u64 = layers.iter().map(|layer| layer["weights"].as_u64().unwrap()).sum();
    assert_eq!(model["conv_weights"], weights);
    assert_eq!(model["conv_zeros"], 0);
    for layer in layers {
        let shape = layer["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap());
        assert_eq!(layer["weights"], shape.product::<u64>(), "{layer}");
    }
}

#[test]
fn fusing_trades_normalisation_for_biases() {
    let case = Case::with_model();
    let json =
        |flag: &str| case.run(&format!("info --weights in/tiny.safetensors --json {flag}")).ok().json();
    let (stored, fused) = (json(""), json("--fuse"));
    assert_eq!(fused["fused"], true);
    assert_eq!(stored["model"]["conv_weights"], fused["model"]["conv_weights"]);
    assert!(stored["model"]["parameters"].as_u64() > fused["model"]["parameters"].as_u64());
    case.run("info --weights in/tiny.safetensors --fuse").ok().shows(&["Model summary (fused):"]);
}

#[test]
fn half_precision_files_are_read() {
    let case = Case::empty();
    tiny().save(&case.path("in/half.safetensors"), FloatFormat::F16).unwrap();
    case.run("info --weights in/half.safetensors").ok().shows(&["Classes (3)"]);
}

#[test]
fn names_with_control_characters_do_not_reach_the_terminal() {
    let case = Case::empty();
    let mut hostile = tiny();
    hostile.class_names[1] = "gr\u{1b}[2Jeen\nerror: not true".to_owned();
    hostile.save(&case.path("in/hostile.safetensors"), FloatFormat::F32).unwrap();
    let outcome = case.run("info --weights in/hostile.safetensors").ok();
    assert!(!outcome.stdout.contains('\u{1b}'), "{:?}", outcome.stdout);
}

#[test]
fn a_released_name_is_found_in_the_weights_folder_and_in_the_cache() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    for place in ["weights/yolov5n.pt", "cache/yolo-prune/weights/yolov5n.pt"] {
        let case = Case::empty();
        case.write(place, std::fs::read(&weights).unwrap());
        let outcome = case.run("info --weights yolov5n --fuse").ok();
        outcome.shows(&["213 layers, 1867405 parameters", "Strides: [8, 16, 32]", "person, bicycle"]);
    }
}
