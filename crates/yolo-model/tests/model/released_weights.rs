//! `yolov5n.pt` against the reference's sums.

use yolo_model::weights::{FloatFormat, HostTensor, Values, read_torch};
use yolo_model::{Architecture, Checkpoint, PruningRecord};

use crate::{json, shared};

fn released() -> Option<Checkpoint> {
    Some(Checkpoint::load(&shared("weights/yolov5n.pt")?).unwrap())
}

fn assert_sums(checkpoint: &Checkpoint, reference: &serde_json::Value) {
    let reference = reference.as_array().unwrap();
    assert_eq!(checkpoint.weights.len(), reference.len());
    for ((name, tensor), expected) in checkpoint.weights.iter().zip(reference) {
        assert_eq!(name, expected["key"].as_str().unwrap());
        let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
        assert_eq!(tensor.shape, shape, "{name}");
        let abs_sum = expected["abs_sum"].as_f64().unwrap();
        let (sum, abs) = sums(tensor);
        let tolerance = 1e-4 * abs_sum;
        assert!((sum - expected["sum"].as_f64().unwrap()).abs() <= tolerance, "{name}: {sum}");
        assert!((abs - abs_sum).abs() <= tolerance, "{name}: {abs}");
    }
}

fn sums(tensor: &HostTensor) -> (f64, f64) {
    match &tensor.values {
        Values::F32(v) => v.iter().fold((0.0, 0.0), |(s, a), &x| (s + f64::from(x), a + f64::from(x.abs()))),
        Values::I64(v) => v.iter().fold((0.0, 0.0), |(s, a), &x| (s + x as f64, a + x.abs() as f64)),
    }
}

#[test]
fn every_tensor_and_every_fused_tensor() {
    let Some(checkpoint) = released() else { return };
    let reference = json("reference/yolov5n/weights.json").unwrap();
    assert_sums(&checkpoint, &reference["state_dict"]);
    assert_sums(&checkpoint.fuse().unwrap(), &reference["fused_state_dict"]);
    let names: Vec<String> = serde_json::from_value(reference["names"].clone()).unwrap();
    assert_eq!(checkpoint.class_names, names);
}

#[test]
fn the_architecture_is_the_one_of_the_yaml() {
    let Some(checkpoint) = released() else { return };
    let n = Architecture::variant("yolov5n", None).unwrap();
    assert_eq!(checkpoint.architecture, n);
    // A bare state dict says the same.
    assert_eq!(Architecture::from_state_dict(&checkpoint.weights, None).unwrap(), n);
    let fused = checkpoint.fuse().unwrap();
    let from_fused = Architecture::from_state_dict(&fused.weights, Some(&[8.0, 16.0, 32.0])).unwrap();
    assert_eq!(from_fused, fused.architecture);
    assert_eq!(fused.fuse().unwrap().weights, fused.weights);
}

#[test]
fn our_files_come_back_bit_for_bit() {
    let Some(checkpoint) = released() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (checkpoint, format) in [
        (checkpoint.clone(), FloatFormat::F16),
        (checkpoint.clone(), FloatFormat::F32),
        (checkpoint.fuse().unwrap().into_checkpoint(), FloatFormat::F32),
    ] {
        let path = folder.path().join("model.safetensors");
        let pruning = PruningRecord::Other(serde_json::json!({"method": "layer", "amount": 0.3}));
        let pruning = Some(pruning);
        let written = Checkpoint { pruning, ..checkpoint };
        written.save(&path, format).unwrap();
        let read = Checkpoint::load(&path).unwrap();
        assert_eq!(read.architecture, written.architecture);
        assert_eq!(read.class_names, written.class_names);
        assert_eq!(read.pruning, written.pruning);
        let names = |c: &Checkpoint| c.weights.names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&read), names(&written));
        assert_eq!(bits(&read), bits(&written));
    }
}

#[test]
fn the_smallest_format_that_loses_nothing() {
    let Some(checkpoint) = released() else { return };
    assert_eq!(FloatFormat::lossless_for(&checkpoint.weights), FloatFormat::F16);
    assert_eq!(FloatFormat::lossless_for(&checkpoint.fuse().unwrap().weights), FloatFormat::F32);
}

fn bits(checkpoint: &Checkpoint) -> Vec<u32> {
    let floats = checkpoint.weights.iter().filter_map(|(_, tensor)| tensor.f32s().ok());
    floats.flatten().map(|value| value.to_bits()).collect()
}

/// The reference's figures are those of the unmasked weights times their masks; the tensors called `weight` in the pickle
/// are of an earlier forward pass.
#[test]
fn masks_of_a_pruning_are_multiplied_in() {
    let Some(path) = shared("reference/yolov5-modules/prune-masks.pt") else { return };
    let reference = json("reference/yolov5-modules/prune-masks.json").unwrap();
    let checkpoint = Checkpoint::load(&path).unwrap();
    let zeros = |name: &str| {
        let bare = format!("{name}.weight");
        checkpoint.weights.f32s(&bare).unwrap().iter().filter(|value| **value == 0.0).count()
    };
    for (name, expected) in reference["zeros"].as_object().unwrap() {
        assert_eq!(zeros(name), expected.as_u64().unwrap() as usize, "{name}");
    }
    let names: Vec<&str> = checkpoint.weights.names().collect();
    let own: Vec<String> = checkpoint.architecture.tensors().into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, own, "in PyTorch's order, without pairs");
    let record = serde_json::to_value(checkpoint.pruning.as_ref().unwrap()).unwrap();
    assert_eq!(record["method"], "torch.nn.utils.prune");
    let masked = read_torch(&path).unwrap().masks;
    assert_eq!((record["pruned"].as_u64(), masked.tensors.len()), (Some(masked.pruned as u64), 18));
    // The state dict says the same.
    let bare = read_torch(shared("reference/yolov5-modules/prune-masks-state-dict.pt").unwrap()).unwrap();
    assert_eq!(bare.masks, masked);
    assert_eq!(bare.state, checkpoint.weights);
}
