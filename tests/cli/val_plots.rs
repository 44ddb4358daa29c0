//! What `val` draws: curves, the confusion matrix, and the first batches with their boxes.

use image::GenericImageView;

use crate::support::{Case, VAL};

const PLAIN: &str = "val --weights in/tiny.safetensors --data in/data/data.yaml --imgsz 64";
const PLOTS: [&str; 5] = ["PR_curve", "F1_curve", "P_curve", "R_curve", "confusion_matrix"];

fn svg(case: &Case, name: &str) -> String {
    String::from_utf8(case.read(&format!("runs/val/exp/{name}.svg"))).unwrap()
}

#[test]
fn plots_are_drawn_unless_they_are_not_wanted() {
    let case = Case::with_data();
    let written = case.run(PLAIN).ok().written;
    let mut expected = vec!["runs/val/exp".to_owned(), "runs/val/exp/results.json".to_owned()];
    for name in PLOTS {
        expected.extend(["svg", "png"].map(|kind| format!("runs/val/exp/{name}.{kind}")));
    }
    expected.extend(["labels", "pred"].map(|kind| format!("runs/val/exp/val_batch0_{kind}.jpg")));
    expected.sort_unstable();
    assert_eq!(written, expected);
    let written = case.run(&format!("{PLAIN} --no-plots")).ok().written;
    assert_eq!(written, ["runs/val/exp2", "runs/val/exp2/results.json"]);
    let written = case.run(&format!("{PLAIN} --task speed")).ok().written;
    assert_eq!(written, ["runs/val/exp3", "runs/val/exp3/results.json"]);
}

#[test]
fn plots_tell_the_figures_of_the_table_and_are_the_same_every_time() {
    let case = Case::with_data();
    case.run(PLAIN).ok();
    case.run(PLAIN).ok();
    let results = case.results();
    let curve = svg(&case, "PR_curve");
    let map50 = results["native"]["map50"].as_f64().unwrap();
    assert!(curve.contains(&format!("all classes {map50:.3} mAP@0.5")), "{curve}");
    for class in results["native"]["per_class"].as_array().unwrap() {
        let (name, map50) = (class["name"].as_str().unwrap(), class["map50"].as_f64().unwrap());
        assert!(curve.contains(&format!("{name} {map50:.3}")), "{name} is not in {curve}");
    }
    let recall = results["native"]["recall"].as_f64().unwrap();
    assert!(svg(&case, "R_curve").contains(&format!("all classes {recall:.2} at ")));
    for name in PLOTS {
        for kind in ["svg", "png"] {
            let of = |run: &str| case.read(&format!("runs/val/{run}/{name}.{kind}"));
            assert!(of("exp") == of("exp2"), "{name}.{kind} differs");
        }
        let png = image::load_from_memory(&case.read(&format!("runs/val/exp/{name}.png"))).unwrap();
        let colours = |(_, _, pixel): (u32, u32, image::Rgba<u8>)| pixel.0[2] > pixel.0[0].saturating_add(40);
        assert!(png.width() >= 600 && png.pixels().any(colours), "{name}.png has no line");
    }
}

#[test]
fn the_confusion_matrix_counts_every_object_once() {
    let case = Case::with_data();
    let results = case.run(&format!("{VAL} --json")).ok().json();
    let matrix = &results["confusion_matrix"];
    assert_eq!(matrix["classes"], serde_json::json!(["red", "green", "blue", "background"]));
    let counts: Vec<Vec<u64>> = serde_json::from_value(matrix["counts"].clone()).unwrap();
    assert!(counts.len() == 4 && counts.iter().all(|row| row.len() == 4), "{counts:?}");
    for (class, row) in results["native"]["per_class"].as_array().unwrap().iter().enumerate() {
        let column: u64 = counts.iter().map(|row| row[class]).sum();
        assert_eq!(Some(column), row["instances"].as_u64(), "{counts:?}");
    }
    assert_eq!(counts[3][3], 0);
    let text = String::from_utf8(case.read("runs/val/exp/results.json")).unwrap();
    let row: Vec<String> = counts[0].iter().map(u64::to_string).collect();
    assert!(text.contains(&format!("[{}]", row.join(", "))), "a row is not on one line: {text}");
}

#[test]
fn the_first_three_batches_are_drawn_with_labels_and_detections() {
    let case = Case::with_data();
    // Scores are about 0.25, which is too unsure to be drawn, so the labels join them.
    case.run(&format!("{PLAIN} --batch-size 1 --save-hybrid")).ok();
    let sheet = |batch: usize, kind: &str| {
        let path = format!("runs/val/exp/val_batch{batch}_{kind}.jpg");
        case.path(&path).exists().then(|| yolo_data::image::decode_file(case.path(&path)).unwrap().image)
    };
    for batch in 0..3 {
        let (labels, found) = (sheet(batch, "labels").unwrap(), sheet(batch, "pred").unwrap());
        assert_eq!((labels.width, labels.height), (found.width, found.height));
        assert!(labels.width >= 96, "{}", labels.width);
        assert!(labels != found, "labels have no scores, detections do");
    }
    assert!(sheet(3, "labels").is_none());
}

#[test]
fn nothing_labelled_leaves_the_curves_out() {
    let case = Case::with_data();
    for name in crate::support::IMAGES {
        case.write(&format!("in/data/labels/val/{name}.txt"), "");
    }
    let written = case.run(PLAIN).ok().written;
    assert!(written.contains(&"runs/val/exp/confusion_matrix.png".to_owned()), "{written:?}");
    assert!(!written.iter().any(|path| path.contains("curve")), "{written:?}");
}
