//! `prune-finetune`: stages, counts, report, recipes.

use serde_json::Value;
use yolo_model::Checkpoint;

use crate::support::{Case, keys};
use crate::training_support::{all_load, conv_zeros, files, trained};

/// On the trained detector, without what differs between tests.
const FINETUNE: &str =
    "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 --batch-size 8";

fn summary(case: &Case, run: &str) -> Value {
    case.json(&format!("{run}/summary.json"))
}

fn stages(summary: &Value) -> [&Value; 3] {
    let stages: Vec<&Value> = summary["stages"].as_array().unwrap().iter().collect();
    stages.try_into().unwrap()
}

fn conv(stage: &Value, key: &str) -> u64 {
    stage["model"][key].as_u64().unwrap()
}

fn fitness(stage: &Value) -> f64 {
    let figure = |key: &str| stage["native"][key].as_f64().unwrap();
    0.1 * figure("map50") + 0.9 * figure("map")
}

/// Asserts that exactly the share `amount` is zero: in the figures of both stages, in the files, after loading,
/// and after fusing.
fn assert_zeros(case: &Case, run: &str, amount: f64) {
    let summary = summary(case, run);
    let [baseline, pruned, finetuned] = stages(&summary);
    let expected = (amount * conv(baseline, "conv_weights") as f64).round_ties_even() as u64;
    assert_eq!(conv(baseline, "conv_zeros"), 0);
    assert_eq!((conv(pruned, "conv_zeros"), conv(finetuned, "conv_zeros")), (expected, expected));
    for file in ["pruned", "finetuned"] {
        assert_eq!(conv_zeros(case, &format!("{run}/weights/{file}.safetensors")), expected, "{file}");
    }
}

#[test]
fn three_stages_are_measured_and_compared() {
    let case = trained();
    let outcome = case.run(&format!("{FINETUNE} --amount 0.7 --epochs 6 --json")).ok();
    let run = "runs/prune-finetune/exp";
    let summary = summary(&case, run);
    assert_eq!(outcome.json(), summary, "--json is not summary.json");
    assert_eq!(summary["schema"], 1);
    let [baseline, pruned, finetuned] = stages(&summary);
    for (stage, name) in [(baseline, "baseline"), (pruned, "pruned"), (finetuned, "finetuned")] {
        assert_eq!(stage["stage"], name);
        for key in ["model", "data", "native", "coco", "speed_ms"] {
            assert!(stage.get(key).is_some(), "{name} has no {key}");
        }
        let native = ["map", "map50", "per_class", "precision", "precision_at_recall", "recall"];
        assert_eq!(keys(&stage["native"]), native);
        assert_eq!((&stage["data"]["images"], &stage["data"]["imgsz"]), (&12.into(), &64.into()));
        assert!(stage["coco"].is_null(), "there are no annotations");
        assert_eq!(stage["model"]["parameters"], baseline["model"]["parameters"]);
    }
    let recipe = &summary["recipe"];
    assert_eq!((&recipe["prune"]["amount"], &recipe["finetune"]["epochs"]), (&0.7.into(), &6.into()));
    assert_eq!(summary["epochs"].as_array().unwrap().len(), 6);
    assert_zeros(&case, run, 0.7);
    let fitness = stages(&summary).map(fitness);
    assert!(fitness[0] > 0.2, "the baseline has learned nothing: {fitness:?}");
    assert!(fitness[1] < fitness[0], "pruning costs nothing: {fitness:?}");
    assert!(fitness[2] > fitness[1], "fine-tuning brings nothing: {fitness:?}");
    // The same network has the same figures in `val`.
    let val = format!("val --weights {run}/weights/finetuned.safetensors --data in/squares/data.yaml");
    let val = case.run(&format!("{val} --imgsz 64 --batch-size 8 --json")).ok().json();
    assert_eq!(val["native"], finetuned["native"]);
    all_load(&case, run);
    let names: Vec<String> = files(&case, run).into_keys().collect();
    let expected = ["opt.yaml", "recipe.yaml", "report.html", "results.csv", "summary.json"];
    let weights = ["best", "finetuned", "last", "pruned"].map(|name| format!("weights/{name}.safetensors"));
    assert_eq!(names, [&expected.map(str::to_owned)[..], &weights[..]].concat());
}

#[test]
fn the_table_and_the_way_on_are_printed() {
    let case = trained();
    let outcome = case.run(&format!("{FINETUNE} --amount 0.3 --epochs 1")).ok();
    let parts =
        ["baseline", "pruned", "finetuned", "change", "mAP50-95", "Zero convolution weights", "GFLOPs"];
    let outcome = outcome.shows(&parts).shows(&["Pruned 30%", "Kept: ", "ms per image", "distill"]);
    let outcome =
        outcome.shows(&["Report:  runs/prune-finetune/exp/report.html", "Weights: runs/prune-finetune/exp/"]);
    // Every stage was timed in turns with the others, and the row has the spread.
    let summary = case.json("runs/prune-finetune/exp/summary.json");
    let row = outcome.stdout.lines().find(|line| line.contains("ms per image  ")).unwrap();
    for stage in summary["stages"].as_array().unwrap() {
        let turns = |key: &str| stage["turns"][key].as_f64().unwrap();
        let (fast, median, slow) = (turns("fast"), turns("median"), turns("slow"));
        assert!(0.0 < fast && fast <= median && median <= slow, "{stage}");
        assert_eq!(stage["speed_ms"]["inference"], median);
        assert!(row.contains(&format!("{median:.1} ({fast:.1}–{slow:.1})")), "{row}");
    }
}

#[test]
fn the_report_is_one_file_with_six_images() {
    let case = trained();
    case.run(&format!("{FINETUNE} --amount 0.5 --epochs 2")).ok();
    let page = String::from_utf8(case.read("runs/prune-finetune/exp/report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    let sources: Vec<&str> = page.split("src=\"").skip(1).collect();
    assert!(sources.iter().all(|source| source.starts_with("data:")), "it loads something");
    let hrefs = page.split("href=\"").skip(1);
    assert!(hrefs.clone().all(|href| href.starts_with("data:image") || href.starts_with('#')));
    let images: std::collections::BTreeSet<&str> =
        page.split('"').filter(|part| part.starts_with("data:image/jpeg;base64,")).collect();
    assert_eq!(images.len(), 6, "images in the report");
    for loading in ["<script", "<link", "@import", "url(", "<iframe"] {
        assert!(!page.contains(loading), "{loading}");
    }
    // The only addresses are names of XML.
    let addresses = page.match_indices("http").map(|(at, _)| &page[at..(at + 40).min(page.len())]);
    assert!(
        addresses.clone().all(|a| a.starts_with("http://www.w3.org/")),
        "{:?}",
        addresses.collect::<Vec<_>>()
    );
    for part in ["baseline", "pruned", "finetuned", "mAP50-95", "yolo-cli prune-finetune"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn without_epochs_it_only_prunes() {
    let case = trained();
    case.run(&format!("{FINETUNE} --amount 0.5 --epochs 0")).ok().shows(&["Kept: the pruned network"]);
    let run = "runs/prune-finetune/exp";
    assert_zeros(&case, run, 0.5);
    let summary = summary(&case, run);
    let [_, pruned, finetuned] = stages(&summary);
    assert!(fitness(finetuned) >= fitness(pruned));
    assert!(summary["epochs"].as_array().unwrap().is_empty());
    case.run(&format!("{FINETUNE} --amount 0.5 --epochs 0 --no-reestimate --name plain")).ok();
    let summary = self::summary(&case, "runs/prune-finetune/plain");
    let [_, pruned, finetuned] = stages(&summary);
    assert_eq!(finetuned["native"], pruned["native"], "nothing was done, but the figures differ");
    assert_eq!(summary["kept"], "the pruned network as it was");
}

#[test]
fn fine_tuning_that_harms_is_not_kept() {
    let case = trained();
    // A rate at which nothing survives.
    case.run(&format!("{FINETUNE} --amount 0.3 --method global --epochs 2 --lr0 1 --no-distill")).ok();
    let summary = summary(&case, "runs/prune-finetune/exp");
    let [_, pruned, finetuned] = stages(&summary);
    assert!(fitness(finetuned) >= fitness(pruned), "{} < {}", fitness(finetuned), fitness(pruned));
    let after: Vec<f64> = summary["epochs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["validation"]["map"].as_f64().unwrap())
        .collect();
    assert!(
        after.iter().all(|map| *map < pruned["native"]["map"].as_f64().unwrap()),
        "it harmed nothing: {after:?}"
    );
    assert!(summary["kept"].as_str().unwrap().starts_with("the pruned network"), "{}", summary["kept"]);
    assert_zeros(&case, "runs/prune-finetune/exp", 0.3);
}

#[test]
fn gradual_pruning_ends_with_the_exact_amount() {
    let case = trained();
    case.run(&format!("{FINETUNE} --amount 0.6 --epochs 4 --gradual 2")).ok();
    let run = "runs/prune-finetune/exp";
    assert_zeros(&case, run, 0.6);
    let summary = summary(&case, run);
    let pruned: Vec<u64> =
        summary["epochs"].as_array().unwrap().iter().map(|epoch| epoch["pruned"].as_u64().unwrap()).collect();
    let all = conv(stages(&summary)[1], "conv_zeros");
    assert!(0 < pruned[0] && pruned[0] < all, "{pruned:?}");
    assert_eq!(pruned[1..], [all; 3]);
}

#[test]
fn methods_and_exclusions_are_those_of_prune() {
    let case = trained();
    let load = |file: &str| Checkpoint::load(&case.path(file)).unwrap().weights;
    for flags in [
        "--method layer --rank unfused",
        "--method layer --rank fused",
        "--method global --rank unfused --exclude model.5",
    ] {
        case.run(&format!("{FINETUNE} --amount 0.35 --epochs 1 {flags} --name run --exist-ok")).ok();
        case.run(&format!(
            "prune --weights in/trained.safetensors --amount 0.35 {flags} --out p.safetensors"
        ))
        .ok();
        let run = "runs/prune-finetune/run/weights";
        assert!(load("p.safetensors") == load(&format!("{run}/pruned.safetensors")), "{flags}");
        let zeros = conv_zeros(&case, "p.safetensors");
        assert_eq!(conv_zeros(&case, &format!("{run}/finetuned.safetensors")), zeros, "{flags}");
    }
}

#[test]
fn a_recipe_is_obeyed_and_flags_win_over_it() {
    let case = trained();
    let recipe = "prune:\n  method: layer\n  amount: 0.25\n  exclude: [model.5]\nfinetune:\n  epochs: 3\n  \
        batch_size: 4\n  image_size: 64\n  optimizer: AdamW\n  decay: linear\n  lr0: 0.001\n  distillation: null\n";
    case.write("in/recipe.yaml", recipe);
    let command =
        "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --recipe in/recipe.yaml";
    case.run(command).ok();
    let first = summary(&case, "runs/prune-finetune/exp");
    let recipe = &first["recipe"];
    assert_eq!((&recipe["prune"]["method"], &recipe["prune"]["amount"]), (&"layer".into(), &0.25.into()));
    assert_eq!(
        (&recipe["finetune"]["optimizer"], &recipe["finetune"]["lr0"]),
        (&"AdamW".into(), &0.001.into())
    );
    assert!(recipe["finetune"]["distillation"].is_null());
    assert_eq!(first["epochs"].as_array().unwrap().len(), 3);
    assert_eq!(first["epochs"][0]["distillation"], 0.0);
    case.run(&format!("{command} --amount 0.5 --epochs 1 --batch-size 8 --lr0 0.002 --method global")).ok();
    let second = summary(&case, "runs/prune-finetune/exp2");
    let (prune, finetune) = (&second["recipe"]["prune"], &second["recipe"]["finetune"]);
    assert_eq!((&prune["amount"], &prune["method"]), (&0.5.into(), &"global".into()));
    assert_eq!((&finetune["epochs"], &finetune["batch_size"]), (&1.into(), &8.into()));
    assert_eq!(finetune["lr0"], 0.002);
    // What the run wrote down can be used as a recipe again, to the same weights.
    case.write("in/again.yaml", case.read("runs/prune-finetune/exp2/recipe.yaml"));
    case.run(&command.replace("in/recipe.yaml", "in/again.yaml")).ok();
    let weights = |run: &str| case.read(&format!("runs/prune-finetune/{run}/weights/finetuned.safetensors"));
    assert!(weights("exp3") == weights("exp2"));
}

#[test]
fn recipes_that_mean_nothing_are_named_with_their_line() {
    let case = trained();
    let cases: [(&str, &[&str]); 6] = [
        ("prune:\n  amounts: 0.5\n", &["in/recipe.yaml:2", "amounts"]),
        ("prune:\n  amount: 1.5\n", &["in/recipe.yaml", "prune.amount: 1.5 is not from 0 up to"]),
        ("prune:\n  amount: .nan\n", &["in/recipe.yaml", "prune.amount", "not from 0 up to"]),
        (
            "prune:\n  gradual_epochs: 5\nfinetune:\n  epochs: 3\n",
            &["in/recipe.yaml", "gradual_epochs", "3 epochs"],
        ),
        ("finetune:\n  batch_size: 0\n", &["in/recipe.yaml", "batch_size"]),
        ("finetune:\n  decay: exponential\n", &["in/recipe.yaml:2", "exponential"]),
    ];
    for (yaml, parts) in cases {
        case.write("in/recipe.yaml", yaml);
        case.run(&format!("{FINETUNE} --recipe in/recipe.yaml")).fails(parts);
    }
    case.run(&format!("{FINETUNE} --recipe none")).fails(&["none: no such file", "--recipe", "gradual-70"]);
    case.run(&format!("{FINETUNE} --epochs 2 --gradual 3")).fails(&["gradual", "2 epochs"]);
    case.run(&format!("{FINETUNE} --amount 1.5")).bad_arguments(&["--amount", "between 0 and 1"]);
    case.run(&format!("{FINETUNE} --exclude model.99")).fails(&["\"model.99\"", "matches no convolution"]);
    for lr0 in ["nan", "-1", "inf"] {
        let parts = ["finetune.lr0", "is not a learning rate"];
        case.run(&format!("{FINETUNE} --lr0={lr0} --epochs 1")).fails(&parts);
    }
}

#[test]
fn switches_turn_off_what_they_name() {
    let case = trained();
    let run = |name: &str, flags: &str| {
        case.run(&format!("{FINETUNE} --amount 0.5 --epochs 2 --name {name} {flags}")).ok();
        summary(&case, &format!("runs/prune-finetune/{name}"))
    };
    let plain = run("plain", "");
    assert!(plain["epochs"][0]["distillation"].as_f64().unwrap() > 0.0);
    assert_eq!(plain["recipe"]["finetune"]["reestimate_batch_norm"], true);
    let no_distill = run("no-distill", "--no-distill");
    assert!(no_distill["recipe"]["finetune"]["distillation"].is_null());
    assert_eq!(no_distill["epochs"][0]["distillation"], 0.0);
    let no_reestimate = run("no-reestimate", "--no-reestimate");
    assert_eq!(no_reestimate["recipe"]["finetune"]["reestimate_batch_norm"], false);
    assert!(!no_reestimate["kept"].as_str().unwrap().contains("batch statistics"));
}

#[test]
fn leftovers_of_another_run_in_the_folder_are_not_gone_on_from() {
    let case = trained();
    let args = format!("{FINETUNE} --amount 0.5 --epochs 1");
    case.run(&format!("{args} --name reference")).ok();
    let state = "runs/prune-finetune/used/weights/state.safetensors";
    case.write(state, "of a run that was killed");
    case.run(&format!("{args} --name used --exist-ok")).ok();
    let weights = |run: &str| case.read(&format!("runs/prune-finetune/{run}/weights/finetuned.safetensors"));
    assert!(weights("used") == weights("reference"));
}

#[test]
fn other_classes_than_the_networks_are_refused() {
    let case = trained();
    case.write("in/two.yaml", "path: squares\ntrain: images/train\nval: images/val\nnames: [a, b, c, d]\n");
    let args = FINETUNE.replace("in/squares/data.yaml", "in/two.yaml");
    case.run(&args).fails(&["in/trained.safetensors has 3 classes", "in/two.yaml has 4"]);
}
