//! What users of YOLOv5's scripts type: flags that work, flags that change nothing and say why, and names of built-in
//! things as they are written there.

use yolo_data::image::decode_file;

use crate::support::{Case, VAL};
use crate::training_support::{TRAIN, files, shapes, squares, table};

const PLAIN_TRAIN: &str = "train --weights in/tiny.safetensors --data in/squares/data.yaml --imgsz 64";

#[test]
fn train_takes_what_users_of_train_py_type() {
    let case = squares();
    let outcome = case.run(&format!(
        "{PLAIN_TRAIN} --epochs 2 --batch-size -1 --save-period -1 --seed -1 --optimizer Adam --image-weights \
         --hyp data/hyps/hyp.scratch-low.yaml --cache ram --local_rank -1 --bbox_interval -1 --quad --sync-bn"
    ));
    let mut outcome = outcome.ok().shows(&["Batch size: 32 (about ", "GiB free)"]);
    for flag in ["--local_rank", "--bbox_interval", "--quad", "--sync-bn"] {
        outcome = outcome.warns(&[&format!("{flag} has no effect: ")]);
    }
    let opt = String::from_utf8(case.read("runs/train/exp/opt.yaml")).unwrap();
    // All images; a larger batch would have fewer steps.
    for line in ["batch_size: 32", "save_period: 0", "optimizer: Adam", "cache: ram"] {
        assert!(opt.lines().any(|found| found == line), "{line}: {opt}");
    }
    let written = files(&case, "runs/train/exp");
    for (picture, size) in [("labels.jpg", (2000, 2000)), ("train_batch0.jpg", (1280, 1280))] {
        let shown = decode_file(case.path("runs/train/exp").join(picture)).unwrap().image;
        assert_eq!((shown.width, shown.height), size, "{picture}");
    }
    assert!(
        written.contains_key("train_batch1.jpg") && !written.contains_key("train_batch2.jpg"),
        "one per batch"
    );
}

#[test]
fn weights_and_pictures_can_be_left_out() {
    let case = squares();
    case.write("runs/train/exp/weights/best.safetensors", "of an earlier run");
    let args = "--epochs 3 --batch-size 16 --nosave --noplots --save-period 1 --exist-ok";
    case.run(&format!("{PLAIN_TRAIN} {args}"))
        .ok()
        .shows(&["2/2", "Best weights: runs/train/exp/weights/last"]);
    let written = files(&case, "runs/train/exp");
    let names: Vec<&str> = written.keys().map(String::as_str).filter(|name| !name.contains("best")).collect();
    assert_eq!(
        names,
        ["hyp.yaml", "opt.yaml", "results.csv", "weights/epoch2.safetensors", "weights/last.safetensors"]
    );
    let best = written.get("weights/best.safetensors");
    assert!(
        best.is_none_or(|best| *best == written["weights/last.safetensors"]),
        "a best epoch that was not saved"
    );
    assert_eq!(table(&case, "runs/train/exp").1.len(), 3);
}

#[test]
fn evolution_is_refused_with_what_to_use_instead() {
    let case = shapes(4, 2);
    for evolve in ["--evolve", "--evolve 300"] {
        case.run(&format!("{TRAIN} {evolve}")).fails(&["--evolve", "--hyp", "yolo-cli sweep"]);
    }
}

#[test]
fn files_of_yolov5_by_their_names_are_not_files_of_other_folders() {
    let case = shapes(4, 2);
    let train = "train --data in/shapes/demo.yaml --imgsz 64 --weights=";
    case.run(&format!("{train} --cfg mine/yolov5n.yaml"))
        .fails(&["mine/yolov5n.yaml: no such file", "--cfg"]);
    case.run(&format!("{TRAIN} --hyp mine/hyp.scratch-low.yaml"))
        .fails(&["mine/hyp.scratch-low.yaml: no such file", "--hyp"]);
}

#[test]
fn flags_that_change_nothing_say_why() {
    let case = Case::with_data();
    case.run(&format!("{VAL} --dnn")).ok().warns(&["--dnn has no effect: ", "this program's own"]);
    let detect = "detect --weights in/tiny.safetensors --source in/data/images/val/000001.png --imgsz 64";
    let args = format!("{detect} --dnn --update --view-img");
    let args: Vec<&str> = args.split(' ').collect();
    let run = |display: &str| {
        let display = [("DISPLAY", display.to_owned()), ("WAYLAND_DISPLAY", String::new())];
        case.run_with(&args, &display)
            .ok()
            .warns(&["--dnn has no effect: "])
            .warns(&["--update has no effect: "])
    };
    if cfg!(target_os = "linux") {
        run("").warns(&["--view-img has no effect: there is no display"]);
    }
    run(":0").warns(&["--view-img has no effect: no window is opened", "runs/detect", "image viewer"]);
}

#[test]
fn folders_do_not_hide_what_is_built_in_but_yamls_do() {
    let case = Case::with_data();
    for folder in ["demo", "coco128"] {
        case.write(&format!("{folder}/notes.txt"), "mine");
    }
    let outcome = case.run("prune-finetune --weights demo --data demo --imgsz 64 --epochs 0").ok();
    outcome.shows(&["demo is the built-in demo, not the folder, which ./demo names"]);
    let opt = String::from_utf8(case.read("runs/prune-finetune/exp/opt.yaml")).unwrap();
    assert!(opt.contains("weights: demo\n") && opt.contains("data: demo\n"), "{opt}");
    case.run("val --weights in/tiny.safetensors --data coco128 --imgsz 64").fails(&["datasets/coco128"]);
    case.run("val --weights in/tiny.safetensors --data ./demo --imgsz 64").fails(&["./demo: it is a folder"]);
    case.write("demo.yaml", case.data_yaml().replace("path: .", "path: in/data"));
    let mine =
        case.run("val --weights in/tiny.safetensors --data demo --imgsz 64 --no-plots --json").ok().json();
    assert_eq!(mine["data"]["images"], 4);
}

#[test]
fn a_message_is_one_line_and_a_warning_once() {
    let case = Case::with_data();
    let twice = case.read("in/data/labels/val/000002.txt").repeat(2);
    case.write("in/data/labels/val/000002.txt", twice);
    let outcome = case.run(VAL).ok().warns(&["000002.txt", "repeated row"]);
    let is_doubled = |line: &str| line.matches("warning:").count() > 1;
    assert!(!outcome.stderr.lines().any(is_doubled), "{}", outcome.stderr);
}
