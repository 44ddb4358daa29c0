//! Devices: half and mixed precision, and the check of a device by the same code on a processor.

use yolo_model::weights::FloatFormat;

use crate::support::{Case, VAL, native_figures, runs_slow, tiny};
use crate::training_support::{TRAIN_TINY, squares, table};

/// Trains with each of the two flags. The first run has to learn, and to begin as the second but not exactly so.
fn learns_and_begins_as(case: &Case, flags: [&str; 2]) {
    // Of the second, the first epoch is all that is looked at; the warm-up makes that the same for any number of them.
    for (flags, epochs) in flags.into_iter().zip([6, 1]) {
        case.run(&format!("{TRAIN_TINY} --epochs {epochs} --nominal-batch-size 8 {flags}")).ok();
    }
    let [(_, run), (_, other)] = ["exp", "exp2"].map(|name| table(case, &format!("runs/train/{name}")));
    let (first, last) = (&run[0], &run[5]);
    assert!(last[1] < first[1] && last[2] < first[2], "{first:?} {last:?}");
    assert!((first[1] / other[0][1] - 1.0).abs() < 0.1, "{first:?} {:?}", other[0]);
    assert_ne!(first[1], other[0][1]);
}

#[test]
fn a_run_on_several_devices_learns() {
    let case = squares();
    // Batch statistics are those of a third of the images each.
    learns_and_begins_as(&case, ["--device flex,flex,flex", "--device flex"]);
    case.run(&format!("{TRAIN_TINY} --epochs 1 --device flex,flex,flex"))
        .ok()
        .shows(&["3 devices share every batch"]);
}

#[test]
fn several_devices_are_named_once_each_and_only_trained_on() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --device 0,1,0")).fails(&["--device cuda:0,1,0: GPU 0 is named twice"]);
    case.run(&format!("{VAL} --device flex,cpu")).fails(&["there is no device \"flex,cpu\""]);
    case.run(&format!("{VAL} --device flex,flex"))
        .ok()
        .warns(&["only training uses several devices: this runs on flex"]);
}

#[test]
fn half_precision_changes_figures_a_little() {
    let case = Case::with_annotations();
    let val = |flags: &str| case.run(&format!("{VAL} --json --device flex {flags}")).ok().json();
    let (single, half) = (native_figures(&val("")), native_figures(&val("--half")));
    for (single, half) in single.iter().zip(&half) {
        assert!((single - half).abs() < 0.05, "{single} {half}");
    }
    case.run(&format!("{VAL} --half")).ok().warns(&["--half has no effect on --device cpu"]);
}

#[test]
fn numbers_that_half_precision_does_not_have_are_its_fault() {
    let case = Case::with_data();
    let mut large = tiny();
    large.weights.get_mut("model.5.m.0.bias").unwrap().f32s_mut().unwrap().fill(1e6);
    large.save(&case.path("in/tiny.safetensors"), FloatFormat::F32).unwrap();
    case.run(&format!("{VAL} --device flex --half"))
        .fails(&["not finite in half precision", "leave --half out"]);
    case.run(&format!("{VAL} --device flex")).ok();
}

#[test]
fn a_run_in_mixed_precision_learns() {
    // The same run but for its rounding, which has not grown yet after the first epoch.
    learns_and_begins_as(&squares(), ["--amp", "--amp off"]);
}

#[test]
fn the_check_of_a_device_passes_on_flex_and_lists_every_comparison() {
    if !runs_slow() {
        return;
    }
    let case = Case::empty();
    let outcome = case.run("device-check --device flex --quick --json");
    let rows = outcome.json();
    let rows = rows.as_array().unwrap();
    let checks: Vec<&str> = rows.iter().map(|row| row["check"].as_str().unwrap()).collect();
    for part in [
        "layers of yolov5n, f32",
        "layers of yolov5n, fp16",
        "widths odd, bf16",
        "loss of trained weights, mixed fp16",
        "its gradients, f32",
        "steps of training, mixed bf16",
        "masks after them, f32",
        "loss of an epoch on flex",
        "steps of an epoch on flex",
        "figures of demo on 120 images, f32",
        "inference of yolov5n",
        "training of yolov5n",
    ] {
        assert!(checks.iter().any(|check| check.contains(part)), "{part}: {checks:?}");
    }
    // The device is compared with itself: in single precision, nothing may differ.
    for row in rows.iter().filter(|row| row["limit"].as_str().unwrap().starts_with('≤')) {
        let check = row["check"].as_str().unwrap();
        if check.ends_with("f32") && !check.starts_with("figures") {
            assert!(row["measured"].as_str().unwrap().starts_with("0.00e0"), "{row}");
        }
    }
    let failed: Vec<_> = rows.iter().filter(|row| row["outcome"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    outcome.ok();
}
