//! `prune --of ms`, `--at-most-ms` and the same of channels: times of this machine as a budget.
//!
//! What a machine takes cannot be asserted, so most tests put times of their own into the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Case;
use crate::training_support::trained;

const PRUNE: &str = "prune --weights in/tiny.safetensors --imgsz 64 --out out.safetensors";
const IMAGES: &str = "--calibration in/data/images/val";
const FINETUNE: &str = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 \
    --batch-size 8 --epochs 0";
/// Milliseconds of a convolution without zeros, and of what is no convolution, in the made-up times.
const EACH: f64 = 1.0;
const REST: f64 = 2.0;

/// Files in the cache of times.
fn cached(case: &Case) -> Vec<PathBuf> {
    let folder = case.path("cache/yolo-prune/times");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A case whose cache says that every convolution takes a millisecond less the share of its zeros.
fn with_made_up_times() -> Case {
    let case = Case::with_data();
    case.run(&format!("{PRUNE} --of ms --amount 0 {IMAGES}")).ok();
    let [file] = &cached(&case)[..] else { panic!("there is not one table of times") };
    make_up(file);
    case
}

fn make_up(file: &PathBuf) {
    let mut table: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let convs = table["convs"].as_object_mut().unwrap();
    let grid = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99];
    let names: Vec<String> = convs.keys().cloned().collect();
    for name in &names {
        assert_eq!(convs[name].as_array().unwrap().len(), grid.len(), "{name}");
        convs[name] = json!(grid.map(|zeros| EACH * (1.0 - zeros)));
    }
    table["whole"] = json!(REST + EACH * names.len() as f64);
    std::fs::write(file, table.to_string()).unwrap();
}

/// Zeros over weights of each convolution.
fn sparsities(account: &Value) -> BTreeMap<String, f64> {
    let layers = account["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| (layer["name"].as_str().unwrap().to_owned(), layer["sparsity"].as_f64().unwrap()))
        .collect()
}

/// What the network takes by the made-up times.
fn made_up_time(account: &Value) -> f64 {
    REST + sparsities(account).values().map(|zeros| EACH * (1.0 - zeros.min(0.99))).sum::<f64>()
}

fn figures(account: &Value, key: &str) -> [f64; 2] {
    [0, 1].map(|at| account["milliseconds"][key][at].as_f64().unwrap())
}

#[test]
fn a_share_of_the_time_goes_and_the_account_says_so() {
    let case = with_made_up_times();
    let methods = [
        IMAGES.to_owned(),
        format!("{IMAGES} --method sensitivity"),
        format!("{IMAGES} --method wanda"),
        "--method layer".to_owned(),
        "--method global".to_owned(),
        "--method erk --exclude model.0".to_owned(),
        "--method lamp --max-sparsity 0.8".to_owned(),
    ];
    for flags in methods {
        let account = case.run(&format!("{PRUNE} --of ms --amount 0.3 {flags} --json")).ok().json();
        let [before, after] = figures(&account, "predicted");
        assert!((before - REST - EACH * sparsities(&account).len() as f64).abs() < 1e-9, "{flags}");
        assert!((after - made_up_time(&account)).abs() < 1e-9, "{flags}: {after}");
        assert!(after <= 0.7 * before + 1e-9, "{flags}: {before} {after}");
        assert!(after > 0.66 * before, "{flags}: much more went than was asked for: {before} {after}");
        assert!(figures(&account, "measured").iter().all(|ms| *ms > 0.0 && *ms < 1e3), "{flags}");
        let info = case.run("info --weights out.safetensors --json").ok().json();
        assert_eq!(info["pruning"]["unit"], "milliseconds", "{flags}");
        assert!((info["pruning"]["amount"].as_f64().unwrap() - 0.3).abs() < 1e-9, "{flags}");
    }
}

#[test]
fn a_limit_of_milliseconds_is_kept_and_the_table_shows_times() {
    let case = with_made_up_times();
    let outcome = case.run(&format!("{PRUNE} --at-most-ms 8.5 {IMAGES}")).ok();
    outcome.shows(&[
        "ms before",
        "Milliseconds: ",
        "measured as a whole",
        "64 px",
        "of the network's milliseconds",
    ]);
    let account = case.run(&format!("{PRUNE} --at-most-ms 8.5 {IMAGES} --json")).ok().json();
    let [before, after] = figures(&account, "predicted");
    assert!(before > 9.0 && after <= 8.5 + 1e-9 && after > 8.0, "{before} {after}");
    let slow = case.run(&format!("{PRUNE} --at-most-ms 500 {IMAGES} --json")).ok();
    let slow = slow.warns(&["takes", "nothing has to go for 500 ms"]).json();
    assert_eq!(slow["model"]["conv_zeros"], 0);
}

#[test]
fn what_no_pruning_reaches_is_refused_with_what_can_be_reached() {
    let case = with_made_up_times();
    for flags in [IMAGES, "--method layer"] {
        let outcome = case.run(&format!("{PRUNE} --at-most-ms 1 {flags}"));
        outcome.fails(&["1.000 ms are asked for, but 2.", "are left", "without zeros"]);
        let outcome = case.run(&format!("{PRUNE} --of ms --amount 0.5 --max-sparsity 0.2 {flags}"));
        outcome.fails(&["are asked for, but", "limits"]);
    }
}

#[test]
fn times_are_kept_for_the_threads_and_the_size() {
    let case = with_made_up_times();
    let before = |flags: &str| {
        let prune = PRUNE.replace("--imgsz 64", if flags.contains("--imgsz") { "" } else { "--imgsz 64" });
        let account = case.run(&format!("{prune} --of ms --amount 0 {IMAGES} --json {flags}")).ok().json();
        figures(&account, "predicted")[0]
    };
    let made_up = before("");
    assert!(made_up > REST, "{made_up}");
    assert_eq!(cached(&case).len(), 1);
    // Measured, not made up.
    assert_ne!(before("--imgsz 96"), made_up);
    assert_eq!(cached(&case).len(), 2);
    assert_ne!(before("--threads 1"), made_up);
    assert_eq!(cached(&case).len(), 3);
    assert_ne!(before("--no-cache"), made_up);
    assert_eq!(cached(&case).len(), 3);
    // What was measured anew is kept.
    assert_ne!(before(""), made_up);
    cached(&case)
        .iter()
        .for_each(|file| std::fs::write(file, "{\"whole\": 1, \"convs\": {\"a\": []}}").unwrap());
    assert!(before("") > 0.0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let case = Case::with_data();
    let prune = |flags: &str| case.run(&format!("{PRUNE} {flags}"));
    prune("--of ms --amount 0.3").fails(&["--calibration", "--method global"]);
    prune("--at-most-ms 20").fails(&["--calibration", "--method global"]);
    prune("--of ms --method global").fails(&["--amount is missing"]);
    prune("--at-most-ms 0").bad_arguments(&["--at-most-ms", "above 0"]);
    prune("--at-most-ms 20 --amount 0.3").bad_arguments(&["--at-most-ms", "--amount", "cannot be used with"]);
    prune("--at-most-ms 20 --of flops").bad_arguments(&["--at-most-ms", "--of", "cannot be used with"]);
    prune(&format!("--of ms --amount 0.3 --pattern 4x1 {IMAGES}")).fails(&[
        "single weights",
        "4x1",
        "pattern",
    ]);
    prune(&format!("--of ms --pattern 2:4 {IMAGES}")).fails(&["single weights", "2:4", "pattern"]);
    prune("--channels-at-most-ms 5 --amount 0.5").bad_arguments(&["--channels-at-most-ms", "--amount"]);
    prune("--channels-at-most-ms 5 --channels 0.5").bad_arguments(&["--channels-at-most-ms", "--channels"]);
    prune("--channels-at-most-ms=-1").bad_arguments(&["--channels-at-most-ms"]);
    assert!(cached(&case).is_empty(), "something was measured before it was refused");
}

#[test]
fn channels_go_until_the_time_is_met() {
    let case = Case::with_model();
    let prune = PRUNE.replace("--imgsz 64", "--imgsz 256 --round-to 2 --json");
    let account = case.run(&format!("{prune} --channels 0.15 --channels-of ms")).ok().json();
    let [before, after] = figures(&account, "predicted");
    assert!(after <= 0.85 * before && after > 0.0, "{before} {after}");
    let parameters = |which: &str| account["channels"][which]["parameters"].as_u64().unwrap();
    assert!(parameters("after") < parameters("before"));
    let files = cached(&case);
    assert_eq!(files.len(), 1, "{files:?}");
    let limit = 0.9 * before;
    let limited = case.run(&format!("{prune} --channels-at-most-ms {limit}")).ok().json();
    // The network is measured anew, with what else the machine does.
    let [_, after] = figures(&limited, "predicted");
    assert!(after <= limit, "{limit} {after}");
    let outcome = case.run(&format!("{prune} --channels-at-most-ms 0.000001"));
    outcome.fails(&["ms are asked for, but", "ask for less"]);
    let outcome =
        case.run(&format!("{prune} --channels 0.1 --channels-of ms --rounds 2").replace("--json", ""));
    outcome.ok().shows(&["Pruned 10% of the time", "Milliseconds: ", "256 px"]);
}

#[test]
fn fine_tuning_starts_from_a_network_that_meets_the_time() {
    let case = trained();
    let outcome = case.run(&format!("{FINETUNE} --at-most-ms 1000 --name slow")).ok();
    outcome.warns(&["nothing has to go for 1000 ms"]).shows(&["Milliseconds: "]);
    let summary = case.json("runs/prune-finetune/slow/summary.json");
    assert!(figures(&summary, "predicted")[0] > 0.0);
    assert_eq!(summary["recipe"]["prune"]["at_most_ms"], 1000.0);
    assert_eq!(summary["recipe"]["prune"]["allocation"], "sensitivity");
    let [file] = &cached(&case)[..] else { panic!("there is not one table of times") };
    make_up(file);
    case.write("in/recipe.yaml", "prune: {method: global, unit: ms, amount: 0.3}\n");
    case.run(&format!("{FINETUNE} --recipe in/recipe.yaml --name fast"))
        .ok()
        .shows(&["of the network's milliseconds"]);
    let summary = case.json("runs/prune-finetune/fast/summary.json");
    let [before, after] = figures(&summary, "predicted");
    assert!(after <= 0.7 * before + 1e-9 && after > 0.66 * before, "{before} {after}");
    case.write("in/recipe.yaml", "prune: {channels: {of: ms, amount: 0}}\n");
    let outcome = case.run(&format!("{FINETUNE} --recipe in/recipe.yaml --round-to 2")).ok();
    outcome.shows(&["Pruned 0% of the time"]);
}

#[test]
fn recipes_of_milliseconds_are_checked() {
    let case = trained();
    let cases: [(&str, &[&str]); 5] = [
        ("at_most_ms: -3", &["prune.at_most_ms: -3", "above 0"]),
        ("unit: seconds", &["in/recipe.yaml:2", "seconds"]),
        ("unit: ms\n  gradual_epochs: 1", &["prune.gradual_epochs", "milliseconds"]),
        ("at_most_ms: 5\n  structure: \"2:4\"", &["prune.structure", "single weights"]),
        ("channels: {at_most_ms: 0}", &["prune.channels.at_most_ms: 0", "above 0"]),
    ];
    for (keys, parts) in cases {
        case.write("in/recipe.yaml", format!("prune:\n  {keys}\nfinetune:\n  epochs: 2\n"));
        let finetune = FINETUNE.replace("--epochs 0", "");
        case.run(&format!("{finetune} --recipe in/recipe.yaml")).fails(parts);
    }
}
