//! The command line itself: help, bad arguments, devices, pipes.

use std::io::Read;
use std::process::Stdio;

use crate::support::{Case, VAL};

#[test]
fn help_lists_the_flags_of_every_command() {
    let case = Case::empty();
    let outcome =
        case.run("--help").ok().shows(&["val", "prune", "coco-eval", "info", "Examples:", "Exit codes:"]);
    assert!(outcome.stderr.is_empty());
    let val = [
        "--weights",
        "--data",
        "--imgsz",
        "--batch-size",
        "--conf-thres",
        "--iou-thres",
        "--max-det",
        "--device",
        "--workers",
        "--half",
        "--save-json",
        "--save-txt",
        "--save-conf",
        "--project",
        "--name",
        "--exist-ok",
        "--single-cls",
        "--task",
        "--verbose",
        "--prune",
        "--prune-method",
        "--exclude",
        "--annotations",
        "--json",
    ];
    case.run("val --help").ok().shows(&val);
    case.run("prune --help").ok().shows(&[
        "--weights",
        "--amount",
        "--method",
        "--exclude",
        "--out",
        "--json",
    ]);
    case.run("coco-eval --help").ok().shows(&["--annotations", "--predictions", "--json"]);
    case.run("info --help").ok().shows(&["--weights", "--json"]);
    case.run("--version").ok().shows(&[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn arguments_out_of_range_are_refused_with_the_flag() {
    let case = Case::with_data();
    let prune = "prune --weights in/tiny.safetensors --out out.safetensors";
    for amount in ["1.5", "-0.1", "nan", "half"] {
        let outcome = case.run(&format!("{prune} --amount={amount}"));
        outcome.bad_arguments(&["--amount", amount, "between 0 and 1"]);
    }
    for (flag, value) in [("--conf-thres", "2"), ("--iou-thres", "-1"), ("--prune", "1.01")] {
        case.run(&format!("{VAL} {flag}={value}")).bad_arguments(&[flag, value, "between 0 and 1"]);
    }
    let val = "val --weights in/tiny.safetensors --data in/data/data.yaml";
    for flag in ["--imgsz=0", "--imgsz=99999", "--batch-size=0", "--max-det=0", "--workers=-1", "--imgsz=big"]
    {
        case.run(&format!("{val} {flag}")).bad_arguments(&[flag.split('=').next().unwrap()]);
    }
}

#[test]
fn unknown_flags_and_choices_are_refused() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --epoch 3")).bad_arguments(&["--epoch"]);
    case.run(&format!("{VAL} --task all")).bad_arguments(&["all", "val", "speed"]);
    case.run(&format!("{VAL} --prune 0.3 --prune-method tailor"))
        .bad_arguments(&["tailor", "layer", "global"]);
    case.run(&format!("{VAL} extra")).bad_arguments(&["extra"]);
    case.run("vall").bad_arguments(&["vall", "val"]);
    case.run("prune --weights in/tiny.safetensors --amount 0.3").bad_arguments(&["--out"]);
    case.run("info").bad_arguments(&["--weights"]);
    case.run("coco-eval --annotations a.json").bad_arguments(&["--predictions"]);
}

#[test]
fn flags_that_need_another_one_are_refused_without_it() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --prune-method global")).bad_arguments(&["--prune <AMOUNT>"]);
    case.run(&format!("{VAL} --exclude model.5")).bad_arguments(&["--prune <AMOUNT>"]);
}

#[test]
fn no_command_shows_the_help_and_fails() {
    let outcome = Case::empty().run_args(&[]);
    assert_eq!(outcome.code, Some(2));
    outcome.shows(&["Usage:", "coco-eval"]);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_in_a_cpu_build_names_the_feature_to_build_with() {
    let case = Case::with_data();
    for device in ["cuda:0", "cuda", "0"] {
        case.run(&format!("{VAL} --device {device}")).fails(&[
            "built without CUDA",
            "cargo build",
            "--features cuda",
        ]);
    }
}

#[cfg(not(feature = "tch"))]
#[test]
fn libtorch_in_a_build_without_it_names_the_feature_to_build_with() {
    let case = Case::with_data();
    for device in ["tch", "tch:cuda:0"] {
        case.run(&format!("{VAL} --device {device}")).fails(&["built without libtorch", "--features tch"]);
    }
}

#[test]
fn a_device_that_does_not_exist_is_refused_with_those_that_do() {
    let case = Case::with_data();
    for device in ["gpu", "cuda:x", "cpu:1"] {
        case.run(&format!("{VAL} --device {device}")).fails(&[device, "no device", "use cpu, flex, cuda:0"]);
    }
    case.run(&format!("{VAL} --device cpu")).ok();
}

#[test]
fn paths_with_spaces_and_letters_of_any_script_work() {
    let case = Case::with_data();
    let name = "mein Modell – größer 模型.safetensors";
    let args = ["prune", "--weights", "in/tiny.safetensors", "--amount", "0.3", "--out", name];
    assert_eq!(case.run_args(&args).ok().written, [name]);
    case.run_args(&["info", "--weights", name]).ok().shows(&[name]);
    case.run_args(&["info", "--weights", "kein Modell.pt"]).fails(&["kein Modell.pt: no such file"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let case = Case::with_model();
    let mut command = case.command();
    command.args(["info", "--weights", "in/tiny.safetensors"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
}

#[test]
fn a_validation_whose_reader_goes_away_keeps_its_results_or_fails() {
    let case = Case::with_data();
    let mut command = case.command();
    command.args(VAL.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let code = child.wait().unwrap().code();
    let has_results = case.path("runs/val/exp/results.json").exists();
    assert!(has_results || code != Some(0), "exit code 0 without results: {stderr}");
}

#[test]
fn any_number_of_workers_is_taken_or_refused() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --workers 0")).ok();
    let outcome = case.run(&format!("{VAL} --workers 100000"));
    if outcome.code != Some(0) {
        outcome.bad_arguments(&["--workers", "100000"]);
    }
}

#[test]
fn no_colour_and_no_progress_bar_reach_a_file() {
    let case = Case::with_data();
    case.write("in/data/labels/val/000002.txt", "bad");
    let outcome = case.run(VAL).ok();
    for text in [&outcome.stdout, &outcome.stderr] {
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    }
    assert!(!outcome.stderr.contains("Validating"), "{}", outcome.stderr);
}

#[test]
fn a_home_that_is_not_writable_costs_the_cache_only() {
    let case = Case::with_data();
    let home = case.write("file", "a file, not a folder");
    let mut command = case.command();
    command.args(VAL.split(' ')).env("XDG_CACHE_HOME", home.join("below"));
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let mut command = case.command();
    command.args(VAL.split(' ')).env_remove("XDG_CACHE_HOME").env_remove("HOME");
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}
