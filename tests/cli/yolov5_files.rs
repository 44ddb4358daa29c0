//! Files that go back to YOLOv5 and PyTorch: `export --format pt|state-dict`, `--out x.pt`, `--save-pt`, `prune --like`.

use std::path::Path;

use yolo_model::weights::{FloatFormat, read_torch};
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::Sparsity;

use crate::support::{Case, TINY_YAML, VAL, keys, native_figures, runs_slow, shared, tiny};
use crate::training_support::{TRAIN_TINY, squares, trained};

const PRUNE: &str = "prune --weights in/tiny.safetensors --amount 0.5 --method global";

fn load(case: &Case, file: &str) -> Checkpoint {
    Checkpoint::load(&case.path(file)).unwrap()
}

fn assert_same(found: &Checkpoint, expected: &Checkpoint) {
    assert_eq!(found.architecture, expected.architecture);
    assert_eq!(found.class_names, expected.class_names);
    assert_eq!(found.pruning, expected.pruning);
    assert!(found.weights == expected.weights, "other tensors");
}

fn zeros(checkpoint: &Checkpoint) -> usize {
    Sparsity::of(checkpoint).unwrap().conv_zeros
}

#[test]
fn a_network_goes_to_yolov5_and_back() {
    let case = Case::with_data();
    let outcome = case.run("export --weights in/tiny.safetensors --format pt").ok();
    assert_eq!(outcome.written, ["tiny.pt"]);
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    outcome.shows(&["Saved tiny.pt", "network for YOLOv5, single precision", "detect.py --weights tiny.pt"]);
    assert_same(&load(&case, "tiny.pt"), &tiny());
    let ours = case.run(&format!("{VAL} --json")).ok().json();
    let theirs = case.run(&format!("{} --json", VAL.replace("in/tiny.safetensors", "tiny.pt"))).ok().json();
    assert_eq!(native_figures(&ours), native_figures(&theirs));
    // And once more, to the byte.
    case.run("export --weights tiny.pt --format pt --out again.pt").ok();
    assert!(case.read("again.pt") == case.read("tiny.pt"));
    let outcome = case.run("export --weights tiny.pt --format pt --half --out half.pt --json").ok();
    let account = outcome.json();
    assert_eq!(keys(&account), ["file", "format", "half", "masks", "model", "schema", "tensors", "yaml"]);
    assert_eq!(
        (&account["half"], &account["format"], &account["masks"]),
        (&true.into(), &"pt".into(), &0.into())
    );
    assert_eq!(account["model"]["file_bytes"], case.read("half.pt").len());
    assert!(case.read("half.pt").len() < case.read("tiny.pt").len());
}

#[test]
fn tensors_alone() {
    let case = Case::with_model();
    let outcome = case.run("export --weights in/tiny.safetensors --format state-dict").ok();
    assert_eq!(outcome.written, ["tiny-state-dict.pt"]);
    outcome.shows(&["state dict", "torch.load(\"tiny-state-dict.pt\", weights_only=True)"]);
    let file = read_torch(case.path("tiny-state-dict.pt")).unwrap();
    assert!(file.module.is_none() && file.state == tiny().weights);
}

/// A state dict does not say what it is the state of.
#[test]
fn tensors_alone_and_the_yaml_of_their_network() {
    let case = Case::with_model();
    case.run("export --weights in/tiny.safetensors --format state-dict --out tensors.pt").ok();
    let yaml = TINY_YAML.replace("nc: 3", "nc: 80").replace("[16, 3, 2]", "[48, 3, 2]");
    case.write("in/tiny.yaml", yaml);
    case.run("export --weights tensors.pt --format pt --out x.pt").fails(&["tensors.pt", "model.5"]);
    case.run("export --weights tensors.pt --cfg in/tiny.yaml --format pt --out network.pt").ok();
    let (read, tiny) = (load(&case, "network.pt"), tiny());
    assert_eq!(read.architecture, tiny.architecture, "widths and classes are those of the tensors");
    assert!(read.weights == tiny.weights);
    let fails = case.run("export --weights tensors.pt --cfg yolov5n --format pt --out x.pt");
    fails.fails(&["tensors.pt", "no such tensor"]);
}

/// A transformer's matrices are recognised with the yaml only: without it, other layers must not be left out in silence.
#[test]
fn tensors_of_a_network_that_only_resembles_a_known_one() {
    let folder = "reference/yolov5-modules";
    let Some(weights) = shared(&format!("{folder}/yolov5s-transformer.pt")) else { return };
    let yaml = shared(&format!("{folder}/yolov5s-transformer.yaml")).unwrap();
    let case = Case::empty();
    let [file, yaml] = [&weights, &yaml].map(|path| path.to_str().unwrap());
    case.run_args(&["export", "--weights", file, "--format", "state-dict", "--out", "tensors.pt"]).ok();
    case.run("info --weights tensors.pt").fails(&["tensors.pt", "model.8.m.", "needs its yaml"]);
    case.run_args(&[
        "export",
        "--weights",
        "tensors.pt",
        "--cfg",
        yaml,
        "--format",
        "pt",
        "--out",
        "network.pt",
    ])
    .ok();
    assert!(load(&case, "network.pt").weights == load_file(&weights).weights);
}

/// Masks of the reference in a state dict.
#[test]
fn masked_tensors_of_the_reference() {
    let folder = "reference/yolov5-modules";
    let Some(weights) = shared(&format!("{folder}/prune-masks-state-dict.pt")) else { return };
    let yaml = shared(&format!("{folder}/prune-masks.yaml")).unwrap();
    let case = Case::empty();
    let [weights, yaml] = [&weights, &yaml].map(|path| path.to_str().unwrap());
    case.run_args(&["export", "--weights", weights, "--cfg", yaml, "--format", "pt", "--out", "network.pt"])
        .ok();
    let whole = load_file(&shared(&format!("{folder}/prune-masks.pt")).unwrap());
    let read = load(&case, "network.pt");
    // The original shares one activation between all convolutions.
    let unshared = Architecture { activations: None, ..whole.architecture.clone() };
    assert_eq!(read.architecture, unshared);
    assert!(read.weights == whole.weights && zeros(&read) > 0);
}

#[test]
fn pruned_networks_keep_zeros_and_record_and_say_what_train_py_does() {
    let case = Case::with_data();
    case.run(&format!("{PRUNE} --out pruned.safetensors")).ok();
    let outcome = case.run(&format!("{PRUNE} --out pruned.pt")).ok();
    assert_eq!(outcome.written, ["pruned.pt"]);
    outcome.warns(&["train.py", "grow again", "prune --like"]).shows(&["Saved pruned.pt"]);
    assert_same(&load(&case, "pruned.pt"), &load(&case, "pruned.safetensors"));
    case.run("pack --weights pruned.safetensors --out packed.safetensors").ok();
    case.run("pack --weights packed.safetensors --expand --out expanded.pt").ok();
    assert!(case.read("expanded.pt") == case.read("pruned.pt"));
    // A training continues as from our own file.
    let train =
        "train --data in/data/data.yaml --imgsz 64 --batch-size 4 --epochs 1 --noautoanchor --noplots";
    let outcome = case.run(&format!("{train} --weights pruned.pt")).ok();
    outcome
        .shows(&[&format!("{} weights are pruned and stay zero", spaced(zeros(&load(&case, "pruned.pt"))))]);
}

/// A count as it is printed.
fn spaced(count: usize) -> String {
    yolo_report::format::thousands(count)
}

#[test]
fn networks_without_some_channels() {
    let case = Case::with_data();
    let channels = "prune --weights in/tiny.safetensors --channels 0.4 --round-to 1";
    case.run(&format!("{channels} --out small.safetensors")).ok();
    let outcome = case.run(&format!("{channels} --out narrow.pt")).ok();
    assert_eq!(outcome.written, ["narrow.pt", "narrow.yaml"]);
    outcome.warns(&["train.py", "noise"]);
    assert_same(&load(&case, "narrow.pt"), &load(&case, "small.safetensors"));
    let yaml = String::from_utf8(case.read("narrow.yaml")).unwrap();
    assert_eq!(Architecture::from_yaml(&yaml, None).unwrap(), load(&case, "narrow.pt").architecture);
    case.run(&VAL.replace("in/tiny.safetensors", "narrow.pt")).ok();
}

#[test]
fn released_networks_without_some_channels() {
    for name in ["yolov5n", "yolov5s"] {
        let Some(weights) = shared(&format!("weights/{name}.pt")) else { return };
        if !runs_slow() {
            return;
        }
        let case = Case::empty();
        let prune = [
            "prune",
            "--weights",
            weights.to_str().unwrap(),
            "--channels",
            "0.3",
            "--round-to",
            "1",
            "--out",
        ];
        case.run_args(&[&prune[..], &["narrow.pt"]].concat()).ok().warns(&["train.py", "noise"]);
        case.run_args(&[&prune[..], &["narrow.safetensors"]].concat()).ok();
        let narrow = load(&case, "narrow.pt");
        assert_same(&narrow, &load(&case, "narrow.safetensors"));
        assert!(
            narrow.architecture.summary().gflops < 0.71 * load_file(&weights).architecture.summary().gflops
        );
        let said = read_torch(case.path("narrow.pt")).unwrap();
        assert!(said.hyp.is_some(), "the hyper-parameters of the original");
    }
}

fn load_file(path: &Path) -> Checkpoint {
    Checkpoint::load(path).unwrap()
}

#[test]
fn zeros_that_grew_are_put_back() {
    let case = Case::with_model();
    case.run(&format!("{PRUNE} --out pruned.safetensors")).ok();
    let pruned = load(&case, "pruned.safetensors");
    // What a training that knows nothing of zeros leaves, fused or not.
    let mut grown = Checkpoint { pruning: None, ..tiny() };
    for (_, tensor) in grown.weights.iter_mut() {
        let _ =
            tensor.f32s_mut().map(|values| values.iter_mut().for_each(|value| *value = *value * 1.5 + 0.25));
    }
    grown.save(&case.path("grown.safetensors"), FloatFormat::F32).unwrap();
    let like = "prune --weights grown.safetensors --like pruned.safetensors";
    let outcome = case.run(&format!("{like} --out again.pt --json")).ok();
    assert_eq!(outcome.written, ["again.pt"]);
    let account = outcome.json();
    assert_eq!(
        (&account["like"]["zeros"], &account["like"]["grown"]),
        (&zeros(&pruned).into(), &zeros(&pruned).into())
    );
    let again = load(&case, "again.pt");
    assert_eq!((zeros(&again), &again.pruning), (zeros(&pruned), &pruned.pruning));
    for (name, tensor) in again.weights.iter() {
        let Ok(values) = tensor.f32s() else { continue };
        let (before, pattern) = (grown.weights.f32s(name).unwrap(), pruned.weights.f32s(name).unwrap());
        let is_conv = name.ends_with("conv.weight") || name.ends_with("m.0.weight");
        for ((value, before), pattern) in values.iter().zip(before).zip(pattern) {
            let expected = if is_conv && *pattern == 0.0 { 0.0 } else { *before };
            assert_eq!(*value, expected, "{name}");
        }
    }
    case.run(&format!("{like} --out again.safetensors")).ok().shows(&["Zeros of pruned.safetensors: "]);
    case.run("prune --weights in/tiny.safetensors --channels 0.4 --round-to 2 --out narrow.safetensors").ok();
    let fails = case.run("prune --weights grown.safetensors --like narrow.safetensors --out x.pt");
    fails.fails(&["grown.safetensors and narrow.safetensors", "not the same network", "model.", "shape"]);
    let fails = case.run("prune --weights grown.safetensors --like in/tiny.safetensors --out x.pt");
    fails.fails(&["no zeros to take over"]);
    case.run(&format!("{like} --amount 0.3 --out x.pt")).bad_arguments(&["--like", "--amount"]);
    let before = case.read("pruned.safetensors");
    case.run(&format!("{like} --out pruned.safetensors")).fails(&[
        "pruned.safetensors",
        "--like",
        "never changed",
    ]);
    assert_eq!(case.read("pruned.safetensors"), before);
}

#[test]
fn masks_are_for_scripts() {
    let case = Case::with_model();
    case.run(&format!("{PRUNE} --out pruned.safetensors")).ok();
    let export = "export --weights pruned.safetensors --with-masks";
    let outcome = case.run(&format!("{export} --format pt --out masks.pt")).ok();
    outcome.warns(&["train.py does not read masks"]).shows(&["of them masks"]);
    let masks = read_torch(case.path("masks.pt")).unwrap().masks;
    let pruned = load(&case, "pruned.safetensors");
    assert_eq!(masks.pruned, zeros(&pruned));
    assert_same(&load(&case, "masks.pt"), &pruned);
    let outcome = case.run(&format!("{export} --format state-dict --out masks-state-dict.pt")).ok();
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    let bare = read_torch(case.path("masks-state-dict.pt")).unwrap();
    assert!(bare.masks == masks && bare.state == pruned.weights);
    case.run("export --weights in/tiny.safetensors --format pt --with-masks").fails(&["nothing to mask"]);
}

#[test]
fn flags_and_names_that_do_not_belong_together() {
    let case = Case::with_model();
    let export = "export --weights in/tiny.safetensors";
    case.run(&format!("{export} --with-masks")).fails(&["--with-masks is for --format pt and state-dict"]);
    case.run(&format!("{export} --format pt --raw")).fails(&["--raw is for --format onnx"]);
    case.run(&format!("{export} --format pt --out a.onnx")).fails(&["a.onnx: --out must end in .pt"]);
    case.run(&format!("{export} --out a.pt")).fails(&["a.pt: --out must end in .onnx"]);
    case.run("pack --weights in/tiny.safetensors --out a.pt").fails(&["a.pt", "--format pt"]);
    std::fs::copy(case.path("in/tiny.safetensors"), case.path("tiny.pt")).unwrap();
    case.run("export --weights tiny.pt --format pt").fails(&["tiny.pt", "input files are never changed"]);
}

/// A fused network has no batch normalisation, which YOLOv5's classes cannot do without.
#[test]
fn fused_networks_get_batch_normalisation_that_changes_nothing() {
    let case = Case::with_model();
    let outcome = case.run(&format!("{PRUNE} --fuse --out fused.pt")).ok();
    outcome.warns(&["batch normalisation is folded in"]);
    case.run(&format!("{PRUNE} --fuse --out fused.safetensors")).ok();
    let (there, here) = (load(&case, "fused.pt"), load(&case, "fused.safetensors"));
    assert!(!there.architecture.fused && here.architecture.fused);
    assert!(there.fuse().unwrap().weights == here.weights);
}

#[test]
fn trainings_leave_a_file_for_yolov5() {
    let case = squares();
    let outcome = case.run(&format!("{TRAIN_TINY} --epochs 1 --save-pt --noval")).ok();
    outcome.shows(&["For YOLOv5: runs/train/exp/weights/best.pt"]);
    let weights = "runs/train/exp/weights";
    assert_same(
        &load(&case, &format!("{weights}/best.pt")),
        &load(&case, &format!("{weights}/best.safetensors")),
    );
    let hyp = read_torch(case.path(&format!("{weights}/best.pt"))).unwrap().hyp.unwrap();
    assert_eq!(hyp.get("lr0").and_then(yolo_model::weights::PlainValue::as_float), Some(0.02));

    let case = trained();
    let finetune = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 --batch-size 8";
    let outcome = case.run(&format!("{finetune} --amount 0.5 --epochs 1 --save-pt")).ok();
    outcome.warns(&["grow again"]).shows(&["For YOLOv5: runs/prune-finetune/exp/weights/finetuned.pt"]);
    let weights = "runs/prune-finetune/exp/weights";
    assert_same(
        &load(&case, &format!("{weights}/finetuned.pt")),
        &load(&case, &format!("{weights}/finetuned.safetensors")),
    );
}
