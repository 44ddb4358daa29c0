//! The Ultralytics family: fresh networks and really trained files against what the reference says of them.

use serde_json::Value;
use yolo_model::architecture::SCALED;
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint, Family, TorchOptions};

use crate::{json, shared};

/// Names of the reference's files, and ours.
const NETWORKS: [(&str, &str); 14] = [
    ("v5nu", "yolov5nu"),
    ("v8n", "yolov8n"),
    ("v8s", "yolov8s"),
    ("v8m", "yolov8m"),
    ("v8n-p2", "yolov8n-p2"),
    ("v8n-p6", "yolov8n-p6"),
    ("11n", "yolo11n"),
    ("11s", "yolo11s"),
    ("11m", "yolo11m"),
    ("11l", "yolo11l"),
    ("11x", "yolo11x"),
    ("26n", "yolo26n"),
    ("26s", "yolo26s"),
    ("26m", "yolo26m"),
];
const TRAINED: [&str; 4] = ["yolov5n", "yolov8n", "yolo11n", "yolo26n"];

fn trained(name: &str) -> Option<Checkpoint> {
    Some(Checkpoint::load(&shared(&format!("reference/ultralytics/{name}-demo.pt"))?).unwrap())
}

/// Names and shapes, in the order of the file.
fn listed(tensors: &Value) -> Vec<(String, Vec<usize>)> {
    let tensors = tensors.as_object().unwrap().iter();
    tensors.map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap())).collect()
}

fn tensors(architecture: &Architecture) -> Vec<(String, Vec<usize>)> {
    architecture.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
}

/// The order of keys is compared where the file keeps it.
fn sorted(mut tensors: Vec<(String, Vec<usize>)>) -> Vec<(String, Vec<usize>)> {
    tensors.sort();
    tensors
}

fn check_summary(name: &str, architecture: &Architecture, reference: &Value) {
    let summary = architecture.summary();
    assert_eq!(summary.parameters as u64, reference["parameters"].as_u64().unwrap(), "{name}");
    assert_eq!(summary.layers as u64, reference["layers"].as_u64().unwrap(), "{name}");
    let expected = reference["gflops_640"].as_f64().unwrap();
    assert!((summary.gflops - expected).abs() < 6e-5, "{name}: {} {expected}", summary.gflops);
}

#[test]
fn tensors_parameters_layers_and_operations_are_the_references() {
    for (file, name) in NETWORKS {
        let Some(reference) = json(&format!("reference/ultralytics/arch/{file}.json")) else { return };
        let network = Architecture::variant(name, None).unwrap();
        assert_eq!(network.family(), Family::Ultralytics);
        assert_eq!(sorted(tensors(&network)), sorted(listed(&reference["state_dict"])), "{name}");
        check_summary(name, &network, &reference["unfused"]);
        let strides: Vec<f64> = serde_json::from_value(reference["strides"].clone()).unwrap();
        assert_eq!(network.head().strides().iter().map(|&s| s as f64).collect::<Vec<_>>(), strides, "{name}");
        for (index, layer) in network.layer_summaries().into_iter().enumerate() {
            let expected = &reference["layers"][index];
            assert_eq!(layer.block, expected["type"].as_str().unwrap(), "{name} {index}");
            assert_eq!(layer.parameters as u64, expected["np"].as_u64().unwrap(), "{name} {index}");
        }
        let forms = [("fused", false), ("fused_one2many", false), ("fused_one2one", true)];
        for (key, end_to_end) in forms.into_iter().filter(|(key, _)| !reference[key].is_null()) {
            let fused = network.clone().with_end_to_end(end_to_end).without_batch_norm();
            check_summary(&format!("{name} {key}"), &fused, &reference[key]);
            let stored = &reference[if end_to_end { "state_dict_fused_one2one" } else { "state_dict_fused" }];
            if !stored.is_null() {
                assert_eq!(sorted(tensors(&fused)), sorted(listed(stored)), "{name} {key}");
            }
        }
    }
}

/// The sizes without a file of their own, by the specification's table (§1.5): layers and parameters, unfused and fused.
#[test]
fn all_sizes_have_the_layers_and_parameters_of_the_table() {
    let table = [
        ("yolov5su", [153, 84], [9_153_152, 9_142_496]),
        ("yolov5mu", [197, 106], [25_111_456, 25_091_536]),
        ("yolov5lu", [241, 128], [53_225_024, 53_193_088]),
        ("yolov5xu", [285, 150], [97_276_448, 97_229_648]),
        ("yolov8l", [209, 112], [43_691_520, 43_668_288]),
        ("yolov8x", [209, 112], [68_229_648, 68_200_608]),
        ("yolov8s-p2", [160, 90], [10_884_336, 10_873_680]),
        ("yolov8m-p2", [208, 114], [25_082_496, 25_064_944]),
        ("yolov8x-p2", [256, 138], [66_637_536, 66_606_544]),
        ("yolov8m-p6", [222, 121], [44_887_488, 44_862_352]),
        ("yolov8x-p6", [274, 147], [97_423_072, 97_382_352]),
        ("yolo26l", [392, 188], [26_299_704, 24_807_420]),
        ("yolo26x", [392, 188], [58_993_368, 55_725_948]),
    ];
    for (name, layers, parameters) in table {
        let network = Architecture::variant(name, None).unwrap();
        let fused = network.clone().without_batch_norm();
        let summaries = [network.summary(), fused.summary()];
        assert_eq!(summaries.each_ref().map(|summary| summary.layers), layers, "{name}");
        assert_eq!(summaries.each_ref().map(|summary| summary.parameters), parameters, "{name}");
    }
    let names: Vec<String> = SCALED.iter().flat_map(|scaled| scaled.names()).collect();
    assert_eq!(names.len(), 35);
    assert!(names.iter().all(|name| Architecture::variant(name, Some(3)).is_ok()));
}

/// The network that a file describes is the one that the yaml of its size builds.
#[test]
fn trained_files_are_the_networks_of_their_yamls() {
    for name in TRAINED {
        let Some(checkpoint) = trained(name) else { return };
        let stock = if name == "yolov5n" { "yolov5nu" } else { name };
        assert_eq!(checkpoint.architecture, Architecture::variant(stock, Some(5)).unwrap(), "{name}");
        assert_eq!(checkpoint.class_names[..2], ["circle", "square"]);
        let fused = checkpoint.fuse().unwrap();
        assert_eq!(fused.weights.len(), fused.architecture.tensors().len());
        // A state dict alone: the graph is recognised by its tensors, in either form.
        let found = Architecture::from_state_dict(&checkpoint.weights, None).unwrap();
        assert_eq!(found, checkpoint.architecture, "{name}");
        assert_eq!(
            Architecture::from_state_dict(&fused.weights, None).unwrap(),
            fused.architecture,
            "{name}"
        );
    }
}

/// Our own files keep them, and the file for PyTorch reads as what was written.
#[test]
fn files_of_both_kinds_keep_everything() {
    let folder = tempfile::tempdir().unwrap();
    for name in TRAINED {
        let Some(checkpoint) = trained(name) else { return };
        let own = folder.path().join(format!("{name}.safetensors"));
        checkpoint.save(&own, FloatFormat::F32).unwrap();
        let pickled = folder.path().join(format!("{name}.pt"));
        let options = TorchOptions { format: FloatFormat::F32, masks: false, hyp: None };
        let summary = checkpoint.save_torch(&pickled, &options).unwrap();
        assert_eq!(summary.tensors, checkpoint.weights.len());
        for path in [&own, &pickled] {
            let read = Checkpoint::load(path).unwrap();
            assert_eq!(read.architecture, checkpoint.architecture, "{}", path.display());
            assert_eq!(read.weights, checkpoint.weights, "{}", path.display());
            assert_eq!(read.class_names, checkpoint.class_names);
        }
    }
}

/// Without the one-to-many branches a file is a network that answers by the others.
#[test]
fn the_branches_that_answer_are_kept() {
    let Some(checkpoint) = trained("yolo26n") else { return };
    let one2one = Checkpoint {
        architecture: checkpoint.architecture.clone().with_end_to_end(true),
        ..checkpoint.clone()
    };
    let fused = [checkpoint.fuse().unwrap(), one2one.fuse().unwrap()];
    let starts =
        |index: usize, prefix: &str| fused[index].weights.names().any(|name| name.starts_with(prefix));
    assert!(starts(0, "model.23.cv2") && !starts(0, "model.23.one2one"));
    assert!(starts(1, "model.23.one2one") && !starts(1, "model.23.cv2"));
    assert_eq!(fused[1].architecture.program().outputs.len(), 3);
    assert_eq!(checkpoint.architecture.program().outputs.len(), 6);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one2one.pt");
    let options = TorchOptions { format: FloatFormat::F16, masks: false, hyp: None };
    fused[1].save_torch(&path, &options).unwrap();
    let read = Checkpoint::load(&path).unwrap();
    assert_eq!(read.architecture.clone().without_batch_norm(), fused[1].architecture);
}
