//! Files for the package `ultralytics`: layout, sizes, arguments of the training, and what PyTorch finds in them.

use std::path::{Path, PathBuf};

use serde_json::json;
use yolo_model::weights::{PlainValue, read_hyp, read_torch};
use yolo_model::{Architecture, Checkpoint, TorchOptions};

use super::opcodes::assert_documented_for_ultralytics;
use super::pytorch::{assert_read, python, read_with};
use super::{HALF, SINGLE, SIZE, assert_same, lossless, random};
use crate::shared;

const TRAINED: [&str; 4] = ["yolov5n", "yolov8n", "yolo11n", "yolo26n"];

fn original(name: &str) -> Option<PathBuf> {
    shared(&format!("reference/ultralytics/{name}-demo.pt"))
}

/// The options with which a file is written again.
fn options(checkpoint: &Checkpoint, original: &Path) -> TorchOptions {
    TorchOptions { hyp: read_hyp(original).unwrap(), ..lossless(checkpoint) }
}

/// Bytes of the tables that the head computes at the first image and keeps.
fn cached_bytes(path: &Path) -> f64 {
    let root = read_torch(path).unwrap().module.unwrap();
    let (_, head) = root.child("model").unwrap().children.last().unwrap();
    let bytes = |name: &str| match head.attribute(name) {
        Some(PlainValue::Tensor(tensor)) => tensor.element_count() * tensor.element_type.size(),
        _ => 0,
    };
    (bytes("anchors") + bytes("strides")) as f64
}

/// The same bits, bytes of a second writing that are those of the first, and a size close to the reference's.
#[test]
fn trained_files_come_back_and_are_as_large_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    for name in TRAINED {
        let Some(original) = original(name) else { return };
        let [path, again] = ["first.pt", "again.pt"].map(|file| folder.path().join(file));
        let checkpoint = Checkpoint::load(&original).unwrap();
        checkpoint.save_torch(&path, &options(&checkpoint, &original)).unwrap();
        let read = Checkpoint::load(&path).unwrap();
        assert_same(&read, &checkpoint);
        assert_eq!(read_hyp(&path).unwrap(), read_hyp(&original).unwrap());
        read.save_torch(&again, &options(&read, &path)).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(), "{name}");
        assert_documented_for_ultralytics(&path);
        let [ours, theirs] = [&path, &original].map(|path| std::fs::metadata(path).unwrap().len() as f64);
        let difference = ours / (theirs - cached_bytes(&original)) - 1.0;
        println!("{name}: {ours} bytes, {theirs} in the reference's: {:+.2} %", difference * 100.0);
        assert!(difference.abs() < SIZE, "{name}");
    }
}

/// A network that was never trained by the package says what it is for, and nothing that is not known.
#[test]
fn arguments_of_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.pt");
    let network = random(Architecture::variant("yolo26n", Some(3)).unwrap());
    network.save_torch(&path, &HALF).unwrap();
    assert_documented_for_ultralytics(&path);
    assert_eq!(read_hyp(&path).unwrap().unwrap().to_json(), json!({"task": "detect"}));
    let hyp = PlainValue::from(&json!({"imgsz": 320, "lr0": 0.01}));
    network.save_torch(&path, &TorchOptions { hyp: Some(hyp), ..HALF }).unwrap();
    let expected = json!({"task": "detect", "imgsz": 320, "lr0": 0.01});
    assert_eq!(read_hyp(&path).unwrap().unwrap().to_json(), expected);
    let file = read_torch(&path).unwrap();
    assert_eq!((file.epoch, file.date.as_deref()), (Some(-1), None));
    let root = file.module.unwrap();
    assert_eq!(root.attribute("args").unwrap().to_json(), expected);
    assert!(root.attribute("hyp").is_none() && root.attribute("yaml_file").is_none());
    let yaml = root.attribute("yaml").unwrap().to_json();
    assert_eq!(
        (&yaml["yaml_file"], &yaml["scale"], &yaml["reg_max"]),
        (&json!("yolo26n.yaml"), &json!("n"), &json!(1))
    );
    assert_eq!(yaml["scales"]["m"], json!([0.5, 1.0, 512]));
}

/// Every attribute of every object, by a script that knows what the package's code reads.
#[test]
fn pytorch_finds_every_attribute() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    for name in TRAINED {
        let Some(original) = original(name) else { return };
        let dense = Checkpoint::load(&original).unwrap();
        let one2one =
            Checkpoint { architecture: dense.architecture.clone().with_end_to_end(true), ..dense.clone() };
        let mut networks = vec![dense.clone(), half_zero(&dense)];
        if name == "yolo26n" {
            // Without the one-to-many branches, whose places stay.
            networks.push(one2one.into_fused().unwrap().into_checkpoint());
        }
        for network in networks {
            for options in [options(&network, &original), SINGLE] {
                let written = network.save_torch(&path, &options).unwrap();
                // Half precision rounds, and a fused network gets batch normalisation.
                let network = Checkpoint::load(&path).unwrap();
                assert_eq!(written.tensors, network.weights.len());
                let said = read_with(&python, "ultralytics.py", &path);
                assert_read(&said, &network);
                assert_described(&said, &network);
                assert_eq!(said["imgsz"], if options.hyp.is_some() { json!(256) } else { json!(null) });
            }
        }
    }
}

/// The network with its smaller half of every convolution's weights at zero.
fn half_zero(network: &Checkpoint) -> Checkpoint {
    let mut network = network.clone();
    for conv in network.architecture.convs() {
        let values = network.weights.get_mut(&conv.weight()).unwrap().f32s_mut().unwrap();
        let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        let middle = sizes[sizes.len() / 2];
        values.iter_mut().filter(|value| value.abs() < middle).for_each(|value| *value = 0.0);
    }
    network
}

/// Numbers of every convolution, zeros, names and strides.
fn assert_described(said: &serde_json::Value, network: &Checkpoint) {
    for conv in network.architecture.convs() {
        let spec = &conv.spec;
        let expected = json!([
            spec.in_channels,
            spec.out_channels,
            spec.kernel,
            spec.stride,
            spec.padding,
            spec.dilation,
            spec.groups,
            conv.is_bare
        ]);
        let path = conv.weight();
        assert_eq!(said["convs"][path.strip_suffix(".weight").unwrap()], expected, "{path}");
        let zeros = network.weights.f32s(&path).unwrap().iter().filter(|value| **value == 0.0).count();
        assert_eq!(said["zeros"][&path], zeros, "{path}");
    }
    assert_eq!(said["names"], json!(network.class_names));
    assert_eq!(said["stride"], json!(network.architecture.head().strides()));
}
