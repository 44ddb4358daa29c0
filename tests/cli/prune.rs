//! `prune`, and its agreement with `val --prune`.

use serde_json::Value;

use crate::support::{Case, VAL, keys, native_figures};

const PRUNE: &str = "prune --weights in/tiny.safetensors --out out.safetensors";

/// The convolutions of a checkpoint, as `info --json` counts them.
fn layers(case: &Case, weights: &str) -> Vec<Value> {
    let info = case.run(&format!("info --weights {weights} --json")).ok().json();
    info["layers"].as_array().unwrap().clone()
}

fn count(layer: &Value, key: &str) -> u64 {
    layer[key].as_u64().unwrap()
}

/// The number of weights that go: halves are rounded to even.
fn share(amount: f64, weights: u64) -> u64 {
    (amount * weights as f64).round_ties_even() as u64
}

#[test]
fn each_convolution_loses_exactly_its_share() {
    let case = Case::with_model();
    for amount in [0.0, 0.1, 0.3, 0.5, 0.9] {
        let account = case.run(&format!("{PRUNE} --amount {amount} --json")).ok().json();
        let pruned = layers(&case, "out.safetensors");
        for layer in &pruned {
            assert_eq!(count(layer, "zeros"), share(amount, count(layer, "weights")), "{amount} {layer}");
        }
        assert_eq!(account["layers"].as_array().unwrap(), &pruned);
        let zeros: u64 = pruned.iter().map(|layer| count(layer, "zeros")).sum();
        assert_eq!(count(&account["model"], "conv_zeros"), zeros);
    }
}

#[test]
fn all_convolutions_together_lose_exactly_their_share() {
    let case = Case::with_model();
    for amount in [0.0, 0.123, 0.3, 0.9] {
        case.run(&format!("{PRUNE} --amount {amount} --method global")).ok();
        let pruned = layers(&case, "out.safetensors");
        let sum = |key: &str| pruned.iter().map(|layer| count(layer, key)).sum::<u64>();
        assert_eq!(sum("zeros"), share(amount, sum("weights")), "{amount}");
    }
}

#[test]
fn what_is_excluded_keeps_its_weights_and_is_listed() {
    let case = Case::with_model();
    let excluded = |name: &str| name.starts_with("model.5.") || name.ends_with(".cv2");
    for method in ["layer", "global"] {
        let args = format!("{PRUNE} --amount 0.5 --method {method} --exclude model.5 --exclude *.cv2 --json");
        let outcome = case.run(&args).ok();
        let account = outcome.json();
        let mut n_excluded = 0;
        for layer in layers(&case, "out.safetensors") {
            let name = layer["name"].as_str().unwrap();
            if excluded(name) {
                n_excluded += 1;
                assert_eq!(count(&layer, "zeros"), 0, "{name}");
            } else if method == "layer" {
                assert_eq!(count(&layer, "zeros"), share(0.5, count(&layer, "weights")), "{name}");
            }
        }
        let skipped = account["skipped"].as_array().unwrap();
        assert_eq!(skipped.len(), n_excluded);
        assert!(
            skipped.iter().all(|s| s["reason"].as_str().unwrap().starts_with("excluded by")),
            "{account}"
        );
        outcome.shows(&["excluded by \"model.5\"", "excluded by \"*.cv2\""]);
    }
}

#[test]
fn the_console_shows_every_convolution_and_the_sparsity() {
    let case = Case::with_model();
    let outcome = case.run(&format!("{PRUNE} --amount 0.3")).ok();
    let outcome =
        outcome.shows(&["convolution", "model.2.m.0.cv1", "8×3×3×3", "Pruned 30% of each convolution"]);
    outcome.shows(&["global sparsity", "Saved out.safetensors"]);
    let account = case.run(&format!("{PRUNE} --amount 0.3 --json")).ok().json();
    assert_eq!(keys(&account), ["layers", "model", "schema", "skipped"]);
    assert_eq!(account["model"]["weights"], "out.safetensors");
    let size = std::fs::metadata(case.path("out.safetensors")).unwrap().len();
    assert_eq!(count(&account["model"], "file_bytes"), size);
}

#[test]
fn the_pruned_file_remembers_how_it_was_pruned() {
    let case = Case::with_model();
    case.run(&format!("{PRUNE} --amount 0.3 --method global --exclude model.5")).ok();
    let info = case.run("info --weights out.safetensors --json").ok().json();
    assert_eq!((&info["pruning"]["method"], &info["pruning"]["amount"]), (&"global".into(), &0.3.into()));
    assert_eq!(info["pruning"]["pruned"], info["model"]["conv_zeros"]);
    assert_eq!(info["classes"], serde_json::json!(["red", "green", "blue"]));
    case.run("info --weights out.safetensors").ok().shows(&["Pruning: "]);
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    let case = Case::with_model();
    for flags in ["--amount 0.3", "--amount 0.3 --method global --half", "--amount 0.6 --fuse --rank unfused"]
    {
        case.run(&format!("{PRUNE} {flags}")).ok();
        let first = case.read("out.safetensors");
        case.run(&format!("{PRUNE} {flags}")).ok();
        assert!(first == case.read("out.safetensors"), "{flags}");
    }
}

#[test]
fn half_precision_and_fusing_keep_every_zero() {
    let case = Case::with_model();
    case.run(&format!("{PRUNE} --amount 0.3")).ok();
    let plain = layers(&case, "out.safetensors");
    let plain_bytes = case.read("out.safetensors").len();
    for flags in ["--fuse", "--fuse --half", "--half"] {
        case.run(&format!("{PRUNE} --amount 0.3 {flags}")).ok();
        assert_eq!(layers(&case, "out.safetensors"), plain, "{flags}");
    }
    assert!(case.read("out.safetensors").len() < plain_bytes * 2 / 3);
    let fused = case.run("info --weights out.safetensors --fuse --json").ok().json();
    assert_eq!(fused["layers"].as_array().unwrap(), &plain);
}

/// `val --prune A` and `prune` followed by `val` have to give the same counts and figures.
fn assert_both_ways_agree(method: &str) {
    let case = Case::with_data();
    let prune = format!("--prune 0.3 --prune-method {method} --name direct");
    let direct = case.run(&format!("{VAL} {prune} --json")).ok().json();
    case.run(&format!("{PRUNE} --amount 0.3 --method {method}")).ok();
    let val = VAL.replace("in/tiny.safetensors", "out.safetensors");
    let stored = case.run(&format!("{val} --name stored --json")).ok().json();
    for key in ["conv_zeros", "zeros", "parameters", "conv_weights", "sparsity", "layers", "gflops"] {
        assert_eq!(direct["model"][key], stored["model"][key], "{key}");
    }
    assert_eq!(direct["native"], stored["native"]);
    assert!(count(&direct["model"], "conv_zeros") > 0);
    let dense = case.run(&format!("{VAL} --name dense --json")).ok().json();
    assert!(native_figures(&dense) != native_figures(&direct), "pruning made no difference: {dense}");
}

#[test]
fn val_with_pruning_is_val_of_the_pruned_file() {
    assert_both_ways_agree("layer");
    assert_both_ways_agree("global");
}

#[test]
fn val_prunes_with_exclusions_and_says_what_stayed() {
    let case = Case::with_data();
    let args = format!("{VAL} --prune 0.5 --prune-method layer --exclude model.5 --json");
    let outcome =
        case.run(&args).ok().shows(&["Pruned 50% of each convolution", "model.5.m.0.weight was not pruned"]);
    let results = outcome.json();
    case.run(&format!("{PRUNE} --amount 0.5 --exclude model.5")).ok();
    let zeros: u64 = layers(&case, "out.safetensors").iter().map(|layer| count(layer, "zeros")).sum();
    assert_eq!(count(&results["model"], "conv_zeros"), zeros);
}

#[test]
fn a_network_with_hardly_a_weight_is_measured_and_one_without_is_refused() {
    let case = Case::with_data();
    let results = case.run(&format!("{VAL} --prune 0.999 --json")).ok().json();
    assert!(results["model"]["conv_sparsity"].as_f64().unwrap() > 0.9);
    case.run(&format!("{VAL} --prune 1")).fails(&["--amount 1", "below 1"]);
    case.run(&format!("{PRUNE} --amount 1")).fails(&["--amount 1", "below 1"]);
}

#[test]
fn a_pattern_that_means_nothing_is_refused_with_an_example() {
    let case = Case::with_data();
    let parts = ["\"model.99\"", "matches no convolution", "model.0"];
    case.run(&format!("{PRUNE} --amount 0.3 --exclude model.99")).fails(&parts);
    case.run(&format!("{VAL} --prune 0.3 --exclude model.99")).fails(&parts);
    case.run(&format!("{PRUNE} --amount 0.3 --exclude *")).fails(&["exclude every convolution"]);
}

#[test]
fn the_ending_says_the_format() {
    let case = Case::with_model();
    for out in ["out.onnx", "out", "out.safetensors.bak"] {
        let outcome = case.run(&format!("prune --weights in/tiny.safetensors --amount 0.3 --out {out}"));
        outcome.fails(&[&format!("{out}: "), "must end in .safetensors"]);
    }
}

#[test]
fn the_input_is_never_overwritten() {
    let case = Case::with_model();
    let link = case.path("link.safetensors");
    let mut outs = vec!["in/tiny.safetensors", "in/../in/./tiny.safetensors"];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(case.path("in/tiny.safetensors"), &link).unwrap();
        outs.push(link.to_str().unwrap());
    }
    for out in outs {
        let outcome = case.run(&format!("prune --weights in/tiny.safetensors --amount 0.3 --out {out}"));
        outcome.fails(&[out, "--out is the checkpoint", "never changed"]);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_an_old_file_is_kept() {
    let case = Case::with_model();
    case.write("file", "a file, not a folder");
    case.write("old.safetensors/keep", "a folder, not a file");
    let run = |out: &str| case.run(&format!("prune --weights in/tiny.safetensors --amount 0.3 --out {out}"));
    run("gone/out.safetensors").fails(&["gone/out.safetensors", "; "]);
    run("file/out.safetensors").fails(&["file/out.safetensors", "; "]);
    run("old.safetensors").fails(&["old.safetensors", "folder", "name a file inside it"]);
    case.write("kept.safetensors", "old content");
    case.run("prune --weights in/tiny.safetensors --amount 0.3 --exclude nothing --out kept.safetensors")
        .fails(&["\"nothing\""]);
    assert_eq!(case.read("kept.safetensors"), b"old content");
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_keeps_the_old_file() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::with_model();
    case.write("locked/out.safetensors", "old content");
    let folder = case.path("locked");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(folder.join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write anywhere");
        return;
    }
    case.run("prune --weights in/tiny.safetensors --amount 0.3 --out locked/out.safetensors")
        .fails(&["locked/out.safetensors", "; "]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(case.read("locked/out.safetensors"), b"old content");
}

#[test]
fn an_old_file_is_replaced_as_a_whole() {
    let case = Case::with_model();
    case.write("out.safetensors", vec![7; 1 << 20]);
    let outcome = case.run(&format!("{PRUNE} --amount 0.3")).ok();
    assert_eq!(outcome.written, ["out.safetensors"]);
    case.run("info --weights out.safetensors").ok();
}
