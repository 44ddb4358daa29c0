//! Runs that are killed or interrupted, and are resumed to the same bytes.

use std::time::{Duration, Instant};

use rand::Rng;
use yolo_model::Checkpoint;
use yolo_train::train::TrainState;

use crate::support::{Case, runs_slow};
use crate::training_support::{
    TRAIN, TRAIN_TINY, all_load, assert_same, conv_zeros, files, shapes, shows, signal, squares, start,
    state_file, table, trained, wait, wait_until,
};

/// What two runs have to agree on.
const OUTPUTS: [&str; 3] = ["weights/best.safetensors", "weights/last.safetensors", "results.csv"];
const FINETUNED: [&str; 3] =
    ["weights/pruned.safetensors", "weights/best.safetensors", "weights/finetuned.safetensors"];

fn assert_same_run(case: &Case, run: &str, reference: &str, outputs: &[&str]) {
    for output in outputs {
        assert_same(case, &format!("{run}/{output}"), &format!("{reference}/{output}"));
    }
    assert!(!state_file(case, run).exists(), "{run} is done, but its state is left");
}

/// A run of `args` in the folder `run` that is killed up to `kills` times, the first time within the first
/// epoch; how often it was. `duration` is about what it takes undisturbed.
fn killed_run(case: &Case, command: &str, args: &str, run: &str, kills: usize, duration: Duration) -> usize {
    let mut killed = 0;
    while killed < kills {
        let args = if killed == 0 { args.to_owned() } else { format!("{command} --resume {run}") };
        let mut child = start(case, &args, "log");
        let started = wait_until(&mut child, || state_file(case, run).exists());
        assert!(started || killed > 0, "{}", String::from_utf8_lossy(&case.read("log")));
        // A fifth of a run of four epochs is less than the first of them.
        let longest = if killed == 0 { duration / 5 } else { duration * 2 / 3 };
        let delay = Duration::from_micros(rand::rng().random_range(0..longest.as_micros() as u64));
        std::thread::sleep(delay);
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        eprintln!("{run} killed after {delay:?}: {:?}", files(case, run).keys());
        all_load(case, run);
    }
    if state_file(case, run).exists() {
        case.run(&format!("{command} --resume {run}")).ok();
    }
    killed
}

/// A run that is left alone, and others that are killed once in all, or `kills` times where slow tests run, all of them
/// with the same result.
fn assert_kills_change_nothing(case: &Case, command: &str, args: &str, outputs: &[&str], kills: usize) {
    let kills = if runs_slow() { kills } else { 1 };
    let start = Instant::now();
    case.run(&format!("{args} --project runs --name reference")).ok();
    let duration = start.elapsed();
    let mut killed = 0;
    for number in 0..=kills {
        let run = format!("runs/{number}");
        let args = format!("{args} --project runs --name {number}");
        killed += killed_run(case, command, &args, &run, kills - killed, duration);
        assert_same_run(case, &run, "runs/reference", outputs);
        if killed == kills {
            return;
        }
    }
    panic!("only {killed} of {kills} kills hit a run");
}

#[test]
fn a_killed_training_ends_with_the_bytes_of_one_that_was_not() {
    let case = shapes(24, 12);
    // Five batches of five images and three that make a step: gradients are pending between the epochs.
    let args = format!("{TRAIN} --epochs 4 --batch-size 5 --nominal-batch-size 15 --hyp in/steady.yaml");
    assert_kills_change_nothing(&case, "train", &args, &OUTPUTS, 5);
}

#[test]
fn a_killed_training_with_every_option_ends_with_the_bytes_of_one_that_was_not() {
    let case = shapes(24, 12);
    let args = format!(
        "{TRAIN} --epochs 4 --batch-size 5 --nominal-batch-size 15 --multi-scale --optimizer AdamW --cos-lr \
         --image-weights --autobalance --label-smoothing 0.1 --save-period 2 --cache --hyp in/steady-high.yaml"
    );
    let outputs = [&OUTPUTS[..], &["weights/epoch0.safetensors", "weights/epoch2.safetensors"]].concat();
    assert_kills_change_nothing(&case, "train", &args, &outputs, 5);
}

#[test]
fn a_killed_prune_finetune_ends_with_the_bytes_of_one_that_was_not() {
    let case = trained();
    let args = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 \
        --batch-size 8 --epochs 4 --gradual 2 --amount 0.5";
    assert_kills_change_nothing(&case, "prune-finetune", args, &FINETUNED, 2);
    let summary = |run: &str| {
        let mut summary = case.json(&format!("runs/{run}/summary.json"));
        for stage in summary["stages"].as_array_mut().unwrap() {
            stage["speed_ms"] = 0.into();
            stage["turns"] = 0.into();
            stage["model"]["weights"] = "".into();
        }
        summary
    };
    assert_eq!(summary("0"), summary("reference"));
}

#[test]
fn a_killed_channel_pruning_ends_with_the_bytes_of_one_that_was_not() {
    let case = trained();
    let args = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 \
        --batch-size 8 --epochs 4 --channels 0.4 --round-to 2";
    assert_kills_change_nothing(&case, "prune-finetune", args, &FINETUNED, 2);
}

/// Starts a run and presses Ctrl-C once it trains; the log, and where its state is, if it was not too late.
fn interrupted(case: &Case, args: &str, run: &str, ready: &str) -> Option<(String, usize, usize)> {
    let mut child = start(case, args, "log");
    let log = case.path("log");
    let is_ready = || shows(&log, ready) && state_file(case, run).exists();
    assert!(wait_until(&mut child, is_ready), "{}", String::from_utf8_lossy(&case.read("log")));
    signal(&child, "-INT");
    let code = wait(child);
    let log = String::from_utf8(case.read("log")).unwrap();
    if !state_file(case, run).exists() {
        assert_eq!(code, Some(0), "{log}");
        return None;
    }
    assert_eq!(code, Some(1), "{log}");
    let errors: Vec<&str> = log.lines().filter(|line| line.starts_with("error:")).collect();
    let [error] = errors[..] else { panic!("{log}") };
    assert!(error.contains("interrupted and saved"), "{log}");
    assert!(error.contains(&format!("--resume {run}` continues it")), "{log}");
    all_load(case, run);
    let progress = TrainState::load(&state_file(case, run)).unwrap().progress;
    Some((log, progress.epoch, progress.batch_in_epoch))
}

#[test]
fn ctrl_c_saves_in_the_middle_of_an_epoch_and_the_run_goes_on_from_there() {
    let case = shapes(48, 8);
    let args = format!(
        "{TRAIN} --epochs 2 --batch-size 1 --nominal-batch-size 40 --hyp in/steady.yaml --project runs"
    );
    case.run(&format!("{args} --name reference")).ok();
    let (_, epoch, batch) =
        interrupted(&case, &format!("{args} --name a"), "runs/a", "Model summary").unwrap();
    assert!(batch > 0, "epoch {epoch}, batch {batch}");
    let state = TrainState::load(&state_file(&case, "runs/a")).unwrap();
    assert!(batch == 40 || !state.pending.is_empty(), "nothing is pending after batch {batch}");
    let again = interrupted(&case, "train --resume runs/a", "runs/a", "Model summary");
    if let Some((log, later_epoch, later_batch)) = again {
        assert!(log.contains(&format!("continuing at epoch {epoch}, batch {batch}")), "{log}");
        // The signal may come before the first batch, which then is the one to continue with.
        assert!((later_epoch, later_batch) >= (epoch, batch), "it went back");
    }
    case.run("train --resume runs/a").ok();
    assert_same_run(&case, "runs/a", "runs/reference", &OUTPUTS);
}

#[test]
fn ctrl_c_during_fine_tuning_is_resumed_as_well() {
    let case = trained();
    let args = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 \
        --batch-size 1 --epochs 2 --amount 0.5 --project runs";
    case.run(&format!("{args} --name reference")).ok();
    let (_, _, batch) = interrupted(&case, &format!("{args} --name a"), "runs/a", "Pruned 50%").unwrap();
    assert!(batch > 0);
    case.run("prune-finetune --resume runs/a").ok();
    assert_same_run(&case, "runs/a", "runs/reference", &FINETUNED);
}

#[test]
fn ctrl_c_before_fine_tuning_is_resumed_as_well() {
    let case = squares();
    let args = "prune-finetune --weights in/tiny.safetensors --data in/squares/data.yaml --imgsz 64 \
        --batch-size 1 --epochs 1 --amount 0.5 --project runs";
    case.run(&format!("{args} --name reference")).ok();
    let mut child = start(&case, &format!("{args} --name a"), "log");
    assert!(wait_until(&mut child, || case.path("runs/a/opt.yaml").exists()));
    signal(&child, "-INT");
    let (code, log) = (wait(child), String::from_utf8(case.read("log")).unwrap());
    assert_eq!(code, Some(1), "{log}");
    assert_eq!(log.matches("error: ").count(), 1, "{log}");
    assert!(log.contains("interrupted") && log.contains("--resume runs/a` continues it"), "{log}");
    assert!(!case.path("runs/a/summary.json").exists());
    case.run("prune-finetune --resume runs/a").ok();
    assert_same_run(&case, "runs/a", "runs/reference", &FINETUNED);
}

#[test]
fn a_run_that_is_killed_once_its_patience_is_over_does_not_train_on() {
    let case = squares();
    let args = format!("{TRAIN_TINY} --epochs 25 --nominal-batch-size 8 --patience 2 --project runs");
    let stops = "No better result for 2 epochs: stopping";
    case.run(&format!("{args} --name reference")).ok().shows(&[stops]);
    // The last validation is short: not every kill comes before its end.
    for number in 0..20 {
        let run = format!("runs/{number}");
        let mut child = start(&case, &format!("{args} --name {number}"), "log");
        assert!(wait_until(&mut child, || shows(&case.path("log"), stops)));
        child.kill().unwrap();
        child.wait().unwrap();
        if state_file(&case, &run).exists() {
            case.run(&format!("train --resume {run}")).ok().shows(&[stops]);
            return assert_same_run(&case, &run, "runs/reference", &OUTPUTS);
        }
    }
    panic!("every kill came too late");
}

#[test]
fn a_pruned_network_keeps_its_zeros_in_training_and_resuming() {
    let case = squares();
    case.run("prune --weights in/tiny.safetensors --amount 0.4 --out pruned.safetensors").ok();
    let zeros = conv_zeros(&case, "pruned.safetensors");
    assert!(zeros > 0);
    let args = "train --weights pruned.safetensors --data in/squares/data.yaml --imgsz 64 --batch-size 1 \
        --epochs 2 --optimizer AdamW --project runs --name a";
    let (log, ..) = interrupted(&case, args, "runs/a", "Model summary").unwrap();
    assert!(log.contains("weights are pruned and stay zero"), "{log}");
    let state = TrainState::load(&state_file(&case, "runs/a")).unwrap();
    assert_eq!(state.masks.pruned() as u64, zeros);
    case.run("train --resume runs/a").ok();
    for name in ["best", "last"] {
        assert_eq!(conv_zeros(&case, &format!("runs/a/weights/{name}.safetensors")), zeros);
    }
}

/// All but the head's last convolutions, which other classes replace.
#[test]
fn zeros_stay_in_a_network_for_other_classes() {
    let case = squares();
    case.run("prune --weights in/tiny.safetensors --amount 0.4 --out pruned.safetensors").ok();
    case.write(
        "in/squares/more.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames: [red, green, blue, black]\n",
    );
    let outcome = case
        .run(
            "train --weights pruned.safetensors --data in/squares/more.yaml --imgsz 64 --batch-size 8 --epochs 1 \
             --project runs --name a",
        )
        .ok();
    outcome.shows(&["Transferred", "weights are pruned and stay zero"]);
    let zeros = |file: &str| -> Vec<(String, Vec<bool>)> {
        let checkpoint = Checkpoint::load(&case.path(file)).unwrap();
        let convs = checkpoint.architecture.convs().into_iter();
        let inner = convs.map(|conv| conv.weight()).filter(|name| !name.contains(".m.0.weight"));
        inner
            .map(|name| {
                let values = checkpoint.weights.f32s(&name).unwrap();
                (name.clone(), values.iter().map(|&value| value == 0.0).collect())
            })
            .collect()
    };
    let pruned = zeros("pruned.safetensors");
    assert!(pruned.iter().any(|(_, zeros)| zeros.contains(&true)));
    assert_eq!(zeros("runs/a/weights/last.safetensors"), pruned);
}

#[test]
fn neither_workers_nor_threads_change_a_byte() {
    let case = shapes(24, 8);
    let args = format!(
        "{TRAIN} --epochs 2 --batch-size 5 --nominal-batch-size 15 --hyp in/steady.yaml --project runs"
    );
    case.run(&format!("{args} --name reference --workers 0")).ok();
    for workers in [1, 2] {
        case.run(&format!("{args} --name workers{workers} --workers {workers}")).ok();
        assert_same_run(&case, &format!("runs/workers{workers}"), "runs/reference", &OUTPUTS);
    }
    for threads in ["1", "2", "3"] {
        let mut command = case.command();
        command.args(format!("{args} --name threads{threads}").split_whitespace());
        let output = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_same_run(&case, &format!("runs/threads{threads}"), "runs/reference", &OUTPUTS);
    }
}

#[test]
fn the_newest_interrupted_run_is_resumed_where_none_is_named() {
    let case = squares();
    let args = format!("{TRAIN_TINY} --epochs 2 --batch-size 1");
    let args = args.replace("--batch-size 8 ", "");
    interrupted(&case, &args, "runs/train/exp", "Model summary").unwrap();
    let other = "--epochs 500 --batch-size 4 --imgsz 64 --data nosuch.yaml --workers 1";
    let outcome = case.run(&format!("train --resume {other}")).ok();
    let outcome =
        outcome.warns(&["ignored", "runs/train/exp/opt.yaml", ": --", "--epochs 500", "--batch-size 4"]);
    let outcome = outcome.warns(&["--data nosuch.yaml"]);
    // The size is the one that it began with, and where it computes is up to the one who resumes it.
    assert!(
        !outcome.stderr.contains("--imgsz") && !outcome.stderr.contains("--workers"),
        "{}",
        outcome.stderr
    );
    outcome.shows(&["continuing at epoch", "Results saved to runs/train/exp"]);
    assert_eq!(table(&case, "runs/train/exp").1.len(), 2);
    // What YOLOv5 takes: the checkpoint in the run.
    case.run("train --resume runs/train/exp/weights/last.safetensors").fails(&["this run is done"]);
}

#[test]
fn what_cannot_be_resumed_is_named() {
    let case = squares();
    case.run(&format!("{TRAIN_TINY} --epochs 1")).ok();
    let finetune = "prune-finetune --weights in/tiny.safetensors --data in/squares/data.yaml --imgsz 64";
    case.run(&format!("{finetune} --epochs 0")).ok();
    for command in ["train", "prune-finetune"] {
        let run = format!("runs/{command}/exp");
        let before = files(&case, &run);
        case.run(&format!("{command} --resume {run}")).fails(&[&run, "this run is done"]);
        assert!(files(&case, &run) == before, "{run} has changed");
        case.run(&format!("{command} --resume")).fails(&[&format!("runs/{command}"), "no interrupted run"]);
        case.run(&format!("{command} --resume nowhere")).fails(&["nowhere: no such run", "--resume"]);
        case.run(&format!("{command} --resume in")).fails(&["in/opt.yaml", "not the folder", "--resume"]);
        case.write("bad/opt.yaml", "weights: [");
        case.run(&format!("{command} --resume bad")).fails(&[
            "bad/opt.yaml",
            "damaged",
            "start the run again",
        ]);
    }
    case.write("early/opt.yaml", case.read("runs/train/exp/opt.yaml"));
    case.run("train --resume early").fails(&["early", "before its first batch", "start it again"]);
}

#[test]
fn a_damaged_state_is_refused() {
    let case = squares();
    let args = TRAIN_TINY.replace("--batch-size 8", "--batch-size 1");
    interrupted(&case, &format!("{args} --epochs 2"), "runs/train/exp", "Model summary").unwrap();
    let state = case.read("runs/train/exp/weights/state.safetensors");
    let name = "runs/train/exp/weights/state.safetensors";
    case.write(name, &state[..state.len() / 2]);
    case.run("train --resume").fails(&["state.safetensors"]);
    case.write(name, case.read("in/tiny.safetensors"));
    case.run("train --resume").fails(&["state.safetensors", "not the state of a", "start the run again"]);
    case.write(name, state);
    case.run("train --resume").ok();
}
