//! Every command that README, documents and help texts show runs as it is written, in a folder that has what it names.
//!
//! The networks and images there are small. A training that would go on for minutes is interrupted after its first epoch,
//! as a user may, and has to say how it goes on.

mod commands;
mod stage;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Case;
use commands::{of_program, of_text};

/// How commands begin that are not for this test, and why.
const ELSEWHERE: [(&str, &str); 12] = [
    ("cargo xtask ci", "runs this test"),
    ("cargo xtask fetch-", "downloads"),
    ("cargo xtask gpu-check", "needs a GPU, or takes minutes; tests/cli/devices.rs runs what it runs"),
    ("cargo xtask bench-peers", "measures"),
    ("cargo bench", "measures"),
    ("YOLO_BENCH_DUMP=", "measures"),
    ("python", "measures or installs other programs"),
    ("cargo build", "builds for GPUs"),
    ("DOCS_RS=1 cargo check", "is a step of cargo xtask ci"),
    ("export ", "for the build for GPUs"),
    ("cargo run --example", "cargo xtask ci builds the examples"),
    ("yolo-cli device-check", "needs the device; tests/cli/devices.rs runs it"),
];
/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(300);

/// What has to have happened before a command that goes on from it or looks at it: part of the command, and commands.
const BEFORE: [(&str, &[&str]); 8] = [
    (
        "train --resume runs/train/exp3 ",
        &["yolo-cli train --data mine.yaml --weights best.pt --imgsz 64 --name exp3"],
    ),
    (
        "--resume runs/prune-finetune/exp2 ",
        &["yolo-cli prune-finetune --data mine.yaml --weights best.pt --imgsz 64 --name exp2"],
    ),
    (
        "--resume runs/sweep/exp ",
        &["yolo-cli sweep --weights best.pt --data mine.yaml --methods global --amounts 0.5 --imgsz 64"],
    ),
    ("report before=runs/val/exp runs/val/exp2 ", &[A_VAL, A_VAL, A_FINETUNING]),
    ("report runs/val", &[A_VAL, A_VAL]),
    ("report before=old/results.json ", &[A_VAL, "mkdir old", "cp runs/val/exp/results.json old"]),
    ("report runs/prune-finetune/exp runs/sweep/exp ", &[A_FINETUNING, A_SWEEP]),
    ("--out mine ", &["rm -r mine"]),
];
const A_VAL: &str = "yolo-cli val --weights a.pt --data mine.yaml --imgsz 64";
const A_FINETUNING: &str = "yolo-cli prune-finetune --weights best.pt --data mine.yaml --imgsz 64 --epochs 1";
const A_SWEEP: &str =
    "yolo-cli sweep --weights best.pt --data mine.yaml --imgsz 64 --methods global --amounts 0.5";

/// A test for each document, so that they run side by side.
macro_rules! documents {
    ($($name:ident: $file:literal,)*) => {
        $(#[test]
        fn $name() {
            run_document($file);
        })*

        #[test]
        fn no_document_is_forgotten() {
            let run = BTreeSet::from([$($file.to_owned()),*]);
            let folder = std::fs::read_dir(root().join("docs")).unwrap();
            let files = folder.map(|file| format!("docs/{}", file.unwrap().file_name().display()));
            let with_commands = files
                .chain(["README.md".to_owned()])
                .filter(|file| file.ends_with(".md") && !commands_of(file).is_empty());
            assert_eq!(with_commands.collect::<BTreeSet<_>>(), run);
        }

        fn documents() -> Vec<&'static str> {
            vec![$($file),*]
        }
    };
}

documents! {
    readme: "README.md",
    channels: "docs/channels.md",
    data: "docs/data.md",
    detect: "docs/detect.md",
    export: "docs/export.md",
    gpu: "docs/gpu.md",
    inference: "docs/inference.md",
    pack: "docs/pack.md",
    performance: "docs/performance.md",
    prune_finetune: "docs/prune-finetune.md",
    pruning: "docs/pruning.md",
    report: "docs/report.md",
    small_machine: "docs/small-machine.md",
    sweep: "docs/sweep.md",
    train: "docs/train.md",
    tutorial: "docs/tutorial.md",
    val: "docs/val.md",
    distributed: "docs/distributed.md",
}

/// The examples of the help texts, each in a folder of its own, since they do not follow from each other.
#[test]
fn help() {
    let stage = Case::empty();
    let mut pending = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while let Some(path) = pending.pop() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = stage.run_args(&args).ok().stdout;
        pending.extend(subcommands(&help).map(|name| [path.as_slice(), &[name]].concat()));
        let examples = help.lines().filter_map(|line| line.strip_prefix("  "));
        seen.extend(examples.filter(|line| line.starts_with("yolo-cli ")).map(str::to_owned));
    }
    let documented: BTreeSet<String> =
        documents().iter().flat_map(|file| commands_of(file)).map(|(_, c)| c).collect();
    let examples: Vec<&String> = seen.difference(&documented).collect();
    assert!(examples.len() > 50, "only {} examples were found", examples.len());
    for example in examples {
        let (case, has_video) = staged();
        follow(&case, has_video, "--help", example);
    }
}

/// The commands that a help text lists.
fn subcommands(help: &str) -> impl Iterator<Item = String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names: Vec<String> =
        names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect();
    names.into_iter().filter(|name| name != "help")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Place and text of every command in a document.
fn commands_of(file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let commands = of_text(&text).into_iter();
    commands.map(|(line, typed)| (format!("{file}:{line}"), of_program(&typed).unwrap_or(typed))).collect()
}

/// A folder with everything, and whether there is a video in it.
fn staged() -> (Case, bool) {
    let case = Case::empty();
    stage::set(&case);
    let has_video = stage::add_video(&case.path("clip.mp4"));
    (case, has_video)
}

/// Runs the commands of a document one after the other in one folder.
fn run_document(file: &str) {
    let (case, has_video) = staged();
    for (place, typed) in commands_of(file) {
        follow(&case, has_video, &place, &typed);
    }
}

/// Runs a command if it is for this test, after what it needs.
fn follow(case: &Case, has_video: bool, place: &str, typed: &str) {
    let is_for_gpus =
        ["--device cuda", "--device 0", "--device tch"].iter().any(|device| typed.contains(device));
    if is_for_gpus || ELSEWHERE.iter().any(|(start, _)| typed.starts_with(start)) {
        return;
    }
    if typed.contains("rtsp://") || (typed.contains(".mp4") && !has_video) {
        return eprintln!("skipped, for want of a camera or of ffmpeg: {typed}");
    }
    let known = typed.starts_with("yolo-cli ") || typed.starts_with("cmp ");
    assert!(known, "{place}: {typed}\nneither runs here nor is in ELSEWHERE");
    // A reader may have no `man`; what it would show has a test of its own.
    let command = typed.split(" && man ").next().unwrap_or_default();
    // The comment at its end does not matter here.
    let plain = format!("{} ", command.split(" # ").next().unwrap_or_default().trim_end());
    for (part, before) in BEFORE {
        if plain.contains(part) {
            before.iter().for_each(|command| run(case, place, command));
        }
    }
    run(case, place, command);
}

/// Runs a line in a shell. It has to end well; a training that goes on has to end well once it is interrupted.
fn run(case: &Case, place: &str, line: &str) {
    let log = case.path("log");
    let file = std::fs::File::create(&log).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_yolo-cli")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let is_training =
        ["yolo-cli train ", "yolo-cli prune-finetune"].iter().any(|start| line.starts_with(start));
    let goes_on = is_training && !line.contains("--epochs 1");
    let epochs_before = epochs(case);
    let mut child = Command::new("sh")
        // `exec`, so that an interruption reaches the program.
        .args(["-c", &format!("exec {line}")])
        .current_dir(case.path("."))
        .env("PATH", path)
        .env("HOME", case.path("."))
        .env("XDG_CACHE_HOME", case.path("cache"))
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let (start, mut interrupted) = (Instant::now(), false);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if goes_on && !interrupted && epochs(case) > epochs_before {
            interrupted = true;
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{place}: {line}\ndoes not end:\n{}", std::fs::read_to_string(&log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let printed = std::fs::read_to_string(&log).unwrap();
    let went_well = match interrupted {
        // It may have ended in the same moment.
        true => status.success() || (printed.contains("error: interrupted") && printed.contains("goes on")),
        false => status.success(),
    };
    assert!(went_well, "{place}: {line}\n{status}\n{printed}");
    assert!(!printed.contains("panicked"), "{place}: {line}\n{printed}");
}

/// Epochs in the tables of all trainings.
fn epochs(case: &Case) -> usize {
    let runs = ["runs/train", "runs/prune-finetune"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(case.path(folder)));
    let tables = runs.flatten().map(|run| run.unwrap().path().join("results.csv"));
    tables.filter_map(|table| std::fs::read_to_string(table).ok()).map(|table| table.lines().count()).sum()
}
