//! What a pruned network is compared with: the dense one of equal cost.

use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint};

use crate::support::{Case, VAL, shared};
use crate::training_support::trained;

/// A random network of a released size, with three classes.
fn random(case: &Case, size: &str) -> String {
    let architecture = Architecture::variant(size, Some(3)).unwrap();
    let checkpoint = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(0)).unwrap();
    let name = format!("in/{size}.safetensors");
    checkpoint.save(&case.path(&name), FloatFormat::F32).unwrap();
    name
}

#[test]
fn a_network_that_is_not_a_released_size_gets_its_costs_only() {
    let case = trained();
    let finetune = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64";
    let outcome = case.run(&format!("{finetune} --batch-size 8 --amount 0.5 --epochs 1 --json")).ok();
    let summary = outcome.json();
    let verdict = &summary["verdict"];
    assert_eq!((verdict["outcome"].as_str(), verdict["stock"].as_str()), (Some("unknown"), None));
    let model = |stage: usize| &summary["stages"][stage]["model"];
    assert_eq!(verdict["gflops"][0], model(0)["gflops"]);
    assert_eq!(verdict["gflops"][1], model(2)["gflops_nonzero"]);
    assert_eq!(model(0)["gflops"], model(0)["gflops_nonzero"]);
    assert!(model(1)["gflops_nonzero"].as_f64() < model(1)["gflops"].as_f64());
    outcome.shows(&["GFLOPs (non-zero)", "Cost: ", "another graph", "Zeros are skipped here"]);
    let page = String::from_utf8(case.read("runs/prune-finetune/exp/report.html")).unwrap();
    let conclusion = page.split("class=\"conclusion\">").nth(1).unwrap();
    assert!(conclusion.contains("GFLOPs without multiplications by zero"), "{conclusion}");
    assert!(page.contains("GFLOPs (non-zero)"));
}

#[test]
fn a_back_end_that_computes_with_zeros_says_so() {
    let case = trained();
    let finetune = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64";
    let outcome = case.run(&format!("{finetune} --batch-size 8 --amount 0.5 --epochs 0 --device flex")).ok();
    outcome.shows(&["zeros: no gain", "this back end computes with zeros as with other numbers"]);
}

#[test]
fn val_and_prune_say_how_much_has_to_be_kept() {
    let case = Case::with_data();
    let weights = random(&case, "yolov5n");
    let val = VAL.replace("in/tiny.safetensors", &weights);
    // Every convolution loses half, so it is half of 4.5, whatever the classes, and the enlarged maps.
    let expected =
        ["a dense YOLOv5 of 2.3 GFLOPs", "extrapolated below yolov5n", "keeps more than 82 % of the mAP"];
    let outcome = case.run(&format!("{val} --prune 0.5")).ok().shows(&expected);
    assert!(outcome.stdout.lines().last().unwrap().starts_with("Results saved"));
    case.run(&format!("prune --weights {weights} --amount 0.5 --out out.safetensors")).ok().shows(&expected);
    let dense = case.run(&val).ok();
    assert!(!dense.stdout.contains("Equal cost"), "{}", dense.stdout);
}

#[test]
fn times_of_released_networks_are_checked() {
    let case = Case::empty();
    for (value, part) in
        [("yolov5n", "NAME=MS"), ("yolov9=3", "yolov9 is not one of"), ("yolov5n=fast", "fast")]
    {
        case.run(&format!("prune-finetune --latency {value}")).bad_arguments(&["--latency", part]);
    }
}

#[test]
fn the_released_network_is_recognised_and_judged() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let Some(data) = shared("data/coco-tiny/coco-tiny.yaml") else { return };
    let case = Case::empty();
    let paths = ["prune-finetune", "--weights", weights.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let more = ["--imgsz", "160", "--epochs", "0", "--amount", "0.5", "--method", "global", "--json"];
    let times = ["--latency", "yolov5n=20,yolov5s=60"];
    let outcome = case.run_args(&[&paths[..], &more, &times].concat()).ok();
    let summary = outcome.json();
    let verdict = &summary["verdict"];
    assert_eq!(verdict["stock"], "yolov5n");
    // One-shot pruning of half by magnitude loses more than a third of the mAP; the dense network of this cost a fifth.
    assert_eq!(verdict["outcome"], "does-not-pay", "{verdict}");
    let map = |stage: usize| summary["stages"][stage]["native"]["map"].as_f64().unwrap();
    let estimate = verdict["estimated_map"].as_f64().unwrap();
    assert!((estimate - map(2) / map(0) * 28.0).abs() < 1e-9);
    outcome.shows(&["on 80 images; of yolov5n's 28.0", "Equal time: ", "Pruning does not pay here"]);
    let page = String::from_utf8(case.read("runs/prune-finetune/exp/report.html")).unwrap();
    assert!(page.split("class=\"verdict\">").nth(1).unwrap().contains("Pruning does not pay here"));
}
