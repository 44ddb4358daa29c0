//! Every command that README, documents and help texts show runs as it is written, in a folder that has what it names.
//!
//! The networks and images there are small. A training or a sweep that would take minutes is interrupted, as a user
//! may, once it has begun, and has to say how it is resumed.

mod commands;
mod stage;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::detect_video::make_video;
use crate::support::{Case, runs_slow};
use crate::training_support::signal;
use commands::{documents, of_document};

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
    ("cargo run --example", "cargo xtask ci --full builds the examples"),
    ("yolo-cli device-check", "needs the device; tests/cli/devices.rs runs it"),
];
/// The document that does not wait for slow tests: every step from a checkpoint to a smaller file.
const ALWAYS: &str = "docs/pack.md";
/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(300);

/// What has to have happened before a command that resumes it or looks at it: part of the command, and commands.
const BEFORE: [(&str, &[&str]); 9] = [
    ("--expand --out plain.pt ", &["yolo-cli pack --weights pruned.safetensors --out packed.safetensors"]),
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
        &["yolo-cli sweep --weights best.pt --data mine.yaml --methods global --amounts 0.5,0.6 --imgsz 64"],
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
            if $file == ALWAYS || runs_slow() {
                run_document($file);
            }
        })*

        #[test]
        fn no_document_is_forgotten() {
            let run = BTreeSet::from([$($file.to_owned()),*]);
            let with_commands = documents().into_iter().filter(|file| !of_document(file).is_empty());
            assert_eq!(with_commands.collect::<BTreeSet<_>>(), run);
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
    families: "docs/families.md",
    yolov5: "docs/yolov5.md",
    distributed: "docs/distributed.md",
}

/// The examples of the help texts, each in a folder of its own, since they do not follow from each other.
#[test]
fn help() {
    if !runs_slow() {
        return;
    }
    let stage = Case::empty();
    let mut pending = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while let Some(path) = pending.pop() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        // On a screen that no example is too wide for.
        let help = stage.run_with(&args, &[("COLUMNS", "500".to_owned())]).ok().stdout;
        pending.extend(subcommands(&help).map(|name| [path.as_slice(), &[name]].concat()));
        let examples = help.lines().filter_map(|line| line.strip_prefix("  "));
        seen.extend(examples.filter(|line| line.starts_with("yolo-cli ")).map(str::to_owned));
    }
    let documented: BTreeSet<String> =
        documents().iter().flat_map(|file| of_document(file)).map(|(_, c)| c).collect();
    let documented: BTreeSet<&str> = documented.iter().map(|typed| plain(typed)).collect();
    // What takes minutes to measure; documents have the same commands with other files or fewer sizes.
    let is_slow =
        |example: &str| ["yolo-cli bench ", "ms ", "--task study"].iter().any(|part| example.contains(part));
    let is_here = |example: &&String| !documented.contains(plain(example)) && !is_slow(plain(example));
    let mut examples: Vec<&String> = seen.iter().filter(is_here).collect();
    examples.dedup_by_key(|example| plain(example));
    assert!(examples.len() > 40, "only {} examples were found", examples.len());
    let cache = tempfile::tempdir().unwrap();
    examples.into_iter().for_each(|example| Stage::set(cache.path()).follow("--help", example));
}

/// A command without the comment at its end.
fn plain(typed: &str) -> &str {
    typed.split(" # ").next().unwrap_or_default().trim_end()
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

/// Runs the commands of a document one after the other in one folder.
fn run_document(file: &str) {
    let cache = tempfile::tempdir().unwrap();
    let stage = Stage::set(cache.path());
    of_document(file).iter().for_each(|(place, typed)| stage.follow(place, typed));
}

/// A folder with what commands name.
struct Stage<'a> {
    case: Case,
    has_video: bool,
    /// What the program remembers of this machine, such as which kernels are fastest.
    cache: &'a Path,
}

impl<'a> Stage<'a> {
    fn set(cache: &'a Path) -> Self {
        let case = Case::empty();
        stage::set(&case);
        let has_video = make_video(&case.path("clip.mp4"), 12, "96x64", "10");
        Self { case, has_video, cache }
    }

    /// Runs a command if it is for this test, after what it needs.
    fn follow(&self, place: &str, typed: &str) {
        // GPUs, and times of every width of every layer, which take minutes; tests/cli/milliseconds.rs has these on
        // small images.
        let flags =
            ["--device cuda", "--device 0", "--device tch", "--channels-of ms", "--channels-at-most-ms"];
        let is_elsewhere = ELSEWHERE.iter().any(|(start, _)| typed.starts_with(start));
        if is_elsewhere || flags.iter().any(|flag| typed.contains(flag)) {
            return;
        }
        if typed.contains("rtsp://") || (typed.contains(".mp4") && !self.has_video) {
            return eprintln!("skipped, for want of a camera or of ffmpeg: {typed}");
        }
        let known = typed.starts_with("yolo-cli ") || typed.starts_with("cmp ");
        assert!(known, "{place}: {typed}\nneither runs here nor is in ELSEWHERE");
        // A reader may have no `man`; what it would show has a test of its own.
        let command = typed.split(" && man ").next().unwrap_or_default();
        let words = format!("{} ", plain(command));
        for (part, before) in BEFORE {
            if words.contains(part) {
                before.iter().for_each(|command| self.run(place, command));
            }
        }
        self.run(place, command);
    }

    /// Runs a line in a shell. It has to end well; a training or a sweep that takes long has to end well once it is interrupted.
    fn run(&self, place: &str, line: &str) {
        let long = ["yolo-cli train ", "yolo-cli prune-finetune", "yolo-cli sweep "];
        let is_short = line.ends_with("--epochs 1") || line.ends_with("--amounts 0.5");
        let goes_on = long.iter().any(|start| line.starts_with(start)) && !is_short;
        let begun_before = self.begun();
        let mut child = self.start(line);
        let (start, mut interrupted) = (Instant::now(), false);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if goes_on && !interrupted && self.begun() > begun_before {
                interrupted = true;
                signal(&child, "-INT");
            }
            if start.elapsed() > LIMIT {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{place}: {line}\ndoes not end:\n{}", self.printed());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        eprintln!("{:6.1} s  {line}", start.elapsed().as_secs_f64());
        let printed = self.printed();
        let is_saved =
            interrupted && printed.contains("error: interrupted") && printed.contains("continues it");
        // How fast it is depends on the machine.
        let is_too_slow = line.contains("ms ") && printed.contains(" ms are asked for, but ");
        assert!(status.success() || is_saved || is_too_slow, "{place}: {line}\n{status}\n{printed}");
        assert!(!printed.contains("panicked"), "{place}: {line}\n{printed}");
    }

    fn start(&self, line: &str) -> Child {
        let log = std::fs::File::create(self.case.path("log")).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_yolo-cli")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        Command::new("sh")
            // `exec`, so that an interruption reaches the program.
            .args(["-c", &format!("exec {line}")])
            .current_dir(self.case.path("."))
            .env("PATH", path)
            .env("HOME", self.case.path("."))
            .env("XDG_CACHE_HOME", self.cache)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.case.path("log")).unwrap()
    }

    /// How far trainings and sweeps are: states that can be gone on from, epochs and points that are done.
    fn begun(&self) -> usize {
        let folders = ["runs/train", "runs/prune-finetune", "runs/sweep"];
        let folders = folders.map(|folder| std::fs::read_dir(self.case.path(folder)));
        let runs = folders.into_iter().flatten().flatten().map(|run| run.unwrap().path());
        let lines = |table| std::fs::read_to_string(table).map_or(0, |table| table.lines().count());
        let progress = |run: std::path::PathBuf| {
            lines(run.join("results.csv"))
                + lines(run.join("sweep.csv"))
                + usize::from(run.join("weights/state.safetensors").is_file())
        };
        runs.map(progress).sum()
    }
}
