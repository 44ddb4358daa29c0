//! `report`: runs side by side.

use serde_json::Value;

use crate::support::{Case, VAL};

fn page(case: &Case, name: &str) -> String {
    String::from_utf8(case.read(name)).unwrap()
}

#[test]
fn two_runs_of_val_are_compared_on_one_page() {
    let case = Case::with_annotations();
    case.run(VAL).ok();
    case.run(&format!("{VAL} --prune 0.6")).ok();
    let outcome = case.run("report runs/val/exp pruned=runs/val/exp2 --json").ok();
    assert_eq!(outcome.written, ["report.html"]);
    let networks = outcome.json()["networks"].as_array().unwrap().clone();
    let (first, second) = (case.json("runs/val/exp/results.json"), case.json("runs/val/exp2/results.json"));
    for (network, (name, results)) in networks.iter().zip([("exp", &first), ("pruned", &second)]) {
        assert_eq!(network["name"], name);
        assert_eq!(network["map"], results["native"]["map"]);
        assert_eq!(network["coco_ap"], results["coco"]["ap"]);
        assert_eq!(network["ms"], results["speed_ms"]["inference"]);
        assert_eq!(network["file_bytes"], results["model"]["file_bytes"]);
    }
    let page = page(&case, "report.html");
    let score = format!("{:.4}", first["native"]["map"].as_f64().unwrap());
    for part in
        ["2 networks compared", "<td>60.0 %</td>", &score, "id=\"precision-recall\"", "id=\"file-size\""]
    {
        assert!(page.contains(part), "{part:?} is not on the page");
    }
    let classes = page.split("id=\"classes\"").nth(1).unwrap();
    for class in first["native"]["per_class"].as_array().unwrap() {
        let row = format!("<tr><th scope=\"row\">{}</th>", class["name"].as_str().unwrap());
        assert!(classes.contains(&row), "{row} is not among the classes");
    }
    for loading in ["<script", "<link", "@import", "url(", "<iframe", "src="] {
        assert!(!page.contains(loading), "the page loads something: {loading}");
    }
    // Curves of both networks, in two colours.
    let curves = page.split("id=\"precision-recall\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(curves.matches("class=\"line c0").count() > 1 && curves.matches("class=\"line c1").count() > 1);
}

#[test]
fn the_curve_in_the_results_is_that_of_the_metric() {
    let case = Case::with_data();
    case.run(VAL).ok();
    let native = &case.results()["native"];
    let curve: Vec<f64> =
        native["precision_at_recall"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
    assert_eq!(curve.len(), 101);
    assert!(curve.windows(2).all(|pair| pair[0] >= pair[1] - 1e-9), "a mean of envelopes falls: {curve:?}");
    // The area below it is the metric, up to the rule of the integral and rounding.
    let area = curve.windows(2).map(|pair| (pair[0] + pair[1]) / 200.0).sum::<f64>();
    let map50 = native["map50"].as_f64().unwrap();
    assert!((area - map50).abs() < 0.01, "{area} {map50}");
}

#[test]
fn sweeps_and_folders_of_runs_are_read() {
    let case = Case::with_data();
    let sweep = "sweep --weights in/tiny.safetensors --data in/data/data.yaml --imgsz 64 --methods global";
    case.run(&format!("{sweep} --amounts 0.3,0.6")).ok();
    let names = |outcome: &crate::support::Outcome| -> Vec<String> {
        let networks = outcome.json()["networks"].as_array().unwrap().clone();
        networks.iter().map(|network| network["name"].as_str().unwrap().to_owned()).collect()
    };
    let outcome = case.run("report runs/sweep/exp --json").ok();
    assert_eq!(names(&outcome), ["dense", "global 0.3", "global 0.6"]);
    for _ in 0..2 {
        case.run(VAL).ok();
    }
    let outcome = case.run("report runs/val runs/sweep/exp --out more/all.html --json").ok();
    assert_eq!(names(&outcome), ["exp", "exp2", "exp: dense", "exp: global 0.3", "exp: global 0.6"]);
    assert_eq!(outcome.written, ["more", "more/all.html"]);
    assert!(page(&case, "more/all.html").contains("Without a precision-recall curve: exp: dense"));
}

#[test]
fn files_of_older_versions_are_read_as_far_as_they_go() {
    let case = Case::with_data();
    case.run(VAL).ok();
    let mut old = case.results();
    old["native"].as_object_mut().unwrap().remove("precision_at_recall");
    old["model"].as_object_mut().unwrap().remove("file_bytes");
    old["data"]["images"] = 80.into();
    case.write("in/old.json", old.to_string());
    case.run("report in/old.json runs/val/exp").ok().shows(&[
        "old ",
        "exp ",
        "mAP50-95",
        "Report: report.html",
    ]);
    let page = page(&case, "report.html");
    assert!(page.contains("Without a precision-recall curve: old"));
    assert!(
        page.contains(
            "Measured on different numbers of images, so figures do not compare: 80 (old), 4 (exp)."
        )
    );
}

#[test]
fn bad_files_are_named_with_what_is_missing() {
    let case = Case::with_data();
    case.run(VAL).ok();
    let results = case.results();
    let without = |key: &str| {
        let mut less = results.clone();
        less.as_object_mut().unwrap().remove(key);
        less
    };
    let mut incomplete = results.clone();
    incomplete["native"].as_object_mut().unwrap().remove("map50");
    let mut newer = results.clone();
    newer["schema"] = 9.into();
    let cases: [(&str, String, &[&str]); 5] = [
        ("none.json", Value::Null.to_string(), &["`schema` is missing"]),
        ("text.json", "mAP 0.3".to_owned(), &["not JSON"]),
        ("bare.json", without("native").to_string(), &["neither `native` nor `stages` nor `points`"]),
        ("incomplete.json", incomplete.to_string(), &["`native.map50` is missing", "run the command again"]),
        ("newer.json", newer.to_string(), &["layout is number 9", "knows 1"]),
    ];
    for (name, content, parts) in cases {
        let file = format!("in/{name}");
        case.write(&file, content);
        case.run(&format!("report runs/val/exp {file}")).fails(&[&[file.as_str()], parts].concat());
    }
    case.run("report in/data").fails(&["in/data: neither it nor a folder in it has results.json"]);
    case.run("report runs/val/ex")
        .fails(&["runs/val/ex: no such file or folder; did you mean runs/val/exp?"]);
    case.run("report").bad_arguments(&["RUN_OR_RESULTS"]);
    case.run("report runs/val/exp --out runs/val").fails(&["runs/val: cannot be written", "--out"]);
}
