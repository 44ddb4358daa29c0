//! The files as PyTorch itself reads them, with classes that do nothing in place of YOLOv5's.
//!
//! Python is looked for in the variable `TORCH_PYTHON`, at `/tmp/venv-torch/bin/python`, and as `python3`; without
//! PyTorch the tests say that they are skipped.

use std::path::Path;
use std::process::Command;

use yolo_model::{Architecture, Checkpoint, Layout, TorchOptions};

use super::{HALF, SINGLE, lossless, random, sparse, with_widths};
use crate::shared;

/// The Python that has PyTorch, or `None` with a message.
pub(super) fn python() -> Option<String> {
    if std::env::var_os("YOLO_SLOW_TESTS").is_none() {
        eprintln!("skipped: YOLO_SLOW_TESTS is not set");
        return None;
    }
    let has_torch = |python: &String| {
        let output = Command::new(python).args(["-c", "import torch"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    if let Ok(chosen) = std::env::var("TORCH_PYTHON") {
        assert!(has_torch(&chosen), "TORCH_PYTHON is {chosen}, which cannot import torch");
        return Some(chosen);
    }
    let found = ["/tmp/venv-torch/bin/python", "python3"].map(str::to_owned).into_iter().find(has_torch);
    if found.is_none() {
        eprintln!("skipped: no Python with PyTorch is here; TORCH_PYTHON names one");
    }
    found
}

/// What PyTorch says about a file.
fn read(python: &str, path: &Path) -> serde_json::Value {
    read_with(python, "load.py", path)
}

/// What a script of this folder says about a file.
pub(super) fn read_with(python: &str, script: &str, path: &Path) -> serde_json::Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model/torch_files").join(script);
    // No compiled modules beside the scripts.
    let output = Command::new(python).arg("-B").arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares names, shapes and every bit of the tensors.
pub(super) fn assert_read(said: &serde_json::Value, network: &Checkpoint) {
    let tensors = said["state_dict"].as_array().unwrap();
    assert_eq!(tensors.len(), network.weights.len());
    for (found, (name, tensor)) in tensors.iter().zip(network.weights.iter()) {
        assert_eq!(
            (found["name"].as_str().unwrap(), &found["shape"]),
            (name, &serde_json::json!(tensor.shape))
        );
        let is_float = tensor.f32s().is_ok();
        assert_eq!(found["float"], is_float, "{name}");
        let exact = match &tensor.values {
            yolo_model::weights::Values::F32(values) => digest(values.iter().map(|value| value.to_bits())),
            yolo_model::weights::Values::I64(values) => digest(values.iter().map(|value| *value as u32)),
        };
        assert_eq!(found["digest"], exact, "{name}");
    }
}

/// The sum of every value's bits times its place, modulo 2³².
fn digest(bits: impl Iterator<Item = u32>) -> u32 {
    (1_u32..).zip(bits).fold(0, |sum, (place, bits)| sum.wrapping_add(place.wrapping_mul(bits)))
}

#[test]
fn whole_networks() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    let mut networks = vec![
        random(Architecture::variant("yolov5n", Some(80)).unwrap()),
        random(Architecture::variant("yolov5s6", Some(2)).unwrap()),
        with_widths([13, 27, 51, 101, 199], 1),
    ];
    if let Some(real) = shared("weights/yolov5n.pt") {
        networks.push(Checkpoint::load(&real).unwrap());
    }
    for network in networks {
        network.save_torch(&path, &lossless(&network)).unwrap();
        let said = read(&python, &path);
        assert_read(&said, &network);
        assert_eq!(said["class"], "models.yolo.Model");
        assert_eq!(said["epoch"], -1);
        assert_eq!(said["layers"], network.architecture.layers.len());
        let names: Vec<String> = serde_json::from_value(said["names"].clone()).unwrap();
        assert_eq!(names, network.class_names);
        let strides: Vec<usize> = serde_json::from_value(said["stride"].clone()).unwrap();
        assert_eq!(strides, network.architecture.head().strides());
        assert_eq!(said["parameters"], network.architecture.n_parameters());
        // Convolutions, batch normalisation, activations and pools by themselves compute.
        assert_eq!(
            said["first_layer"],
            serde_json::json!([1, network.architecture.out_channels()[0], 16, 16])
        );
        assert_eq!(said["weights_only"], false);
    }
}

/// Every module, and what each of them has besides convolutions.
#[test]
fn networks_of_other_modules() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    for name in
        ["zoo", "yolov5s-transformer", "yolov5s-ghost", "yolov3-tiny", "old-v3.1-yolov5s", "old-v1.0-yolov5s"]
    {
        let Some(file) = shared(&format!("reference/yolov5-modules/{name}.pt")) else { return };
        let network = Checkpoint::load(&file).unwrap();
        network.save_torch(&path, &lossless(&network)).unwrap();
        let said = read(&python, &path);
        assert_read(&said, &network);
        assert_eq!(said["parameters"], network.architecture.n_parameters(), "{name}");
    }
}

#[test]
fn fused_networks() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    let fused = random(Architecture::variant("yolov5n", Some(2)).unwrap()).into_fused().unwrap();
    fused.save_torch(&path, &SINGLE).unwrap();
    assert_read(&read(&python, &path), &Checkpoint::load(&path).unwrap());
}

#[test]
fn masked_networks() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    let network = sparse();
    network.save_torch(&path, &TorchOptions { masks: true, ..HALF }).unwrap();
    let said = read(&python, &path);
    let zeros =
        |name: &str| network.weights.f32s(name).unwrap().iter().filter(|value| **value == 0.0).count();
    let expected = serde_json::json!({
        "model.1.conv": zeros("model.1.conv.weight"),
        "model.24.m.1": zeros("model.24.m.1.weight"),
    });
    assert_eq!(said["masked"], expected, "zeros of `weight` after a forward pass and after `prune.remove`");
    assert_eq!(said["state_dict"].as_array().unwrap().len(), 351);
}

#[test]
fn state_dicts() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.pt");
    for (network, options) in [(sparse(), HALF), (with_widths([13, 27, 51, 101, 199], 1), SINGLE)] {
        network.save_state_dict(&path, &options).unwrap();
        let said = read(&python, &path);
        assert_read(&said, &network);
        assert_eq!((&said["class"], &said["weights_only"]), (&"OrderedDict".into(), &true.into()));
    }
}
