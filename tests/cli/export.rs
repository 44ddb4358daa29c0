//! `export`: what it prints and refuses, and that onnxruntime computes with its files what the checkpoint does.

use std::path::Path;

use yolo_model::Checkpoint;
use yolo_model::onnx::Outputs;
use yolo_model::weights::FloatFormat;

use crate::onnxruntime::{assert_equal, assert_half, noise, python};
use crate::support::{Case, keys, shared};

const EXPORT: &str = "export --weights in/tiny.safetensors --imgsz 64";

/// Compares the file `model` of a case with the checkpoint that it came from.
fn compare(case: &Case, model: &str, weights: &Path, outputs: Outputs, images: [usize; 4]) {
    let Some(python) = python() else { return };
    let checkpoint = Checkpoint::load(weights).unwrap();
    assert_equal(python, &case.path(model), &checkpoint, outputs, &noise(images));
}

#[test]
fn the_file_has_the_name_of_the_weights_and_lies_here() {
    let case = Case::with_model();
    let outcome = case.run(EXPORT).ok();
    assert_eq!(outcome.written, ["tiny.onnx"]);
    let outcome = outcome.shows(&["Model summary (fused)", "Saved tiny.onnx", "opset 13", "nodes"]);
    let outcome = outcome.shows(&["images [1, 3, 64, 64]", "output0 [1, 64, 8]", "onnx.checker"]);
    outcome.shows(&["detect.py --weights tiny.onnx --imgsz 64 64"]);
    compare(&case, "tiny.onnx", &case.path("in/tiny.safetensors"), Outputs::Decoded, [1, 3, 64, 64]);
}

#[test]
fn json_says_what_is_in_the_file() {
    let case = Case::with_model();
    let args = "--format onnx --out any.onnx --dynamic --raw --opset 17 --json";
    let outcome = case.run(&format!("{EXPORT} {args}")).ok();
    assert_eq!(outcome.written, ["any.onnx"]);
    let account = outcome.json();
    let expected = ["classes", "dynamic", "file", "format", "head", "model", "opset", "schema", "stride"];
    assert_eq!(keys(&account), expected);
    assert_eq!((&account["opset"], &account["stride"]), (&17.into(), &32.into()));
    assert_eq!((&account["head"], &account["dynamic"]), (&"raw".into(), &true.into()));
    let model = &account["model"];
    assert_eq!(model["bytes"], case.read("any.onnx").len());
    let shape = serde_json::json!(["batch", 1, "height/8", "width/8", 8]);
    assert_eq!(model["outputs"], serde_json::json!([{"name": "output0", "shape": shape, "type": "float32"}]));
    compare(&case, "any.onnx", &case.path("in/tiny.safetensors"), Outputs::Logits, [3, 3, 64, 96]);
}

#[test]
fn yolov5s_spelling_and_two_sides_are_understood() {
    let case = Case::with_model();
    let args = "export --weights in/tiny.safetensors --include onnx --img-size 96 64 --batch 3 --out a.onnx";
    let outcome = case.run(args).ok().shows(&["images [3, 3, 96, 64]", "output0 [3, 96, 8]"]);
    assert!(!outcome.stdout.contains("detect.py"), "it takes one image at a time: {}", outcome.stdout);
    compare(&case, "a.onnx", &case.path("in/tiny.safetensors"), Outputs::Decoded, [3, 3, 96, 64]);
}

/// Version of the operators that a file asks for: the last field of its last but two messages, so it is searched for.
fn asks_for_opset(model: &[u8], opset: u8) -> bool {
    // Field 8 of the model, two bytes: field 2 of an operator set, the version.
    model.windows(4).any(|bytes| bytes == [0x42, 2, 0x10, opset])
}

#[test]
fn flags_that_yolov5s_users_type_do_what_they_say() {
    let case = Case::with_model();
    let args = "--include onnx --device cpu --opset 12 --imgsz 96,64 --out a.onnx";
    let outcome = case.run(&format!("export --weights in/tiny.safetensors {args}")).ok();
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    outcome.shows(&["opset 12", "images [1, 3, 96, 64]"]);
    assert!(asks_for_opset(&case.read("a.onnx"), 12));
    compare(&case, "a.onnx", &case.path("in/tiny.safetensors"), Outputs::Decoded, [1, 3, 96, 64]);
    let plain = case.run(&format!("{EXPORT} --out plain.onnx")).ok();
    assert!(asks_for_opset(&case.read("plain.onnx"), 13) && plain.stderr.is_empty());
    let simple = case.run(&format!("{EXPORT} --simplify --device 0 --out simple.onnx")).ok();
    assert_eq!(simple.stderr.lines().count(), 2, "{}", simple.stderr);
    simple.shows(&["--simplify changes nothing", "--device 0 changes nothing"]);
    assert!(case.read("simple.onnx") == case.read("plain.onnx"));
}

#[test]
fn a_file_of_half_precision_is_half_as_large_and_as_right() {
    let case = Case::with_model();
    case.run(&format!("{EXPORT} --out single.onnx")).ok();
    let outcome = case.run(&format!("{EXPORT} --half --out half.onnx --json")).ok();
    let model = outcome.json()["model"].clone();
    assert_eq!(
        (&model["inputs"][0]["type"], &model["outputs"][0]["type"]),
        (&"float16".into(), &"float16".into())
    );
    let shown = case.run(&format!("{EXPORT} --half --out half.onnx")).ok();
    shown.shows(&[
        "half precision",
        "images [1, 3, 64, 64] float16, RGB",
        "output0 [1, 64, 8] float16",
        "--half",
    ]);
    let weights = Checkpoint::load(&case.path("in/tiny.safetensors")).unwrap();
    let saved = 2 * weights.fuse().unwrap().architecture.summary().parameters;
    let (single, half) = (case.read("single.onnx").len(), case.read("half.onnx").len());
    assert!(single - half > saved - 400, "{single} {half} {saved}");
    let Some(python) = python() else { return };
    assert_half(python, &case.path("half.onnx"), &weights, Outputs::Decoded, &noise([1, 3, 64, 64]));
}

#[test]
fn a_weight_beyond_half_precision_is_named() {
    let case = Case::with_model();
    let mut weights =
        Checkpoint::load(&case.path("in/tiny.safetensors")).unwrap().fuse().unwrap().into_checkpoint();
    let name = weights.architecture.convs()[0].weight();
    weights.weights.get_mut(&name).unwrap().f32s_mut().unwrap()[0] = 70000.0;
    weights.save(&case.path("in/loud.safetensors"), FloatFormat::F32).unwrap();
    case.run("export --weights in/loud.safetensors --half").fails(&[&name, "70000", "half precision"]);
    case.run("export --weights in/loud.safetensors").ok();
}

#[test]
fn sides_are_rounded_up_to_the_stride_with_a_warning() {
    let case = Case::with_model();
    let outcome = case.run("export --weights in/tiny.safetensors --imgsz 100").ok();
    outcome.warns(&["--imgsz 100", "stride 32", "128"]).shows(&["images [1, 3, 128, 128]"]);
    let open = case.run("export --weights in/tiny.safetensors --imgsz 100 --dynamic").ok();
    assert!(open.stderr.is_empty(), "{}", open.stderr);
}

#[test]
fn a_pruned_checkpoint_keeps_its_zeros_and_its_function() {
    let case = Case::with_model();
    case.run("prune --weights in/tiny.safetensors --amount 0.5 --method global --out pruned.safetensors")
        .ok();
    case.run("export --weights pruned.safetensors --imgsz 64").ok();
    let pruned = case.path("pruned.safetensors");
    let sparsity = yolo_prune::Sparsity::of(&Checkpoint::load(&pruned).unwrap().fuse().unwrap()).unwrap();
    assert!(sparsity.conv_zeros * 2 >= sparsity.conv_weights - 1, "{}", sparsity.conv_zeros);
    compare(&case, "pruned.onnx", &pruned, Outputs::Decoded, [1, 3, 64, 64]);
    // As large as the dense one: zeros take their place.
    case.run(EXPORT).ok();
    assert!(case.read("pruned.onnx").len().abs_diff(case.read("tiny.onnx").len()) < 64);
}

#[test]
fn released_weights_pruned_and_exported() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let case = Case::empty();
    let weights = weights.to_str().unwrap();
    case.run_args(&["prune", "--weights", weights, "--amount", "0.5", "--out", "half.safetensors"]).ok();
    let outcome = case.run("export --weights half.safetensors --imgsz 320 416").ok();
    outcome.shows(&["1 867 405 parameters", "output0 [1, 8190, 85]"]);
    compare(&case, "half.onnx", &case.path("half.safetensors"), Outputs::Decoded, [1, 3, 320, 416]);
}

#[test]
fn input_files_are_never_overwritten() {
    let case = Case::with_model();
    std::fs::rename(case.path("in/tiny.safetensors"), case.path("in/tiny.onnx")).unwrap();
    let args = "export --weights in/tiny.onnx --imgsz 64 --out in/tiny.onnx";
    case.run(args).fails(&["in/tiny.onnx", "input files are never changed"]);
    case.run("export --weights in/tiny.onnx --imgsz 64").ok().shows(&["Saved tiny.onnx"]);
}

#[test]
fn bad_places_and_bad_models_are_named_and_nothing_is_written() {
    let case = Case::with_model();
    case.run("export --weights in/gone.pt").fails(&["in/gone.pt", "no such file"]);
    case.run(&format!("{EXPORT} --out x.pt")).fails(&["x.pt", ".onnx"]);
    case.run(&format!("{EXPORT} --out gone/x.onnx")).fails(&["gone/x.onnx", "cannot be written"]);
    case.write("in/torn.safetensors", &case.read("in/tiny.safetensors")[..1000]);
    case.run("export --weights in/torn.safetensors").fails(&["in/torn.safetensors"]);
}

#[test]
fn bad_arguments_are_refused() {
    let case = Case::with_model();
    case.run(&format!("{EXPORT} --opset 11")).bad_arguments(&["--opset", "12..=20"]);
    case.run("export --weights in/tiny.safetensors --imgsz 640,480,3").bad_arguments(&["--imgsz"]);
    case.run(&format!("{EXPORT} --format engine")).bad_arguments(&["engine", "onnx"]);
    case.run(&format!("{EXPORT} --imgsz 16")).bad_arguments(&["--imgsz", "32..=8192"]);
    case.run(&format!("{EXPORT} --batch-size 0")).bad_arguments(&["--batch-size"]);
    case.run("export").bad_arguments(&["--weights"]);
}

/// As `unzip` leaves the archive that a `.pt` is.
#[test]
fn an_unpacked_checkpoint_is_read_where_its_file_is() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let case = Case::empty();
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&weights).unwrap()).unwrap();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let inside = name.split_once('/').unwrap().1;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        case.write(&format!("best/{inside}"), bytes);
    }
    case.run("export --weights best --imgsz 64").ok().shows(&["Saved best.onnx", "1 867 405 parameters"]);
    let weights = weights.to_str().unwrap();
    case.run_args(&["export", "--weights", weights, "--imgsz", "64"]).ok();
    assert!(case.read("best.onnx") == case.read("yolov5n.onnx"));
    let packed = case.run("info --weights best --json").ok().json()["model"].clone();
    assert!(packed["file_bytes"].as_u64().is_none_or(|bytes| bytes > 3_700_000), "{packed}");
    std::fs::remove_file(case.path("best/data/7")).unwrap();
    case.run("export --weights best --imgsz 64 --out torn.onnx").fails(&["best: `data/7`", "no such file"]);
    std::fs::remove_file(case.path("best/data.pkl")).unwrap();
    case.run("export --weights best").fails(&["best: it is a folder", ".pt or .safetensors"]);
}
