//! What docs/families.md says of each family is what the commands do, and the figures are the reference's.

use serde_json::Value;

use crate::support::{Case, coco_figures, native_figures, runs_slow, shared};

/// The columns of the table, and a really trained network of each; the first family has its own tests on real data.
const FAMILIES: [(&str, Option<&str>); 5] = [
    ("YOLOv5", None),
    ("YOLOv5u", Some("yolov5n")),
    ("YOLOv8", Some("yolov8n")),
    ("YOLO11", Some("yolo11n")),
    ("YOLO26", Some("yolo26n")),
];
const TABLE: &str = include_str!("../../docs/families.md");

/// A case with `in/NAME.pt` and a data set of its classes.
fn case(name: &str) -> Option<Case> {
    let path = shared(&format!("reference/ultralytics/{name}-demo.pt"))?;
    let case = Case::with_data();
    case.write("in/net.pt", std::fs::read(path).unwrap());
    let names = "[circle, square, triangle, star, ring]";
    case.write(
        "in/five.yaml",
        format!(
            "path: {}\ntrain: images/val\nval: images/val\nnames: {names}\n",
            case.path("in/data").display()
        ),
    );
    Some(case)
}

/// Command and cells of every row.
fn rows() -> Vec<(String, Vec<String>)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = TABLE.lines().filter(|line| line.starts_with('|')).map(cells);
    let heading = lines.next().unwrap();
    assert_eq!(heading[1..], FAMILIES.map(|(name, _)| name));
    lines.skip(1).map(|row| (row[0].trim_matches('`').to_owned(), row[1..].to_vec())).collect()
}

/// The command of a row on the network and the data of a [`case`].
fn typed(row: &str) -> String {
    let data = "--data in/five.yaml --imgsz 64";
    let rest = match row.split(' ').next().unwrap() {
        "val" => format!("{data} --no-plots"),
        "detect" => "--source in/data/images/val --imgsz 64 --nosave".to_owned(),
        "train" => format!("{data} --batch-size 4 --workers 1 --noplots"),
        "bench" => "--imgsz 64 --repetitions 3".to_owned(),
        "export" if row.contains("onnx") => "--imgsz 64 --out out.onnx".to_owned(),
        "export" => "--out out.pt".to_owned(),
        "prune" if row.ends_with("--calibration") => "in/data/images/val --imgsz 64 --out out.pt".to_owned(),
        "prune" | "pack" => "--out out.safetensors".to_owned(),
        _ => String::new(),
    };
    let row = if row == "pack" { "pack" } else { row };
    let (command, flags) = row.split_once(' ').unwrap_or((row, ""));
    format!("{command} --weights in/net.pt {flags} {rest}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_of_families_is_true() {
    for (column, (family, network)) in FAMILIES.into_iter().enumerate() {
        let Some(network) = network else { continue };
        // The last has every operation of the others.
        if !runs_slow() && family != "YOLO26" {
            continue;
        }
        let Some(case) = case(network) else { return };
        for (row, cells) in rows() {
            // The fit takes as long as all others together.
            if row.ends_with("--calibration") && !runs_slow() {
                continue;
            }
            if row == "pack" {
                case.run("prune --weights in/net.pt --amount 0.5 --out sparse.safetensors").ok();
            }
            let command = match row.as_str() {
                "pack" => "pack --weights sparse.safetensors --out out.safetensors".to_owned(),
                _ => typed(&row),
            };
            let outcome = case.run(&command);
            match cells[column].as_str() {
                "yes" => drop(outcome.ok()),
                "no" => drop(outcome.fails(&["in/net.pt", "one-to-one"])),
                other => panic!("{row}: {other}"),
            }
        }
    }
}

/// The package's own figures of its validation, and pycocotools' of its predictions.
#[test]
fn trained_networks_have_the_references_figures() {
    let Some(case) = case("yolo26n") else { return };
    for (run, (name, key, flag)) in [
        ("yolov5n", "default", ""),
        ("yolov8n", "default", ""),
        ("yolo11n", "default", ""),
        ("yolo26n", "one2many_nms", ""),
        ("yolo26n", "one2one", "--end2end"),
    ]
    .into_iter()
    .enumerate()
    {
        if !runs_slow() && matches!(name, "yolov5n" | "yolo11n") {
            continue;
        }
        let Some(path) = shared(&format!("reference/ultralytics/val-{name}.json")) else { return };
        let reference: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let expected = &reference[key];
        let weights = path.with_file_name(format!("{name}-demo.pt"));
        let command = format!("val --data demo --imgsz 256 --no-plots --name {run} {flag} --weights");
        let mut words: Vec<&str> = command.split_whitespace().collect();
        words.push(weights.to_str().unwrap());
        case.run_args(&words).ok();
        let results = case.json(&format!("runs/val/{run}/results.json"));
        let number = |key: &str| expected[key].as_f64().unwrap();
        let [p, r] = [number("P"), number("R")];
        let native = native_figures(&results);
        for (found, golden, limit) in native
            .iter()
            .zip([p, r, number("mAP50"), number("mAP50_95")])
            .zip([1e-3, 1e-3, 1e-4, 1e-4])
            .map(|((found, golden), limit)| (found, golden, limit))
        {
            assert!((found - golden).abs() <= limit, "{name} {key}: {native:?} {golden}");
        }
        let coco: Vec<f64> = serde_json::from_value(expected["pycocotools"].clone()).unwrap();
        let found = coco_figures(&results["coco"]);
        let worst = found.iter().zip(&coco).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= 1e-4, "{name} {key}: {found:?} {coco:?}");
    }
}

/// Networks with fewer channels, of odd widths, as PyTorch finds them: every attribute that the package's code reads.
#[test]
fn narrow_networks_are_written_for_the_package() {
    if !runs_slow() {
        return;
    }
    let Ok(python) = std::env::var("TORCH_PYTHON") else {
        eprintln!("skipped: TORCH_PYTHON does not name a Python with PyTorch");
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../yolo-model/tests/model/torch_files/ultralytics.py");
    for name in FAMILIES.iter().filter_map(|(_, name)| *name) {
        let Some(case) = case(name) else { return };
        case.run("prune --weights in/net.pt --channels 0.3 --round-to 1 --out narrow.pt").ok();
        let output = std::process::Command::new(&python)
            .arg("-B")
            .arg(script)
            .arg(case.path("narrow.pt"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let narrow = yolo_model::Checkpoint::load(&case.path("narrow.pt")).unwrap();
        let mut odd = 0;
        for conv in narrow.architecture.convs() {
            let weight = conv.weight();
            let found = &said["convs"][weight.strip_suffix(".weight").unwrap()];
            let spec = &conv.spec;
            let expected = serde_json::json!([
                spec.in_channels,
                spec.out_channels,
                spec.kernel,
                spec.stride,
                spec.padding,
                spec.dilation,
                spec.groups,
                conv.is_bare
            ]);
            assert_eq!(found, &expected, "{name}: {weight}");
            odd += spec.out_channels % 2;
        }
        assert!(odd > 0, "{name}: the widths are even");
        assert_eq!(said["state_dict"].as_array().unwrap().len(), narrow.weights.len(), "{name}");
        assert_eq!(said["imgsz"], 256, "{name}");
    }
}
