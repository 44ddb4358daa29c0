//! Several looks at an image: test-time augmentation, ensembles, and labels among the detections.

use std::collections::BTreeMap;

use yolo_model::weights::FloatFormat;

use crate::support::{Case, IMAGES, VAL, native_figures, tiny};

/// With a second model beside the first, whose weights differ a little.
fn two_models() -> Case {
    let case = Case::with_annotations();
    let mut other = tiny();
    for conv in other.architecture.convs().iter().filter(|conv| !conv.is_bare) {
        other.weights.get_mut(&conv.bn("weight")).unwrap().f32s_mut().unwrap().fill(2.0);
    }
    other.save(&case.path("in/other.safetensors"), FloatFormat::F32).unwrap();
    case
}

fn ensemble(weights: &str, flags: &str) -> String {
    format!("val --weights {weights} --data in/data/data.yaml --imgsz 64 --no-plots --json {flags}")
}

#[test]
fn augmentation_changes_figures_alike_on_the_processor_and_on_burn() {
    let case = Case::with_annotations();
    let run = |flags: &str| native_figures(&case.run(&format!("{VAL} --json {flags}")).ok().json());
    let (plain, cpu, flex) = (run(""), run("--augment"), run("--augment --device flex"));
    assert_ne!(plain, cpu);
    for (cpu, flex) in cpu.iter().zip(&flex) {
        assert!((cpu - flex).abs() < 0.02, "{cpu} {flex}");
    }
}

/// Each box of the same network twice: suppression leaves one of each.
#[test]
fn a_network_with_itself_is_that_network() {
    let case = Case::with_annotations();
    let alone = case.run(&ensemble("in/tiny.safetensors", "")).ok().json();
    let twice = case.run(&ensemble("in/tiny.safetensors in/tiny.safetensors", "")).ok();
    let twice = twice.shows(&["Ensemble of in/tiny.safetensors, in/tiny.safetensors"]).json();
    assert_eq!((&twice["native"], &twice["coco"]), (&alone["native"], &alone["coco"]));
    let count = |results: &serde_json::Value, key: &str| results["model"][key].as_u64().unwrap();
    for key in ["parameters", "layers", "file_bytes", "conv_weights"] {
        assert_eq!(count(&twice, key), 2 * count(&alone, key), "{key}");
    }
}

#[test]
fn an_ensemble_has_the_boxes_of_all_its_networks() {
    let case = two_models();
    let labels = |run: &str| -> BTreeMap<&str, Vec<String>> {
        let lines = |name: &str| {
            let text = String::from_utf8(case.read(&format!("runs/val/{run}/labels/{name}.txt"))).unwrap();
            text.lines().map(str::to_owned).collect()
        };
        IMAGES.iter().map(|name| (*name, lines(name))).collect()
    };
    // Nothing is suppressed at an IoU of 1, and nothing is cut off at 30 000.
    let flags = "--save-txt --save-conf --iou-thres 1 --max-det 30000";
    for weights in ["in/tiny.safetensors", "in/other.safetensors", "in/tiny.safetensors in/other.safetensors"]
    {
        case.run(&ensemble(weights, flags)).ok();
    }
    let (first, second, both) = (labels("exp"), labels("exp2"), labels("exp3"));
    for name in IMAGES {
        let mut expected = [&first[name][..], &second[name][..]].concat();
        let mut found = both[name].clone();
        expected.sort_unstable();
        found.sort_unstable();
        assert!(!first[name].is_empty() && first[name] != second[name]);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn networks_of_an_ensemble_need_the_same_classes() {
    let case = Case::with_data();
    let yaml = "nc: 2\ndepth_multiple: 1.0\nwidth_multiple: 1.0\nanchors:\n  - [16, 16]\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\nhead:\n  - [[0], 1, Detect, [nc, anchors]]\n";
    let architecture = yolo_model::Architecture::from_yaml(yaml, None).unwrap();
    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(0);
    let mut other = yolo_model::Checkpoint::random(architecture, &mut rng).unwrap();
    other.class_names = vec!["a".to_owned(), "b".to_owned()];
    other.save(&case.path("in/two.safetensors"), FloatFormat::F32).unwrap();
    let args = "val --weights in/tiny.safetensors in/two.safetensors --data in/data/data.yaml --imgsz 64";
    case.run(args).fails(&["in/tiny.safetensors has 3 classes", "in/two.safetensors has 2", "ensemble"]);
    case.run(&ensemble("in/tiny.safetensors in/nowhere.pt", "")).fails(&["in/nowhere.pt", "no such file"]);
}

/// A certain box on every object: nothing is missed, and figures are nearly perfect.
#[test]
fn hybrid_labels_hold_every_object_and_flatter_the_figures() {
    let case = Case::with_data();
    let outcome = case.run(&format!("{VAL} --save-hybrid --save-conf --json")).ok();
    let outcome = outcome.warns(&["--save-hybrid", "too good"]);
    assert!(native_figures(&outcome.json())[2] > 0.99, "{:?}", native_figures(&outcome.json()));
    for (number, name) in IMAGES.iter().enumerate() {
        let text = String::from_utf8(case.read(&format!("runs/val/exp/labels/{name}.txt"))).unwrap();
        for (class, centre) in [(number % 3, "0.4375"), ((number + 1) % 3, "0.6875")] {
            let line = format!("{class} {centre} {centre} 0.25 0.25 1");
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
    case.run(&format!("{VAL} --save-conf")).ok().warns(&["--save-conf has no effect without --save-txt"]);
}
