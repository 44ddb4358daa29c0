//! `prune --channels` and `prune-finetune --channels`: smaller dense networks.

use serde_json::Value;
use yolo_model::onnx::Outputs;
use yolo_model::{Architecture, Checkpoint};

use crate::onnxruntime::{assert_equal, noise, python};
use crate::support::{Case, VAL, shared};
use crate::training_support::{all_load, files, trained};

const PRUNE: &str = "prune --weights in/tiny.safetensors --round-to 2 --out out.safetensors";
const FINETUNE: &str = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 \
    --batch-size 8 --round-to 2";

fn load(case: &Case, file: &str) -> Checkpoint {
    Checkpoint::load(&case.path(file)).unwrap()
}

fn map(stage: &Value) -> f64 {
    stage["native"]["map"].as_f64().unwrap()
}

#[test]
fn the_network_is_as_small_as_planned_and_lives_on() {
    let case = Case::with_data();
    let outcome = case.run(&format!("{PRUNE} --channels 0.5 --json")).ok();
    assert_eq!(outcome.written, ["out.safetensors", "out.yaml"]);
    let account = outcome.json();
    let sizes = &account["channels"];
    assert_eq!(sizes["planned"], sizes["after"]);
    let gflops = |which: &str| sizes[which]["gflops"].as_f64().unwrap();
    assert!(gflops("after") <= 0.5 * gflops("before") && gflops("after") > 0.4 * gflops("before"), "{sizes}");
    let info = case.run("info --weights out.safetensors --json").ok().json();
    assert_eq!(info["model"]["parameters"], sizes["after"]["parameters"]);
    assert_eq!(info["model"]["gflops"], sizes["after"]["gflops"]);
    let small = load(&case, "out.safetensors");
    let yaml = String::from_utf8(case.read("out.yaml")).unwrap();
    assert_eq!(Architecture::from_yaml(&yaml, None).unwrap(), small.architecture);
    for group in account["groups"].as_array().unwrap() {
        let width = |key: &str| group[key].as_u64().unwrap();
        assert!(width("after") % 2 == 0 && width("after") <= width("before"), "{group}");
        for conv in group["convolutions"].as_array().unwrap() {
            let shape = &small.weights.get(&format!("{}.conv.weight", conv.as_str().unwrap())).unwrap().shape;
            assert_eq!(shape[0] as u64, width("after"), "{group}");
        }
    }
    let val = VAL.replace("in/tiny.safetensors", "out.safetensors");
    let figures = case.run(&format!("{val} --json")).ok().json();
    let fused = case.run("info --weights out.safetensors --fuse --json").ok().json();
    assert_eq!(figures["model"]["parameters"], fused["model"]["parameters"]);
    case.run("export --weights out.safetensors --format onnx --imgsz 64").ok();
    case.run("prune --weights out.safetensors --channels 0.2 --round-to 1 --out again.safetensors").ok();
    assert!(load(&case, "again.safetensors").architecture.summary().gflops <= 0.8 * gflops("after"));
    case.run("prune --weights out.safetensors --amount 0.5 --out sparse.safetensors").ok();
    case.run("pack --weights sparse.safetensors --out packed.safetensors").ok();
    case.run("info --weights packed.safetensors").ok();
}

#[test]
fn every_quantity_criterion_and_scope_meets_its_target() {
    let case = Case::with_data();
    let images = "--calibration in/data/images/val --imgsz 64";
    for flags in [
        "--channels-of parameters --channel-criterion l2 --scope group",
        "--channels-of channels --channel-criterion bn-scale --rounds 3",
        &format!("--channel-criterion taylor {images} --rounds 2"),
        &format!("--channel-criterion activation {images}"),
    ] {
        let account = case.run(&format!("{PRUNE} --channels 0.4 {flags} --json")).ok().json();
        let sizes = &account["channels"];
        let of = sizes["recipe"]["of"].as_str().unwrap();
        let size = |which: &str| sizes[which][of].as_f64().unwrap();
        assert!(size("after") <= 0.6 * size("before"), "{flags}: {sizes}");
        assert_eq!(sizes["planned"], sizes["after"], "{flags}");
        let pruning = serde_json::to_value(load(&case, "out.safetensors").pruning).unwrap();
        assert!(pruning.get("previous").is_none(), "{flags}: the rounds are not one record");
    }
}

#[test]
fn images_move_the_statistics_and_nothing_else() {
    let case = Case::with_data();
    let prune = format!("{PRUNE} --channels 0.5 --channel-criterion l1");
    case.run(&prune).ok();
    let plain = load(&case, "out.safetensors");
    case.run(&format!("{prune} --calibration in/data/images/val --imgsz 64")).ok();
    let calibrated = load(&case, "out.safetensors");
    assert_eq!(plain.architecture, calibrated.architecture);
    let mut moved = 0;
    for (name, tensor) in plain.weights.iter() {
        let same = tensor == calibrated.weights.get(name).unwrap();
        moved += usize::from(!same);
        assert!(same || name.contains("running_") || name.starts_with("model.5"), "{name} changed");
    }
    assert!(moved > 10, "only {moved} tensors changed");
}

#[test]
fn what_stays_and_what_was_rounded_is_shown() {
    let case = Case::with_model();
    let outcome = case
        .run("prune --weights in/tiny.safetensors --channels 0.3 --exclude model.4.* --out out.safetensors");
    let outcome = outcome.ok().shows(&["stays: excluded by \"model.4.*\"", "not more than one unit of 8"]);
    outcome.shows(&["Parameters: ", "planned", "GFLOPs: ", "Saved out.safetensors", "out.yaml"]);
    let (before, after) = (load(&case, "in/tiny.safetensors"), load(&case, "out.safetensors"));
    let width = |of: &Checkpoint| {
        let convs = of.architecture.convs().into_iter().filter(|conv| conv.name.starts_with("model.4."));
        convs.map(|conv| conv.spec.out_channels).collect::<Vec<_>>()
    };
    assert_eq!(width(&before), width(&after));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let case = Case::with_model();
    let prune = |flags: &str| case.run(&format!("{PRUNE} {flags}"));
    prune("--channels 1").fails(&["--channels 1 would leave nothing"]);
    prune("--channels 1.5").bad_arguments(&["--channels", "between 0 and 1"]);
    prune("--channels 0.5 --channel-criterion magic").bad_arguments(&["magic", "bn-scale"]);
    prune("--channels 0.5 --amount 0.5").bad_arguments(&["--channels", "--amount", "cannot be used with"]);
    prune("--channels 0.5 --method global").bad_arguments(&["--method", "cannot be used with"]);
    prune("--amount 0.5").fails(&["--round-to", "--channels 0.5"]);
    prune("--channels 0.5 --exclude model.99").fails(&["\"model.99\"", "matches no convolution"]);
    prune("--channels 0.5 --exclude *").fails(&["nothing to prune"]);
    let parts = ["are asked for, but", "are left even where every group", "ask for less"];
    prune("--channels 0.99 --max-channels 0.3").fails(&parts);
    for criterion in ["taylor", "activation"] {
        prune(&format!("--channels 0.5 --channel-criterion {criterion}")).fails(&["--calibration"]);
    }
    prune("--channels 0.5 --calibration none").fails(&["none: no such folder"]);
    case.run("prune --weights in/tiny.safetensors --amount 0 --fuse --out fused.safetensors").ok();
    let fused = "prune --weights fused.safetensors --channels 0.5 --round-to 1 --out out.safetensors";
    case.run(&format!("{fused} --channel-criterion bn-scale")).fails(&["fused", "before fusing"]);
    case.run(fused).ok();
    assert!(load(&case, "out.safetensors").architecture.fused);
}

#[test]
fn another_yaml_in_the_way_is_kept() {
    let case = Case::with_model();
    case.write("out.yaml", "names: [mine]\n");
    case.run(&format!("{PRUNE} --channels 0.5")).fails(&["out.yaml", "something else", "--out"]);
    assert_eq!(case.read("out.yaml"), b"names: [mine]\n");
    case.run(&format!("{PRUNE} --channels 0.5").replace("out.s", "two.s")).ok();
    case.run(&format!("{PRUNE} --channels 0.3").replace("out.s", "two.s")).ok();
}

#[test]
fn a_smaller_network_is_fine_tuned_and_compared() {
    let case = trained();
    let outcome = case.run(&format!("{FINETUNE} --channels 0.4 --epochs 8")).ok();
    outcome.shows(&["Pruned 40% of the FLOPs", "Size: ", "a smaller dense one", "GFLOPs"]);
    let run = "runs/prune-finetune/exp";
    let summary = case.json(&format!("{run}/summary.json"));
    let [baseline, pruned, finetuned] = summary["stages"].as_array().unwrap().as_slice() else { panic!() };
    for key in ["parameters", "gflops"] {
        let size = |stage: &Value| stage["model"][key].as_f64().unwrap();
        assert!(size(pruned) < 0.9 * size(baseline), "{key}");
        assert_eq!(size(pruned), size(finetuned), "{key}");
    }
    assert!(map(finetuned) > map(pruned), "fine-tuning brings nothing: {} {}", map(pruned), map(finetuned));
    assert_eq!(summary["recipe"]["prune"]["channels"]["amount"], 0.4);
    all_load(&case, run);
    let yaml = String::from_utf8(case.read(&format!("{run}/weights/finetuned.yaml"))).unwrap();
    let file = format!("{run}/weights/finetuned.safetensors");
    assert_eq!(Architecture::from_yaml(&yaml, None).unwrap(), load(&case, &file).architecture);
    assert!(!files(&case, run).contains_key("weights/state.safetensors"));
    let page = String::from_utf8(case.read(&format!("{run}/report.html"))).unwrap();
    assert!(page.contains("fewer FLOPs and") && page.contains("40 % of the GFLOPs pruned"));
    // A run's own recipe asks for the same channels.
    case.write("in/again.yaml", case.read(&format!("{run}/recipe.yaml")));
    case.run(&format!("{FINETUNE} --recipe in/again.yaml")).ok();
    let weights = |run: &str| case.read(&format!("runs/prune-finetune/{run}/weights/finetuned.safetensors"));
    assert!(weights("exp") == weights("exp2"));
}

#[test]
fn the_dense_network_teaches_what_is_left_of_it() {
    let case = trained();
    let taught = |gains: &str| {
        let recipe = format!("prune:\n  channels: {{amount: 0.3}}\nfinetune:\n  distillation: {gains}\n");
        case.write("in/recipe.yaml", recipe);
        // The first two layers keep their widths.
        let args =
            format!("{FINETUNE} --recipe in/recipe.yaml --exclude model.0 --exclude model.1 --epochs 1");
        case.run(&format!("{args} --name run --exist-ok")).ok();
        let summary = case.json("runs/prune-finetune/run/summary.json");
        summary["epochs"][0]["distillation"].as_f64().unwrap()
    };
    assert_eq!(taught("null"), 0.0);
    assert!(taught("{outputs: 1.0, features: 0.0}") > 0.0, "outputs teach nothing");
    // The layers that are compared start with the teacher's weights, but training normalises by the batch.
    assert!(taught("{outputs: 0.0, features: 1.0}") > 0.0, "layers teach nothing");
}

#[test]
fn recipes_of_channels_are_checked() {
    let case = trained();
    let cases: [(&str, &[&str]); 6] = [
        ("{amount: 1.0}", &["prune.channels.amount: 1"]),
        ("{criterion: magic}", &["in/recipe.yaml:2", "magic"]),
        ("{rounds: 0}", &["rounds"]),
        ("{of: time}", &["in/recipe.yaml:2", "time"]),
        ("{widths: 3}", &["in/recipe.yaml:2", "widths"]),
        ("{amount: 0.5}\n  gradual_epochs: 2", &["prune.gradual_epochs", "channels"]),
    ];
    for (channels, parts) in cases {
        case.write("in/recipe.yaml", format!("prune:\n  channels: {channels}\n"));
        case.run(&format!("{FINETUNE} --recipe in/recipe.yaml")).fails(parts);
    }
    case.run(&format!("{FINETUNE} --channels 0.5 --gradual 2 --epochs 3")).fails(&["gradual_epochs"]);
    case.run(&format!("{FINETUNE} --channels 0.99")).fails(&["are asked for, but"]);
    case.run(FINETUNE).fails(&["--round-to", "--channels 0.5"]);
}

#[test]
fn yolov5n_loses_exactly_what_was_planned() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let case = Case::empty();
    let weights = weights.to_str().unwrap();
    let args = ["prune", "--weights", weights, "--channels", "0.5", "--out", "half.safetensors", "--json"];
    let account = case.run_args(&args).ok().json();
    let sizes = &account["channels"];
    assert_eq!(sizes["planned"], sizes["after"]);
    let gflops = sizes["after"]["gflops"].as_f64().unwrap() / sizes["before"]["gflops"].as_f64().unwrap();
    assert!((0.49..=0.5).contains(&gflops), "{gflops}");
    let info = case.run("info --weights half.safetensors --json").ok().json();
    assert_eq!(info["model"]["parameters"], sizes["after"]["parameters"]);
    assert_eq!(info["model"]["gflops"], sizes["after"]["gflops"]);
    case.run("export --weights half.safetensors --format onnx --imgsz 64").ok();
    let Some(python) = python() else { return };
    let images = noise([1, 3, 64, 64]);
    assert_equal(
        python,
        &case.path("half.onnx"),
        &load(&case, "half.safetensors"),
        Outputs::Decoded,
        &images,
    );
}
