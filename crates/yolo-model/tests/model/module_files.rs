//! Every module of YOLOv5 and every release: networks that the reference saved, against what it says about them.

mod networks;

use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint};

use crate::{json, shared};
use networks::{BUILT, OLD};

fn fixture(name: &str) -> Option<(Checkpoint, serde_json::Value)> {
    let path = shared(&format!("reference/yolov5-modules/{name}.pt"))?;
    Some((Checkpoint::load(&path).unwrap(), json(&format!("reference/yolov5-modules/{name}.json"))?))
}

/// Names and shapes of a state dict of the reference, without what is not learned and not kept.
fn tensors(reference: &serde_json::Value) -> Vec<(String, Vec<usize>)> {
    let listed: Vec<(String, Vec<usize>)> = serde_json::from_value(reference.clone()).unwrap();
    let kept = listed.into_iter().filter(|(name, _)| !name.ends_with(".anchor_grid"));
    // A mask comes behind the parameters without one.
    kept.filter(|(name, _)| !name.ends_with("_mask")).collect()
}

fn own_tensors(architecture: &Architecture) -> Vec<(String, Vec<usize>)> {
    architecture.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
}

#[test]
fn tensors_parameters_layers_and_operations_are_the_references() {
    for name in networks::all() {
        let Some((checkpoint, reference)) = fixture(name) else { return };
        let whole = |key: &str| reference[key].as_u64().unwrap() as usize;
        let is_first_release = name == "old-v1.0-yolov5s";
        let fused = Architecture { fused: true, ..checkpoint.architecture.clone() };
        assert!(!checkpoint.architecture.fused, "{name}");
        for (architecture, suffix, kind) in
            [(&checkpoint.architecture, "", "unfused"), (&fused, "_fused", "fused")]
        {
            if !is_first_release && name != "prune-masks" {
                let expected = tensors(&reference[format!("state_dict{suffix}")]);
                assert_eq!(own_tensors(architecture), expected, "{name} {kind}");
            }
            let summary = architecture.summary();
            assert_eq!(summary.parameters, whole(&format!("parameters{suffix}")), "{name} {kind}");
            // The first release has no list around the convolutions of its head.
            let layers = whole(&format!("modules_all{suffix}")) + usize::from(is_first_release);
            assert_eq!(summary.layers, layers, "{name} {kind}");
            let expected = reference["gflops_thop"][kind].as_f64().unwrap();
            assert!((summary.gflops - expected).abs() < 1e-9, "{name} {kind}: {} {expected}", summary.gflops);
        }
        let strides: Vec<f64> = serde_json::from_value(reference["strides"].clone()).unwrap();
        let mut strides: Vec<usize> = strides.into_iter().map(|stride| stride as usize).collect();
        strides.sort_unstable();
        assert_eq!(checkpoint.architecture.head().strides(), strides, "{name}");
        check_layers(name, &checkpoint, &reference);
    }
}

/// Parameters of every layer, and its shape for the input of the reference.
fn check_layers(name: &str, checkpoint: &Checkpoint, reference: &serde_json::Value) {
    let layers = reference["layers"].as_array().unwrap();
    // The first release's convolutions belong to the head here.
    let is_own = |layer: &&serde_json::Value| layer["type"] != "torch.nn.modules.conv.Conv2d";
    let layers: Vec<&serde_json::Value> = layers.iter().filter(is_own).collect();
    let summaries = checkpoint.architecture.layer_summaries();
    assert_eq!(summaries.len(), layers.len(), "{name}");
    let input = reference["input"].as_str().unwrap().trim_end_matches(".safetensors");
    let sides: Vec<usize> = input.split(['-', 'x']).filter_map(|side| side.parse().ok()).collect();
    let size = [sides[sides.len() - 2], sides[sides.len() - 1]];
    let sizes = checkpoint.architecture.output_sizes(size);
    for ((summary, layer), size) in summaries.iter().zip(&layers).zip(&sizes) {
        let class = layer["type"].as_str().unwrap().rsplit('.').next().unwrap();
        assert_eq!(summary.block, class, "{name} {}", summary.index);
        if class == "Detect" {
            continue;
        }
        assert_eq!(summary.parameters as u64, layer["np"].as_u64().unwrap(), "{name} {}", summary.index);
        let shape = [1, summary.channels.1, size[0], size[1]];
        assert_eq!(serde_json::json!(shape), layer["shape"], "{name} {}", summary.index);
    }
}

#[test]
fn yamls_describe_the_networks_that_were_built_of_them() {
    for name in BUILT {
        let Some((checkpoint, _)) = fixture(name) else { return };
        let yaml = std::fs::read_to_string(shared(&format!("reference/yolov5-modules/{name}.yaml")).unwrap());
        let from_yaml = Architecture::from_yaml(&yaml.unwrap(), None).unwrap();
        let from_file = Architecture { activations: None, ..checkpoint.architecture };
        // Hardswish came with a process-wide default that no yaml of then mentions.
        if name == "focus-csp-hardswish" && from_yaml != from_file {
            assert_eq!(own_tensors(&from_yaml), own_tensors(&from_file));
            continue;
        }
        assert_eq!(from_yaml, from_file, "{name}");
        let explicit = Architecture::from_yaml(&from_yaml.to_yaml().unwrap(), None).unwrap();
        assert_eq!(explicit, from_yaml, "{name}");
    }
}

/// Their yamls do not say which activations they had.
#[test]
fn yamls_of_older_releases_have_the_tensors_of_their_networks() {
    for name in OLD {
        let Some((checkpoint, _)) = fixture(name) else { return };
        let yaml = std::fs::read_to_string(shared(&format!("reference/yolov5-modules/{name}.yaml")).unwrap());
        let from_yaml = Architecture::from_yaml(&yaml.unwrap(), None).unwrap();
        assert_eq!(own_tensors(&from_yaml), own_tensors(&checkpoint.architecture), "{name}");
        assert_eq!(from_yaml.head(), checkpoint.architecture.head(), "{name}");
    }
}

#[test]
fn our_own_files_keep_every_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for name in networks::all() {
        let Some((checkpoint, _)) = fixture(name) else { return };
        checkpoint.save(&path, FloatFormat::F32).unwrap();
        let read = Checkpoint::load(&path).unwrap();
        assert_eq!(read.architecture, checkpoint.architecture, "{name}");
        assert_eq!(read.weights, checkpoint.weights, "{name}");
        // And in its fused form.
        checkpoint.fuse().unwrap().save(&path, FloatFormat::F32).unwrap();
        assert!(Checkpoint::load(&path).unwrap().architecture.fused, "{name}");
    }
}

/// The convolutions of the first release's head lie in the network, coarsest level first.
#[test]
fn the_head_of_the_first_release_becomes_that_of_the_second() {
    let Some((first, reference)) = fixture("old-v1.0-yolov5s") else { return };
    let Some((second, _)) = fixture("old-v2.0-yolov5s") else { return };
    assert_eq!(own_tensors(&first.architecture), own_tensors(&second.architecture));
    assert_eq!(first.architecture.head(), second.architecture.head());
    let head = first.architecture.layers.len() - 1;
    assert_eq!(head, 24);
    // The first names its last source by its distance.
    let sources = |from: &[i64]| -> Vec<i64> {
        from.iter().map(|&from| if from < 0 { head as i64 + from } else { from }).collect()
    };
    let [first, second] = [&first, &second].map(|network| sources(&network.architecture.layers[head].from));
    assert_eq!(first, second);
    assert_eq!(reference["layers"].as_array().unwrap().len(), 28);
}

#[test]
fn files_without_an_archive_hold_the_same() {
    let Some((archive, _)) = fixture("act-leakyrelu") else { return };
    let path = shared("reference/yolov5-modules/act-leakyrelu-legacy.pt").unwrap();
    let legacy = Checkpoint::load(&path).unwrap();
    assert_eq!(legacy.architecture, archive.architecture);
    assert_eq!(legacy.weights, archive.weights);
    assert_eq!(legacy.class_names, archive.class_names);
    // Cut off anywhere, it says so.
    let whole = std::fs::read(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pt");
    for length in [20, 1000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let error = Checkpoint::load(&cut).unwrap_err().to_string();
        assert!(error.contains("cut.pt") && error.lines().count() == 1, "{length}: {error}");
    }
}

/// Two real networks: release 7 with a buffer of release 5, and release 5.
#[test]
fn real_files_of_two_ages() {
    for (file, parameters, layers) in [("yolov5s", 7_235_389, 270), ("yolov5s-focus", 7_276_605, 283)] {
        let Some(path) = shared(&format!("weights/{file}.pt")) else { return };
        let checkpoint = Checkpoint::load(&path).unwrap();
        let summary = checkpoint.architecture.summary();
        assert_eq!((summary.parameters, summary.layers), (parameters, layers), "{file}");
        assert_eq!(checkpoint.class_names.len(), 80);
    }
}
