//! `train`: its options, what it refuses, and what it leaves behind.

use yolo_model::Checkpoint;
use yolo_model::weights::FloatFormat;

use crate::support::Case;
use crate::training_support::{
    TRAIN, TRAIN_TINY, all_load, assert_same, files, shapes, squares, state_file, table,
};

const COLUMNS: [&str; 14] = [
    "epoch",
    "train/box_loss",
    "train/obj_loss",
    "train/cls_loss",
    "metrics/precision",
    "metrics/recall",
    "metrics/mAP_0.5",
    "metrics/mAP_0.5:0.95",
    "val/box_loss",
    "val/obj_loss",
    "val/cls_loss",
    "x/lr0",
    "x/lr1",
    "x/lr2",
];

#[test]
fn a_run_learns_and_leaves_weights_and_a_row_per_epoch() {
    let case = squares();
    let outcome = case.run(&format!("{TRAIN_TINY} --epochs 25 --nominal-batch-size 8")).ok();
    outcome.shows(&[
        "Epoch",
        "mAP50-95",
        "24/24",
        "best",
        "Best weights:",
        "Results saved to runs/train/exp",
    ]);
    let written = files(&case, "runs/train/exp");
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    let expected =
        ["hyp.yaml", "opt.yaml", "results.csv", "weights/best.safetensors", "weights/last.safetensors"];
    assert_eq!(names, expected);
    let (titles, rows) = table(&case, "runs/train/exp");
    assert_eq!(titles, COLUMNS);
    assert!(rows.iter().enumerate().all(|(epoch, row)| row[0] == epoch as f64 && row.len() == 14));
    assert_eq!(rows.len(), 25);
    let (first, last) = (&rows[0], &rows[24]);
    assert!(last[1] < first[1] && last[2] < first[2] && last[3] < first[3], "{first:?} {last:?}");
    let best = rows.iter().map(|row| row[6]).fold(0.0, f64::max);
    assert!(best > 0.8, "mAP50 of at most {best}: it does not learn");
    // What `val` says of the best weights is what the best epoch had.
    let val = "val --weights runs/train/exp/weights/best.safetensors --data in/squares/data.yaml --imgsz 64";
    let native = case.run(&format!("{val} --batch-size 16 --json")).ok().json()["native"].clone();
    let fitness = |map50: f64, map: f64| 0.1 * map50 + 0.9 * map;
    let best = rows.iter().map(|row| fitness(row[6], row[7])).fold(0.0, f64::max);
    let measured = fitness(native["map50"].as_f64().unwrap(), native["map"].as_f64().unwrap());
    assert!((measured - best).abs() < 0.02, "{measured} instead of {best}");
}

#[test]
fn what_to_train_on_has_to_be_there() {
    let case = shapes(4, 2);
    let train = "train --data in/shapes/demo.yaml --imgsz 64";
    case.run(&format!("{train} --weights=")).fails(&["random weights need a network", "--cfg yolov5n"]);
    case.run(&format!("{train} --weights= --cfg none.yaml")).fails(&["none.yaml: no such file", "--cfg"]);
    case.run(&format!("{train} --weights none.pt")).fails(&["none.pt: no such file", "--weights"]);
    case.run("train --weights= --cfg yolov5n --data none.yaml").fails(&["none.yaml: no such file", "--data"]);
    case.run(&format!("{TRAIN} --freeze 26")).fails(&["no layer 25", "0 to 24"]);
    case.run(&format!("{TRAIN} --epochs 0")).bad_arguments(&["--epochs"]);
    case.run(&format!("{TRAIN} --label-smoothing 2")).bad_arguments(&["--label-smoothing"]);
    case.run(&format!("{TRAIN} --optimizer Adagrad")).bad_arguments(&["Adagrad", "SGD", "AdamW"]);
    assert!(!case.path("runs/train/exp").exists());
}

#[test]
fn hyper_parameters_that_mean_nothing_are_named_with_their_line() {
    let case = shapes(4, 2);
    case.run(&format!("{TRAIN} --hyp none")).fails(&["none: no such file", "--hyp", "scratch-low"]);
    let cases = [
        ("lr0: 0.01\nmomentums: 0.9\n", ["in/hyp.yaml:2", "momentums"]),
        ("lr0: .nan\n", ["in/hyp.yaml", "lr0: not a finite number"]),
        ("lr0: .inf\n", ["in/hyp.yaml", "lr0: not a finite number"]),
        ("lr0: 0.01\n\nmosaic: often\n", ["in/hyp.yaml:3", "invalid"]),
        ("mosaic: 1.5\n", ["in/hyp.yaml", "mosaic is 1.5, but must be from 0 to 1"]),
        ("lr0: -0.1\n", ["in/hyp.yaml", "lr0: -0.1 is outside"]),
        ("- 1\n", ["in/hyp.yaml", "configs/hyps/"]),
    ];
    for (yaml, parts) in cases {
        case.write("in/hyp.yaml", yaml);
        case.run(&format!("{TRAIN} --hyp in/hyp.yaml")).fails(&parts);
    }
    case.write("in/hyp.yaml", [0xff, 0xfe, 0x00]);
    case.run(&format!("{TRAIN} --hyp in/hyp.yaml")).fails(&["in/hyp.yaml", "configs/hyps/"]);
}

#[test]
fn frozen_layers_keep_their_weights() {
    let case = shapes(16, 4);
    case.run(&format!("{TRAIN} --epochs 1 --batch-size 8")).ok();
    case.write("in/start.safetensors", case.read("runs/train/exp/weights/last.safetensors"));
    let train = "train --weights in/start.safetensors --data in/shapes/demo.yaml --imgsz 64";
    case.write("in/hyp.yaml", "warmup_epochs: 0\nlr0: 0.05\n");
    case.run(&format!(
        "{train} --epochs 2 --batch-size 4 --nominal-batch-size 4 --hyp in/hyp.yaml --freeze 10 --name frozen"
    ))
    .ok();
    let before = Checkpoint::load(&case.path("in/start.safetensors")).unwrap().weights;
    let after = Checkpoint::load(&case.path("runs/train/frozen/weights/last.safetensors")).unwrap().weights;
    let mut n_frozen = 0;
    for (name, tensor) in before.iter() {
        let layer: usize = name.split('.').nth(1).unwrap().parse().unwrap();
        let is_statistic = name.contains("running_") || name.ends_with("num_batches_tracked");
        if layer < 10 && !is_statistic {
            n_frozen += 1;
            assert!(after.f32s(name).unwrap() == tensor.f32s().unwrap(), "{name} has changed");
        } else if layer >= 10 && name.ends_with("conv.weight") {
            assert!(after.f32s(name).unwrap() != tensor.f32s().unwrap(), "{name} has not changed");
        }
    }
    assert!(n_frozen > 50, "{n_frozen}");
}

#[test]
fn every_option_has_its_effect() {
    let case = shapes(12, 6);
    let outcome = case
        .run(&format!(
            "{TRAIN} --epochs 3 --batch-size 4 --optimizer AdamW --cos-lr --label-smoothing 0.1 --image-weights \
             --multi-scale --autobalance --cache --noval --save-period 1 --noautoanchor"
        ))
        .ok();
    assert!(!outcome.stdout.contains("Anchors:"), "{}", outcome.stdout);
    for epoch in 0..3 {
        assert!(case.path(&format!("runs/train/exp/weights/epoch{epoch}.safetensors")).is_file());
    }
    assert_same(
        &case,
        "runs/train/exp/weights/epoch2.safetensors",
        "runs/train/exp/weights/last.safetensors",
    );
    let (titles, rows) = table(&case, "runs/train/exp");
    assert_eq!((titles.len(), rows.len()), (14, 3));
    for (epoch, row) in rows.iter().enumerate() {
        let is_validated = row[8..11].iter().all(|loss| *loss > 0.0);
        assert_eq!(is_validated, epoch == 2, "{row:?}");
        assert!(epoch == 2 || row[4..11].iter().all(|figure| *figure == 0.0), "{row:?}");
        assert!(row[1..4].iter().all(|loss| *loss > 0.0), "{row:?}");
    }
}

#[test]
fn single_options_change_the_numbers() {
    let case = shapes(12, 4);
    let run_for = |epochs: usize, name: &str, flags: &str| {
        case.run(&format!(
            "{TRAIN} --epochs {epochs} --batch-size 4 --nominal-batch-size 4 --name {name} {flags}"
        ))
        .ok();
        case.read(&format!("runs/train/{name}/weights/last.safetensors"))
    };
    let run = |name: &str, flags: &str| run_for(1, name, flags);
    let plain = run("plain", "");
    assert!(run("again", "") == plain, "the same seed, other bytes");
    assert!(run("cached", "--cache --workers 1") == plain, "--cache changes the numbers");
    for name in ["disk", "disk-again"] {
        assert!(run(name, "--cache disk") == plain, "--cache disk changes the numbers");
        assert_eq!(case.path("cache/yolo-prune/images").read_dir().unwrap().count(), 12);
    }
    for (name, flags) in [
        ("rect", "--rect"),
        ("scale", "--multi-scale"),
        ("smooth", "--label-smoothing 0.1"),
        ("adam", "--optimizer Adam"),
        ("adamw", "--optimizer AdamW"),
        ("seed", "--seed 1"),
        ("negative-seed", "--seed -1"),
        ("high", "--hyp hyp.scratch-high.yaml"),
        ("balance", "--autobalance"),
    ] {
        assert!(run(name, flags) != plain, "{flags} changes nothing");
    }
    // The rates of the first epochs are those of the warm-up, whatever they fall by afterwards.
    assert!(run_for(3, "cos", "--cos-lr") != run_for(3, "line", ""), "--cos-lr changes nothing");
}

#[test]
fn one_class_is_all_there_is_with_single_cls() {
    let case = shapes(12, 6);
    case.run(&format!("{TRAIN} --epochs 1 --batch-size 4 --single-cls")).ok();
    let info = case.run("info --weights runs/train/exp/weights/best.safetensors --json").ok().json();
    assert_eq!(info["classes"], serde_json::json!(["item"]));
    let (_, rows) = table(&case, "runs/train/exp");
    assert_eq!(rows[0][3], 0.0, "one class has no class loss");
}

#[test]
fn training_stops_when_patience_is_over() {
    let case = squares();
    // The first epochs cost the detector what it found by chance.
    let outcome = case.run(&format!("{TRAIN_TINY} --epochs 30 --nominal-batch-size 8 --patience 2")).ok();
    outcome.shows(&["No better result for 2 epochs: stopping"]);
    let (_, rows) = table(&case, "runs/train/exp");
    assert!((3..30).contains(&rows.len()), "{} epochs", rows.len());
    let fitness: Vec<f64> = rows.iter().map(|row| 0.1 * row[6] + 0.9 * row[7]).collect();
    let best = fitness[..fitness.len() - 2].iter().copied().fold(0.0, f64::max);
    assert!(fitness[fitness.len() - 2..].iter().all(|f| *f < best), "{fitness:?}");
    assert!(!state_file(&case, "runs/train/exp").exists());
}

#[test]
fn weights_for_other_classes_are_transferred_but_for_the_head() {
    let case = shapes(8, 4);
    let names = "path: shapes\ntrain: images/train\nval: images/val\nnames: [a, b, c, d, e, f, g]\n";
    case.write("in/seven.yaml", names);
    case.run(&format!("{TRAIN} --epochs 1 --batch-size 8")).ok();
    let train = "train --weights runs/train/exp/weights/last.safetensors --imgsz 64 --epochs 1";
    let outcome = case.run(&format!("{train} --data in/seven.yaml")).ok();
    let line = outcome.stdout.lines().find(|line| line.starts_with("Transferred")).unwrap();
    let counts: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // Weight and bias of each of the three levels have another shape; anchors belong to the network.
    assert_eq!(counts[1] - counts[0], 7, "{line}");
    let info = case.run("info --weights runs/train/exp2/weights/last.safetensors --json").ok().json();
    assert_eq!(info["classes"].as_array().unwrap().len(), 7);
    let same = case.run(&format!("{train} --data in/shapes/demo.yaml")).ok();
    assert!(!same.stdout.contains("Transferred"), "{}", same.stdout);
}

#[test]
fn a_fused_network_is_refused() {
    let case = squares();
    case.run("prune --weights in/tiny.safetensors --amount 0.3 --fuse --out fused.safetensors").ok();
    let parts = ["fused.safetensors: its batch normalisation is folded in", "use the weights from before"];
    case.run("train --weights fused.safetensors --data in/squares/data.yaml --imgsz 64").fails(&parts);
    case.run("prune-finetune --weights fused.safetensors --data in/squares/data.yaml --imgsz 64")
        .fails(&parts);
}

#[test]
fn broken_images_are_left_out_with_a_warning() {
    let case = squares();
    case.write("in/squares/images/train/000.png", "not an image");
    let whole = case.read("in/squares/images/train/001.png");
    case.write("in/squares/images/train/001.png", &whole[..whole.len() / 2]);
    let outcome = case.run(&format!("{TRAIN_TINY} --epochs 1")).ok();
    let outcome = outcome.warns(&["images/train/000.png"]).warns(&["images/train/001.png"]);
    outcome.shows(&["Results saved"]);
    assert_eq!(table(&case, "runs/train/exp").1.len(), 1);
}

#[test]
fn no_readable_training_image_is_one_error() {
    let case = squares();
    for number in 0..32 {
        case.write(&format!("in/squares/images/train/{number:03}.png"), "not an image");
    }
    case.run(&format!("{TRAIN_TINY} --epochs 1")).fails(&["images/train"]);
    // Headers that can be read, but no pixels: this shows only when they are needed.
    let whole = case.read("in/squares/images/val/000.png");
    for number in 0..32 {
        case.write(&format!("in/squares/images/train/{number:03}.png"), &whole[..60]);
    }
    case.run(&format!("{TRAIN_TINY} --epochs 1 --no-cache")).fails(&["images/train"]);
}

/// Runs the binary where no file may become larger than `blocks` of 512 bytes, as on a full disk.
#[cfg(unix)]
fn run_on_full_disk(case: &Case, args: &str, blocks: u32) -> (Option<i32>, String) {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" {args}");
    let binary = case.command().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(script).arg(binary).current_dir(case.path("."));
    let output = command.env("XDG_CACHE_HOME", case.path("cache")).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_one_error_and_costs_no_file() {
    let case = shapes(16, 4);
    let args = format!("{TRAIN} --epochs 2 --batch-size 8 --nominal-batch-size 8 --project runs");
    case.run(&format!("{args} --name reference")).ok();
    // Room for the checkpoints, and the state before it holds momentum as well.
    for (blocks, has_state) in [(2_500, false), (8_000, true)] {
        let name = format!("full{blocks}");
        let (code, stderr) = run_on_full_disk(&case, &format!("{args} --name {name}"), blocks);
        assert_eq!(code, Some(1), "{stderr}");
        let errors = stderr.lines().filter(|line| line.starts_with("error:")).collect::<Vec<_>>();
        assert!(matches!(errors[..], [error] if error.contains("state.safetensors")), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        let run = format!("runs/{name}");
        assert_eq!(state_file(&case, &run).exists(), has_state, "{stderr}");
        let partial = |name: &String| name.contains("/.");
        assert!(!files(&case, &run).keys().any(partial), "a half of a file is left: {stderr}");
        all_load(&case, &run);
    }
    case.run("train --resume runs/full8000").ok();
    for output in ["weights/best.safetensors", "weights/last.safetensors", "results.csv"] {
        assert_same(&case, &format!("runs/full8000/{output}"), &format!("runs/reference/{output}"));
    }
}

#[test]
fn a_project_that_cannot_be_made_is_one_error() {
    let case = squares();
    case.write("file", "a file, not a folder");
    case.run(&format!("{TRAIN_TINY} --epochs 1 --project file/runs")).fails(&["file", "--project"]);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_with_advice() {
    let case = squares();
    let mut checkpoint = Checkpoint::load(&case.path("in/tiny.safetensors")).unwrap();
    let weight = checkpoint.weights.get_mut("model.0.conv.weight").unwrap().f32s_mut().unwrap();
    weight[0] = f32::NAN;
    checkpoint.save(&case.path("in/nan.safetensors"), FloatFormat::F32).unwrap();
    let args = "train --weights in/nan.safetensors --data in/squares/data.yaml --imgsz 64 --epochs 1";
    let outcome = case.run(args);
    assert_eq!(outcome.code, Some(1));
    let errors = outcome.stderr.lines().filter(|line| line.starts_with("error:"));
    assert!(errors.clone().count() == 1 && errors.clone().any(|line| line.contains("not finite")));
}
