//! `sweep`: the curve, point by point, and runs that are killed.

use serde_json::Value;

use crate::support::{Case, VAL};
#[cfg(unix)]
use crate::training_support::{shows, signal, start, wait, wait_until};

const SWEEP: &str = "sweep --weights in/tiny.safetensors --data in/data/data.yaml --imgsz 64";
const RUN: &str = "runs/sweep/exp";

/// The rows of `sweep.csv` without the seconds.
fn rows(case: &Case, run: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(case.read(&format!("{run}/sweep.csv"))).unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(|line| cells(line)[..10].to_vec()).collect()
}

#[test]
fn every_point_has_the_figures_of_val() {
    let case = Case::with_annotations();
    let outcome = case.run(&format!("{SWEEP} --amounts 0.3,0.6 --methods global,layer,global --json")).ok();
    let results = case.json(&format!("{RUN}/results.json"));
    assert_eq!(outcome.json(), results);
    let points = results["points"].as_array().unwrap();
    let names: Vec<(&str, f64)> =
        points.iter().map(|p| (p["method"].as_str().unwrap(), p["amount"].as_f64().unwrap())).collect();
    let expected = [("dense", 0.0), ("global", 0.3), ("global", 0.6), ("layer", 0.3), ("layer", 0.6)];
    assert_eq!(names, expected);
    for point in points {
        let (method, amount) = (point["method"].as_str().unwrap(), &point["amount"]);
        let prune = format!("--prune {amount} --prune-method {method}");
        let prune = if method == "dense" { String::new() } else { prune };
        let val = case.run(&format!("{VAL} {prune} --json")).ok().json();
        let close = |found: &Value, expected: &Value| {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((found - expected).abs() <= 5.1e-7, "{method} {amount}: {found}, in val {expected}");
        };
        for key in ["map", "map50", "precision", "recall"] {
            close(&point[key], &val["native"][key]);
        }
        close(&point["coco_ap"], &val["coco"]["ap"]);
        close(&point["sparsity"], &val["model"]["conv_sparsity"]);
        close(&point["gflops_nonzero"], &val["model"]["gflops_nonzero"]);
        assert_eq!(point["zeros"], val["model"]["conv_zeros"]);
    }
    assert!(points[4]["map"] != points[0]["map"], "pruning changes nothing");
    let csv = rows(&case, RUN);
    assert_eq!(csv.len(), 6);
    assert_eq!(csv[0][..3], ["method", "amount", "sparsity"]);
    assert_eq!(csv[3][1], "0.6");
    outcome.shows(&["needed", "another graph", "Report: runs/sweep/exp/report.html"]);
}

#[test]
fn the_page_draws_a_line_per_method_and_loads_nothing() {
    let case = Case::with_data();
    case.run(&format!("{SWEEP} --amounts 0.2:0.8:0.2")).ok();
    let page = String::from_utf8(case.read(&format!("{RUN}/report.html"))).unwrap();
    for loading in ["<script", "<link", "@import", "url(", "<iframe", "src="] {
        assert!(!page.contains(loading), "{loading}");
    }
    let chart = page.split("<section id=\"sparsity\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(chart.matches("<path class=\"line c1\"").count(), 2, "the line of `layer` and its key");
    assert_eq!(chart.matches("<path class=\"line c2\"").count(), 2, "the line of `global` and its key");
    assert_eq!(chart.matches("<path class=\"line c0 d0\"").count(), 2, "the level of the dense network");
    assert_eq!(chart.matches("<circle").count(), 10, "a dot per point, the dense one on both lines");
    assert!(chart.contains("<title>") && !chart.contains("NaN") && !chart.contains("inf"));
    assert!(page.contains("sweep --weights in/tiny.safetensors"), "the command");
    let table = page.split("<section id=\"points\"").nth(1).unwrap();
    assert_eq!(table.matches("<tr>").count(), 10, "titles and nine points");
}

#[test]
fn bad_input_is_named_before_anything_is_measured() {
    let case = Case::with_data();
    case.run(&format!("{SWEEP} --methods taylorr")).bad_arguments(&["taylorr", "layer", "global"]);
    for amounts in ["1", "0.1:0.9", "-0.1", "0.5:0.1:0.1", "half"] {
        case.run(&format!("{SWEEP} --amounts={amounts}")).bad_arguments(&["--amounts", amounts]);
    }
    case.run(&format!("{SWEEP} --exclude model.99")).fails(&["model.99"]);
    case.run(&format!("{SWEEP} --calibration nowhere")).fails(&["nowhere", "--calibration"]);
    case.run("sweep --weights none.pt --data in/data/data.yaml").fails(&["none.pt", "no such file"]);
    case.run("sweep --weights in/tiny.safetensors --data none.yaml").fails(&["none.yaml", "no such file"]);
    case.run(&format!("{SWEEP} --amounts 0.5 --methods layer --calibration in/data/images/val"))
        .ok()
        .warns(&["--calibration has no effect"]);
}

#[cfg(unix)]
#[test]
fn a_killed_sweep_goes_on_with_the_points_that_are_missing() {
    let case = Case::with_data();
    let sweep = format!("{SWEEP} --amounts 0.1:0.9:0.04 --project runs/sweep");
    case.run(&format!("{sweep} --name reference")).ok();
    let mut child = start(&case, &format!("{sweep} --name a"), "log");
    let csv = case.path("runs/sweep/a/sweep.csv");
    assert!(wait_until(&mut child, || shows(&csv, "layer,0.18,")));
    child.kill().unwrap();
    child.wait().unwrap();
    let before = String::from_utf8(case.read("runs/sweep/a/sweep.csv")).unwrap();
    assert!(before.lines().count() < 43 && !case.path("runs/sweep/a/results.json").exists());
    // The newest that is not done; the reference is.
    case.run("sweep --resume").ok().shows(&["Report: runs/sweep/a/report.html"]);
    assert_eq!(rows(&case, "runs/sweep/a"), rows(&case, "runs/sweep/reference"));
    let after = String::from_utf8(case.read("runs/sweep/a/sweep.csv")).unwrap();
    assert!(after.starts_with(&before), "finished points were measured again");
    let page = |run: &str| {
        let page = String::from_utf8(case.read(&format!("runs/sweep/{run}/report.html"))).unwrap();
        let page = page.split("<p>Created").next().unwrap().to_owned();
        // Weights and data are remembered by paths that mean the same from everywhere.
        page.split("</header>").nth(1).unwrap().to_owned()
    };
    assert_eq!(page("a"), page("reference"));
    case.run("sweep --resume runs/sweep/a").fails(&["runs/sweep/a", "this run is done"]);
    case.run("sweep --resume").fails(&["runs/sweep", "no interrupted run"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_sweep_between_two_points() {
    let case = Case::with_data();
    let mut child = start(&case, &format!("{SWEEP} --amounts 0.1:0.9:0.02"), "log");
    let csv = case.path("runs/sweep/exp/sweep.csv");
    assert!(wait_until(&mut child, || shows(&csv, "layer,0.14,")));
    signal(&child, "-INT");
    let (code, log) = (wait(child), String::from_utf8(case.read("log")).unwrap());
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("interrupted and saved; `yolo-cli sweep --resume runs/sweep/exp` continues it"),
        "{log}"
    );
    assert_eq!(log.matches("error: ").count(), 1, "{log}");
    let saved = rows(&case, RUN);
    assert!(saved.len() < 83);
    case.run("sweep --resume runs/sweep/exp").ok();
    let all = rows(&case, RUN);
    assert_eq!((all.len(), &all[..saved.len()]), (84, &saved[..]));
}

#[test]
fn what_cannot_be_resumed_is_named() {
    let case = Case::with_data();
    case.run("sweep --resume nowhere").fails(&["nowhere: no such run"]);
    case.run(&format!("{SWEEP} --amounts 0.5 --methods layer")).ok();
    std::fs::remove_file(case.path("runs/sweep/exp/results.json")).unwrap();
    let csv = String::from_utf8(case.read("runs/sweep/exp/sweep.csv")).unwrap();
    case.write("runs/sweep/exp/sweep.csv", csv.replace("layer,0.5,", "layer,half,"));
    case.run("sweep --resume runs/sweep/exp").fails(&[
        "sweep.csv",
        "line 3 is not a valid point",
        "start the run again",
    ]);
    case.write("runs/sweep/exp/opt.yaml", "weights: [");
    case.run("sweep --resume runs/sweep/exp").fails(&["opt.yaml", "damaged"]);
}
