//! Networks of every module of YOLOv5 through the commands: saved by the reference, in `../shared`.

use yolo_model::Checkpoint;
use yolo_model::onnx::Outputs;

use crate::onnxruntime::{assert_equal, noise, python};
use crate::support::{Case, runs_slow, shared};

/// A case with the network `in/NAME.pt` and the data set of three classes, and what the reference says of it.
fn case(name: &str) -> Option<(Case, serde_json::Value)> {
    let path = shared(&format!("reference/yolov5-modules/{name}.pt"))?;
    let case = Case::with_data();
    case.write(&format!("in/{name}.pt"), std::fs::read(&path).unwrap());
    let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
    Some((case, serde_json::from_str(&text).unwrap()))
}

#[test]
fn every_command_takes_every_module() {
    // The first has every module.
    let others = if runs_slow() { &["yolov5s-ghost", "old-v1.0-yolov5s"][..] } else { &[] };
    for name in ["zoo"].iter().chain(others) {
        let Some((case, reference)) = case(name) else { return };
        let info = case.run(&format!("info --weights in/{name}.pt --json")).ok().json();
        assert_eq!(info["model"]["parameters"], reference["parameters"], "{name}");
        case.run(&format!("info --weights in/{name}.pt")).ok();

        let data = "--data in/data/data.yaml --imgsz 64 --device cpu";
        case.run(&format!("val --weights in/{name}.pt {data}")).ok().shows(&["all "]);
        case.run(&format!("detect --weights in/{name}.pt --source in/data/images/val --imgsz 64")).ok();

        case.run(&format!("prune --weights in/{name}.pt --amount 0.3 --out sparse.safetensors")).ok();
        case.run(&format!(
            "prune --weights in/{name}.pt --channels 0.1 --round-to 1 --out narrow.safetensors"
        ))
        .ok();
        case.run("pack --weights sparse.safetensors --out packed.safetensors").ok();
        for file in ["sparse", "narrow", "packed"] {
            case.run(&format!("val --weights {file}.safetensors {data}")).ok();
        }

        case.run("export --weights narrow.safetensors --imgsz 64 --raw --out narrow.onnx").ok();
        if let Some(python) = python() {
            let narrow = Checkpoint::load(&case.path("narrow.safetensors")).unwrap();
            let images = noise([1, 3, 64, 64]);
            assert_equal(python, &case.path("narrow.onnx"), &narrow, Outputs::Logits, &images);
        }

        // A pruned network trains on, and its zeros stay.
        let train =
            format!("train --weights sparse.safetensors {data} --epochs 1 --batch-size 4 --workers 1");
        case.run(&train).ok().shows(&["Best weights:"]);
        let before = zeros(&case, "sparse.safetensors");
        assert!(before > 0 && zeros(&case, "runs/train/exp/weights/last.safetensors") >= before, "{name}");
    }
}

fn zeros(case: &Case, file: &str) -> u64 {
    let info = case.run(&format!("info --weights {file} --json")).ok().json();
    info["model"]["conv_zeros"].as_u64().unwrap()
}
