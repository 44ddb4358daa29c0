//! Every module of YOLOv5 and every release on Burn, against the reference's figures, and in ONNX.

#[path = "../../../yolo-model/tests/model/module_files/networks.rs"]
mod networks;

use burn::tensor::{Device, Tensor, TensorData};
use yolo_model::Checkpoint;
use yolo_model::onnx::{Axes, OnnxOptions, Outputs};
use yolo_model::weights::{FloatFormat, read_safetensors};
use yolo_nn::{Yolo, host_values};

use super::onnxruntime::{Array, assert_equal, noise, python};
use crate::{json, shared};

fn fixture(name: &str) -> Option<(Checkpoint, serde_json::Value, Array)> {
    let path = shared(&format!("reference/yolov5-modules/{name}.pt"))?;
    let reference = json(&format!("reference/yolov5-modules/{name}.json"))?;
    let (inputs, _) = read_safetensors(path.with_file_name(reference["input"].as_str().unwrap())).unwrap();
    let image = inputs.get("x").unwrap();
    let image = Array { shape: image.shape.clone(), values: image.f32s().unwrap().to_vec() };
    Some((Checkpoint::load(&path).unwrap(), reference, image))
}

fn tensor(image: &Array, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(image.values.clone(), image.shape.clone()), device)
}

/// Mean, population deviation, and samples within 1e-4 of the deviation.
fn assert_map(found: &[f32], expected: &serde_json::Value, samples: &str, what: &str) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let count = found.len() as f64;
    let mean = found.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = found.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let (deviation, limit) = (number("std"), 1e-4 * number("std"));
    assert!((mean - number("mean")).abs() <= limit, "{what}: mean {mean}, not {}", number("mean"));
    assert!(
        (variance.sqrt() - deviation).abs() <= limit,
        "{what}: deviation {}, not {deviation}",
        variance.sqrt()
    );
    let samples: Vec<f64> = serde_json::from_value(expected[samples].clone()).unwrap();
    for (at, (&found, expected)) in found.iter().zip(samples).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= limit + 1e-6 * expected.abs(), "{what}: {found} at {at}, not {expected}");
    }
}

#[test]
fn every_layer_of_the_references_networks() {
    let device = Device::flex();
    for name in networks::all() {
        let Some((checkpoint, reference, image)) = fixture(name) else { return };
        let is_first_release = name == "old-v1.0-yolov5s";
        // The convolutions of the first release's head are layers there.
        let is_layer = |layer: &&serde_json::Value| {
            let class = layer["type"].as_str().unwrap();
            layer.get("mean").is_some() && !(is_first_release && class.ends_with("Conv2d"))
        };
        let layers: Vec<&serde_json::Value> =
            reference["layers"].as_array().unwrap().iter().filter(is_layer).collect();
        let fused = checkpoint.fuse().unwrap();
        for (network, what) in [(&checkpoint, "unfused"), (&*fused, "fused")] {
            let network = Yolo::from_checkpoint(network, &device).unwrap();
            let mut seen = 0;
            let maps = network.forward_observed(tensor(&image, &device), |layer, output| {
                let values = host_values(output.clone()).unwrap();
                assert_eq!(serde_json::json!(output.dims()), layers[layer]["shape"], "{name} layer {layer}");
                assert_map(&values, layers[layer], "first", &format!("{name} {what} layer {layer}"));
                seen += 1;
            });
            assert_eq!(seen, layers.len(), "{name}");
            let mut heads: Vec<&serde_json::Value> = reference["heads"].as_array().unwrap().iter().collect();
            if is_first_release {
                heads.reverse();
            }
            for (level, (map, expected)) in maps.into_iter().zip(heads).enumerate() {
                let [_, _, rows, columns] = map.dims();
                let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
                let map = map.reshape([1, shape[1], shape[4], rows, columns]).permute([0, 1, 3, 4, 2]);
                let values = host_values(map).unwrap();
                assert_map(&values, expected, "first32", &format!("{name} {what} head {level}"));
            }
        }
    }
}

/// Every parameter gets a gradient, every batch normalisation new statistics, and a step downhill goes down.
#[test]
fn every_parameter_learns() {
    let device = Device::flex().autodiff();
    for name in ["zoo", "focus-csp-hardswish", "act-elu", "act-gelu", "act-mish", "act-relu6", "yolov3-tiny"]
    {
        let Some((mut checkpoint, _, image)) = fixture(name) else { return };
        let mut losses = Vec::new();
        for _ in 0..3 {
            let network = Yolo::from_checkpoint(&checkpoint, &device).unwrap();
            let maps = network.forward(tensor(&image, &device));
            let loss = maps.into_iter().map(|map| map.square().mean()).reduce(|a, b| a + b).unwrap();
            losses.push(loss.clone().into_scalar::<f32>());
            let gradients = network.gradients(&loss.backward()).unwrap();
            let parameters =
                checkpoint.architecture.tensors().into_iter().filter(|tensor| tensor.is_parameter);
            let mut missing: Vec<String> = parameters.map(|tensor| tensor.name).collect();
            let norm: f64 = gradients
                .iter()
                .flat_map(|(_, values)| values)
                .map(|&g| f64::from(g).powi(2))
                .sum::<f64>()
                .sqrt();
            let step = 0.01 * f64::from(losses[losses.len() - 1]) / norm.max(1e-9);
            for (name, gradient) in gradients {
                missing.retain(|other| *other != name);
                let values = checkpoint.weights.get_mut(&name).unwrap().f32s_mut().unwrap();
                assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
                let along = step / norm.max(1e-9);
                values.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= (along * f64::from(*g)) as f32);
            }
            assert!(missing.is_empty(), "{name}: {missing:?}");
            let statistics = network.running_statistics().unwrap();
            let norms = checkpoint.weights.names().filter(|name| name.ends_with("running_mean")).count();
            assert_eq!(statistics.len(), 2 * norms, "{name}");
        }
        assert!(losses[1] < losses[0] && losses[2] < losses[1], "{name}: {losses:?}");
    }
}

#[test]
fn onnxruntime_computes_the_same() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let precision = FloatFormat::F32;
    // The first has every module; starting Python for each of the others takes a minute.
    let runs_slow = std::env::var_os("YOLO_SLOW_TESTS").is_some();
    for name in networks::all().filter(|name| runs_slow || *name == "zoo") {
        let Some((checkpoint, _, image)) = fixture(name) else { return };
        let size = [image.shape[2], image.shape[3]];
        for (opset, outputs) in [(12, Outputs::Logits), (17, Outputs::Decoded)] {
            let axes = Axes::Fixed { batch: 1, size };
            checkpoint.export_onnx(&path, &OnnxOptions { axes, outputs, opset, precision }).unwrap();
            assert_equal(python, &path, &checkpoint, outputs, &image);
        }
        if name == "zoo" || name == "yolov3-tiny" {
            let options = OnnxOptions { axes: Axes::Dynamic, outputs: Outputs::Logits, opset: 13, precision };
            checkpoint.export_onnx(&path, &options).unwrap();
            assert_equal(python, &path, &checkpoint, Outputs::Logits, &noise([2, 3, 96, 128]));
        }
    }
}
