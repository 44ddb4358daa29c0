//! Files for YOLOv5 and `ultralytics`: what is in them, and that they come back as they were.

mod opcodes;
mod pytorch;
mod ultralytics;

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_model::architecture::{VARIANTS, YamlFit};
use yolo_model::weights::{FloatFormat, HostTensor, PlainValue, Values, read_hyp, read_torch};
use yolo_model::{Architecture, Checkpoint, ModelError, TorchOptions, Widths};

use crate::shared;

/// How much our files may differ in size from the reference's: its own versions of PyTorch differ by more.
const SIZE: f64 = 0.03;

const HALF: TorchOptions = TorchOptions { format: FloatFormat::F16, masks: false, hyp: None };
const SINGLE: TorchOptions = TorchOptions { format: FloatFormat::F32, ..HALF };

fn lossless(checkpoint: &Checkpoint) -> TorchOptions {
    TorchOptions { format: FloatFormat::lossless_for(&checkpoint.weights), ..HALF }
}

/// A network with random weights that half precision holds.
fn random(architecture: Architecture) -> Checkpoint {
    let mut checkpoint = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(7)).unwrap();
    for (_, tensor) in checkpoint.weights.iter_mut() {
        let is_conv = tensor.shape.len() == 4;
        if let Values::F32(values) = &mut tensor.values {
            // Those of a convolution are not 0.
            let rounded = |value: f32| match half::f16::from_f32(value).to_f32() {
                0.0 if is_conv || value != 0.0 => 1.0 / 1024.0,
                half => half,
            };
            values.iter_mut().for_each(|value| *value = rounded(*value));
        }
    }
    checkpoint
}

fn assert_same(read: &Checkpoint, written: &Checkpoint) {
    // A file may share one activation between all convolutions; ours has one for each.
    let unshared = |network: &Checkpoint| Architecture { activations: None, ..network.architecture.clone() };
    assert_eq!(unshared(read), unshared(written));
    assert_eq!(read.class_names, written.class_names);
    assert_same_tensors(read, written);
}

/// Names, order, shapes and every bit.
fn assert_same_tensors(read: &Checkpoint, written: &Checkpoint) {
    assert_eq!(read.weights.len(), written.weights.len());
    for ((name, read), (expected, written)) in read.weights.iter().zip(written.weights.iter()) {
        assert_eq!((name, &read.shape), (expected, &written.shape));
        assert_eq!(bits(read), bits(written), "{name}");
    }
}

fn bits(tensor: &HostTensor) -> Vec<u64> {
    match &tensor.values {
        Values::F32(values) => values.iter().map(|value| u64::from(value.to_bits())).collect(),
        Values::I64(values) => values.iter().map(|value| *value as u64).collect(),
    }
}

/// Writes `checkpoint`, reads it back and compares; the bytes are those of a second writing, and use only what YOLOv5's
/// own files use.
fn assert_round_trip(checkpoint: &Checkpoint, folder: &Path) -> PathBuf {
    let (path, again) = (folder.join("network.pt"), folder.join("again.pt"));
    let summary = checkpoint.save_torch(&path, &lossless(checkpoint)).unwrap();
    assert_eq!(summary.tensors, checkpoint.weights.len());
    let read = Checkpoint::load(&path).unwrap();
    assert_same(&read, checkpoint);
    assert_eq!(read.pruning, checkpoint.pruning);
    read.save_torch(&again, &lossless(&read)).unwrap();
    assert!(
        std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(),
        "other bytes in a second writing"
    );
    opcodes::assert_documented(&path);
    path
}

#[test]
fn real_networks_come_back_bit_for_bit_and_as_large_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["yolov5n", "yolov5s", "crops-yolov5n"] {
        let Some(original) = shared(&format!("weights/{name}.pt")) else { return };
        let checkpoint = Checkpoint::load(&original).unwrap();
        let path = assert_round_trip(&checkpoint, folder.path());
        let [ours, theirs] = [&path, &original].map(|path| std::fs::metadata(path).unwrap().len() as f64);
        let theirs = theirs - cached_bytes(&original);
        println!(
            "{name}: {ours} bytes, {theirs} in the reference's: {:+.2} %",
            (ours / theirs - 1.0) * 100.0
        );
        assert!((ours / theirs - 1.0).abs() < SIZE, "{name}");
        let stock = if name == "yolov5s" { "yolov5s" } else { "yolov5n" };
        let (_, fit) = checkpoint.architecture.to_model_config().unwrap();
        assert_eq!(fit, YamlFit::Stock(stock.to_owned()));
    }
}

/// Bytes of the tables that the reference computes at the first image and pickles with the head, if it has seen one.
fn cached_bytes(path: &Path) -> f64 {
    let root = read_torch(path).unwrap().module.unwrap();
    let (_, head) = root.child("model").unwrap().children.last().unwrap();
    let tables = ["grid", "anchor_grid"].into_iter().filter_map(|name| head.attribute(name)?.as_slice());
    let bytes = |table: &PlainValue| match table {
        PlainValue::Tensor(tensor) => tensor.element_count() * tensor.element_type.size(),
        _ => 0,
    };
    tables.flatten().map(bytes).sum::<usize>() as f64
}

/// Every fixture whose modules are known here.
#[test]
fn fixtures_come_back_bit_for_bit() {
    let Some(folder) = shared("reference/yolov5-modules") else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pt"));
    files.sort();
    let out = tempfile::tempdir().unwrap();
    let mut written = 0;
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(checkpoint) = Checkpoint::load(&file) else {
            println!("{name}: not read");
            continue;
        };
        if let Err(error) = checkpoint.save_torch(&out.path().join("x.pt"), &lossless(&checkpoint)) {
            let reason = error.to_string();
            assert!(reason.contains("cannot be written for YOLOv5"), "{name}: {reason}");
            println!("{name}: {reason}");
            continue;
        }
        let path = assert_round_trip(&checkpoint, out.path());
        let [ours, theirs] = [&path, &file].map(|path| std::fs::metadata(path).unwrap().len() as f64);
        let (_, fit) = checkpoint.architecture.to_model_config().unwrap();
        println!("{name}: {ours} / {theirs}: {:+.2} %, yaml {fit:?}", (ours / theirs - 1.0) * 100.0);
        written += 1;
    }
    println!("{written} files");
    assert!(written >= 30, "{written} files");
}

#[test]
fn all_ten_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let slow = std::env::var_os("YOLO_SLOW_TESTS").is_some();
    for (name, _) in VARIANTS {
        if !slow && !matches!(*name, "yolov5n" | "yolov5n6") {
            eprintln!("skipped: {name}, as YOLO_SLOW_TESTS is not set");
            continue;
        }
        let checkpoint = random(Architecture::variant(name, Some(3)).unwrap());
        let path = assert_round_trip(&checkpoint, folder.path());
        let file = read_torch(&path).unwrap();
        let (yaml, expected) = (file.config.unwrap(), Architecture::variant(name, Some(3)).unwrap());
        let multiples =
            ["depth_multiple", "width_multiple"].map(|key| yaml.get(key).unwrap().as_float().unwrap());
        let stock = yolo_model::architecture::variant_yaml(name).unwrap();
        assert!(stock.contains(&format!("width_multiple: {}", multiples[1])), "{name}: {multiples:?}");
        assert_eq!(yaml.get("nc").and_then(PlainValue::as_int), Some(3));
        assert_eq!(checkpoint.architecture, expected);
        assert_eq!(file.strides.unwrap().len(), expected.head().strides().len());
    }
}

/// What stands at a network and its layers beside tensors.
#[test]
fn attributes_are_those_of_yolov5() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.pt");
    let mut checkpoint = random(Architecture::variant("yolov5n", Some(2)).unwrap());
    checkpoint.class_names = vec!["Löwe".into(), "two words".into()];
    let hyp = PlainValue::Dict(vec![("lr0".into(), 0.01.into()), ("anchors".into(), PlainValue::None)]);
    checkpoint.save_torch(&path, &TorchOptions { hyp: Some(hyp.clone()), ..HALF }).unwrap();
    assert_eq!(read_hyp(&path).unwrap(), Some(hyp));
    let file = read_torch(&path).unwrap();
    assert_eq!((file.epoch, file.num_classes), (Some(-1), Some(2)));
    assert_eq!(file.class_names.unwrap(), checkpoint.class_names);
    let root = file.module.unwrap();
    assert_eq!(root.class, "models.yolo.Model");
    let json = |path: &str, name: &str| root.descendant(path).unwrap().attribute(name).unwrap().to_json();
    assert_eq!(json("", "save"), serde_json::json!([4, 6, 10, 14, 17, 20, 23]));
    assert_eq!(json("", "names"), serde_json::json!({"0": "Löwe", "1": "two words"}));
    assert_eq!(json("", "yaml_file"), "yolov5n.yaml");
    assert_eq!(
        [json("model.0", "f"), json("model.12", "f")],
        [serde_json::json!(-1), serde_json::json!([-1, 6])]
    );
    assert_eq!(json("model.24", "f"), serde_json::json!([17, 20, 23]));
    assert_eq!([json("model.2", "np"), json("model.11", "np")], [4800, 0]);
    assert_eq!(json("model.11", "type"), "torch.nn.modules.upsampling.Upsample");
    assert_eq!([json("model.24", "no"), json("model.24", "nl"), json("model.24", "na")], [7, 3, 3]);
    assert_eq!(json("model.24", "grid"), serde_json::json!(["tensor[0]", "tensor[0]", "tensor[0]"]));
    let bn = root.descendant("model.0.bn").unwrap();
    assert_eq!(bn.buffers["num_batches_tracked"].shape, [0_usize; 0]);
    assert_eq!(bn.attribute("eps").and_then(PlainValue::as_float), Some(1e-3));
    let yaml = json("", "yaml");
    assert_eq!(yaml["backbone"][0], serde_json::json!([-1, 1, "Conv", [64, 6, 2, 2]]));
    assert_eq!(yaml["head"][1], serde_json::json!([-1, 1, "nn.Upsample", ["None", 2, "nearest"]]));
    assert_eq!((&yaml["anchors"][0], &yaml["ch"]), (&serde_json::json!([10, 13, 16, 30, 33, 23]), &3.into()));
}

/// yolov5n's layers with these widths in place of 64, 128, 256, 512 and 1024, rounded up to multiples of `multiple`.
fn with_widths(widths: [usize; 5], multiple: usize) -> Checkpoint {
    let mut yaml = yolo_model::architecture::variant_yaml("yolov5n").unwrap().to_owned();
    for (stock, width) in [64, 128, 256, 512, 1024].into_iter().zip(widths) {
        yaml = yaml
            .replace(&format!("[{stock},"), &format!("[{width},"))
            .replace(&format!("[{stock}]"), &format!("[{width}]"));
    }
    let scale = format!("width_multiple: 1.0\nchannel_multiple: {multiple}");
    random(Architecture::from_yaml(&yaml.replace("width_multiple: 0.25", &scale), Some(2)).unwrap())
}

#[test]
fn networks_with_fewer_channels() {
    let folder = tempfile::tempdir().unwrap();
    let odd = with_widths([13, 27, 51, 101, 199], 1);
    let even = with_widths([16, 24, 56, 104, 200], 8);
    let mut uneven = odd.architecture.clone();
    let narrow =
        Widths::from([("model.2.m.0.cv1".to_owned(), [13, 7]), ("model.2.m.0.cv2".to_owned(), [7, 13])]);
    uneven = uneven.resized(&narrow);
    uneven.validate().unwrap();
    let cases = [(&odd, YamlFit::Unrounded), (&even, YamlFit::Exact), (&random(uneven), YamlFit::Other)];
    for (network, expected) in cases {
        let path = assert_round_trip(network, folder.path());
        let summary = network.save_torch(&folder.path().join("summary.pt"), &HALF).unwrap();
        assert_eq!(summary.yaml.as_ref(), Some(&expected));
        let yaml = read_torch(&path).unwrap().config.unwrap();
        let multiple = yaml.get("channel_multiple").and_then(PlainValue::as_int);
        assert_eq!(multiple, (expected != YamlFit::Exact).then_some(1));
        assert_eq!(yaml.get("width_multiple").and_then(PlainValue::as_float), Some(1.0));
        // What a training from the file would build.
        let text = serde_json::to_string(&yaml.to_json()).unwrap();
        let rebuilt = Architecture::from_yaml(&text, None).unwrap();
        assert_eq!(rebuilt == network.architecture, expected != YamlFit::Other);
    }
}

#[test]
fn a_fused_network_is_written_with_batch_normalisation_that_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fused.pt");
    let fused =
        random(Architecture::variant("yolov5n", Some(2)).unwrap()).into_fused().unwrap().into_checkpoint();
    let summary = fused.save_torch(&path, &SINGLE).unwrap();
    assert!(summary.added_batch_norm && summary.yaml == Some(YamlFit::Stock("yolov5n".to_owned())));
    let read = Checkpoint::load(&path).unwrap();
    assert!(!read.architecture.fused);
    assert_same(&read.into_fused().unwrap(), &fused);
    let path = folder.path().join("fused-state-dict.pt");
    fused.save_state_dict(&path, &SINGLE).unwrap();
    let state = read_torch(&path).unwrap().state;
    assert!(state.names().eq(fused.weights.names()), "a state dict stays fused");
}

#[test]
fn values_beyond_half_precision_make_the_file_single() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.pt");
    let mut network = random(Architecture::variant("yolov5n", Some(2)).unwrap());
    network.weights.get_mut("model.3.bn.running_var").unwrap().f32s_mut().unwrap()[5] = 65_520.0;
    let summary = network.save_torch(&path, &HALF).unwrap();
    assert_eq!(summary.format, FloatFormat::F32);
    assert_eq!(summary.too_large_for_half.as_deref(), Some("model.3.bn.running_var"));
    assert_same(&Checkpoint::load(&path).unwrap(), &network);
    network.weights.get_mut("model.3.bn.running_var").unwrap().f32s_mut().unwrap()[5] = 65_504.0;
    let summary = network.save_torch(&path, &HALF).unwrap();
    assert_eq!((summary.format, summary.too_large_for_half), (FloatFormat::F16, None));
}

/// yolov5n with zeros in two weights.
fn sparse() -> Checkpoint {
    let mut network = random(Architecture::variant("yolov5n", Some(2)).unwrap());
    for name in ["model.1.conv.weight", "model.24.m.1.weight"] {
        let values = network.weights.get_mut(name).unwrap().f32s_mut().unwrap();
        values.iter_mut().step_by(3).for_each(|value| *value = 0.0);
    }
    network
}

#[test]
fn masks_are_written_as_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let [path, again, state] = ["a.pt", "b.pt", "state.pt"].map(|name| folder.path().join(name));
    let (network, masks) = (sparse(), TorchOptions { masks: true, ..HALF });
    let summary = network.save_torch(&path, &masks).unwrap();
    assert_eq!((summary.masked, summary.tensors), (2, network.weights.len() + 2));
    let read = Checkpoint::load(&path).unwrap();
    assert_same(&read, &network);
    // What is known of the masks becomes the network's record.
    let network = Checkpoint { pruning: read.pruning.clone(), ..network };
    network.save_torch(&path, &masks).unwrap();
    assert_eq!(read_torch(&path).unwrap().masks.tensors, ["model.1.conv.weight", "model.24.m.1.weight"]);
    let conv = read_torch(&path).unwrap().module.unwrap();
    let conv = conv.descendant("model.24.m.1").unwrap();
    assert_eq!(conv.parameters.keys().collect::<Vec<_>>(), ["bias", "weight_orig"]);
    assert_eq!(conv.buffers.keys().collect::<Vec<_>>(), ["weight_mask"]);
    read.save_torch(&again, &masks).unwrap();
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap());
    opcodes::assert_documented(&path);
    network.save_state_dict(&state, &masks).unwrap();
    let bare = read_torch(&state).unwrap();
    assert_eq!((&bare.state, bare.masks.pruned), (&network.weights, read_torch(&path).unwrap().masks.pruned));
    let dense = random(network.architecture.clone());
    let error = dense.save_torch(&path, &masks).unwrap_err().to_string();
    assert!(error.contains("nothing to mask"), "{error}");
}

/// The pairs of the reference's own file become pairs again.
#[test]
fn masks_of_the_reference_go_back() {
    let Some(file) = shared("reference/yolov5-modules/prune-masks.pt") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("masks.pt");
    let network = Checkpoint::load(&file).unwrap();
    network.save_torch(&path, &TorchOptions { masks: true, ..lossless(&network) }).unwrap();
    assert_same(&Checkpoint::load(&path).unwrap(), &network);
}

#[test]
fn state_dicts_hold_the_tensors_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.pt");
    let network = sparse();
    let summary = network.save_state_dict(&path, &HALF).unwrap();
    assert_eq!((summary.yaml, summary.tensors, summary.masked), (None, 349, 0));
    opcodes::assert_documented(&path);
    let read = Checkpoint::load(&path).unwrap();
    assert_eq!(read.architecture, network.architecture);
    assert_same_tensors(&read, &network);
    let names: Vec<String> = network.architecture.tensors().into_iter().map(|tensor| tensor.name).collect();
    assert!(read_torch(&path).unwrap().state.names().eq(&names), "in PyTorch's order");
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let network = sparse();
    let error = network.save_torch(folder.path(), &HALF).unwrap_err().to_string();
    assert!(error.ends_with("is a folder; name a file inside it"), "{error}");
    let mut broken = network.clone();
    broken.weights.remove("model.9.cv2.bn.bias");
    let error = broken.save_torch(&folder.path().join("broken.pt"), &HALF).unwrap_err().to_string();
    assert!(error.contains("model.9.cv2.bn.bias"), "{error}");
    assert!(matches!(network.save_torch(&folder.path().join("no/n.pt"), &HALF), Err(ModelError::Weights(_))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
