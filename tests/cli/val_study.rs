//! `--task study`, and `--task speed` of several weights.

use serde_json::json;

use crate::support::{Case, VAL};

/// With a copy of the model.
fn two_models() -> Case {
    let case = Case::with_data();
    let model = case.read("in/tiny.safetensors");
    case.write("in/more/tiny.safetensors", &model);
    case
}

const TWO: &str = "val --weights in/tiny.safetensors in/more/tiny.safetensors --data in/data/data.yaml";

#[test]
fn a_study_measures_every_network_at_every_size() {
    let case = two_models();
    let outcome = case.run(&format!("{TWO} --task study --study-sizes 64,96 --json")).ok();
    let results = outcome.json();
    assert_eq!(results, case.results());
    for (line, weights) in
        results["study"].as_array().unwrap().iter().zip(["in/tiny.safetensors", "in/more/tiny.safetensors"])
    {
        assert_eq!(line["weights"], weights);
        let sizes: Vec<_> = line["points"].as_array().unwrap().iter().map(|p| p["imgsz"].clone()).collect();
        assert_eq!(sizes, [json!(64), json!(96)]);
    }
    let plain = case.run(&format!("{VAL} --json")).ok().json();
    let first = &results["study"][0]["points"][0];
    for key in ["precision", "recall", "map50", "map"] {
        assert_eq!(first[key], plain["native"][key], "{key}");
    }
    let text = String::from_utf8(case.read("runs/val/exp/study_data_tiny.txt")).unwrap();
    let rows: Vec<Vec<f64>> =
        text.lines().map(|line| line.split_whitespace().map(|n| n.parse().unwrap()).collect()).collect();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.len() == 10), "{text}");
    assert!((rows[0][3] - first["map"].as_f64().unwrap()).abs() < 1e-4, "{text}");
    assert_eq!(rows[0][4..7], [0.0; 3]);
    let mut expected =
        ["", "/results.json", "/study.png", "/study.svg", "/study_data_tiny.txt", "/study_data_tiny2.txt"]
            .map(|file| format!("runs/val/exp{file}"));
    expected.sort_unstable();
    assert_eq!(outcome.written, expected);
}

#[test]
fn sizes_are_for_studies_and_have_to_be_sizes() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --study-sizes 64")).ok().warns(&["--study-sizes", "--task study"]);
    case.run(&format!("{VAL} --task study --study-sizes 8")).bad_arguments(&["--study-sizes", "8"]);
    let outcome = case.run(&format!("{VAL} --task study --study-sizes 60")).ok();
    outcome.warns(&["--imgsz 60 is not a multiple", "64"]);
}

#[test]
fn speed_of_several_networks_is_that_of_each() {
    let case = two_models();
    let outcome = case.run(&format!("{TWO} --imgsz 64 --task speed --json")).ok();
    let results = outcome.json();
    assert_eq!(results, case.results());
    let runs = results["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["model"]["parameters"], runs[1]["model"]["parameters"]);
    assert_eq!(runs[0]["native"], runs[1]["native"]);
    assert!(runs.iter().all(|run| run["speed_ms"]["inference"].as_f64().unwrap() > 0.0));
    outcome.shows(&["in/tiny.safetensors:", "in/more/tiny.safetensors:"]);
}
