//! What a terminal shows, to the letter: `snapshots/NAME.txt`.
//!
//! `YOLO_SNAPSHOTS=write cargo nextest run -E 'test(snapshots)'` writes them anew; look at the difference before it is
//! committed.

use std::path::{Path, PathBuf};

use crate::support::{Case, Outcome};

/// Narrow and wide terminals.
const WIDTHS: [&str; 2] = ["80", "200"];

fn file(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cli/snapshots")).join(format!("{name}.txt"))
}

/// Asserts that `text` is that of the file, or writes the file where it was asked for.
fn assert_snapshot(name: &str, text: &str) {
    let file = file(name);
    if std::env::var("YOLO_SNAPSHOTS").is_ok_and(|wish| wish == "write") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let first = expected.lines().zip(text.lines()).find(|(expected, found)| expected != found);
    assert!(
        expected == text,
        "{} is no longer what is shown (first difference: {first:?}); YOLO_SNAPSHOTS=write updates it.\n{text}",
        file.display()
    );
}

fn run(case: &Case, args: &str, width: &str, colour: bool) -> Outcome {
    let args: Vec<&str> = args.split_whitespace().collect();
    let mut variables = vec![("COLUMNS", width.to_owned())];
    if !colour {
        variables.push(("NO_COLOR", "1".to_owned()));
    }
    case.run_with(&args, &variables)
}

/// Both streams, with the folder of the test replaced.
fn shown(case: &Case, outcome: &Outcome) -> String {
    let folder = case.path("").display().to_string();
    let text = format!("{}--- stderr\n{}", outcome.stdout, outcome.stderr);
    text.replace(folder.trim_end_matches('/'), "…")
}

/// Runs at both widths.
fn assert_shown(case: &Case, name: &str, args: &str) {
    for width in WIDTHS {
        let outcome = run(case, args, width, true);
        let text = shown(case, &outcome);
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{args}: colour or bars in a pipe: {text}");
        assert_snapshot(&format!("{name}-{width}"), &text);
    }
}

/// Commands whose help is kept to the letter; that of the others changes with every flag.
const KEPT: [&str; 8] =
    ["info", "coco-eval", "report", "data", "data check", "data convert", "doctor", "completions"];

#[test]
fn help_fits_the_terminal() {
    let case = Case::empty();
    let all = run(&case, "--help", "80", true).stdout;
    let names =
        all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 10 && names.contains(&"report"), "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help").chain(["", "data check", "data convert"]) {
        for width in [60, 80, 200] {
            let outcome = run(&case, &format!("{name} --help"), &width.to_string(), true).ok();
            // A word may be longer than a line, and the usage is one.
            let is_wide = |line: &&str| {
                line.chars().count() > width && !line.starts_with("Usage:") && line.trim().contains(' ')
            };
            let wide: Vec<&str> = outcome.stdout.lines().filter(is_wide).collect();
            assert!(wide.is_empty(), "{name} at {width} columns: {wide:?}");
            assert!(!outcome.stdout.contains('\u{1b}'), "{name}: colour in a pipe");
        }
    }
}

#[test]
fn help_of_small_commands() {
    let case = Case::empty();
    for command in KEPT {
        let args = format!("{command} --help");
        assert_shown(&case, &format!("help-{}", command.replace(' ', "-")), &args);
        assert_eq!(
            run(&case, &args, "80", false).stdout,
            run(&case, &args, "80", true).stdout,
            "NO_COLOR: {command}"
        );
    }
}

#[test]
fn tables_and_errors() {
    let case = Case::with_annotations();
    case.write("in/data/labels/val/000002.txt", "1 0.5 0.5 0.25 0.25\n1 0.5 0.5 0.25 0.25\n");
    case.write("in/data/labels/val/000003.txt", "0 0.5 0.5 1.25 0.25\n");
    assert_shown(&case, "data-check", "data check in/data/data.yaml");
    assert_shown(&case, "info", "info --weights in/tiny.safetensors");
    assert_shown(&case, "error-file", "info --weights in/tiny.pt");
    assert_shown(&case, "error-flag", "info --weigths in/tiny.safetensors");
    assert_shown(&case, "error-command", "vall");
}
