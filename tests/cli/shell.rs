//! What the terminal itself is served with: completions, man pages, quiet and JSON logs, `doctor`, suggestions.

use serde_json::Value;

use crate::support::{Case, VAL, keys};

#[test]
fn every_shell_gets_a_script_with_the_commands() {
    let case = Case::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = case.run(&format!("completions {shell}")).ok().stdout;
        for word in ["prune-finetune", "coco-eval", "iou-thres"] {
            assert!(script.contains(word), "{word} is not in the script of {shell}");
        }
    }
    case.run("completions tcsh").bad_arguments(&["tcsh", "bash"]);
}

#[test]
fn bash_takes_the_script() {
    let case = Case::empty();
    let script = case.write("in/yolo-cli.bash", case.run("completions bash").ok().stdout);
    let check = format!(
        "source {} && COMP_WORDS=(yolo-cli pru) COMP_CWORD=1 && _yolo__cli yolo-cli pru yolo-cli \
                         && echo ${{COMPREPLY[@]}}",
        script.display()
    );
    let Ok(output) = std::process::Command::new("bash").args(["-c", &check]).output() else {
        eprintln!("skipped: there is no bash");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "prune prune-finetune", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_man_page_is_written_for_every_command() {
    let case = Case::empty();
    let outcome = case.run("man --out man").ok();
    for page in ["yolo-cli", "yolo-cli-val", "yolo-cli-data", "yolo-cli-data-check"] {
        assert!(outcome.written.contains(&format!("man/{page}.1")), "{:?}", outcome.written);
    }
    let page = String::from_utf8(case.read("man/yolo-cli-data-check.1")).unwrap();
    assert!(page.contains(".TH yolo-cli-data-check 1") && page.contains("\\-\\-mosaic"), "{page}");
    case.write("file", "x");
    case.run("man --out file").fails(&["file", "--out"]);
}

#[test]
fn quiet_leaves_results_warnings_and_errors() {
    let case = Case::with_data();
    case.write("in/data/labels/val/000002.txt", "bad");
    let loud = case.run(VAL).ok();
    assert!(loud.stderr.contains("4 images: 3 labelled"), "{}", loud.stderr);
    for args in [format!("{VAL} --quiet"), format!("-q {VAL}")] {
        let quiet = case.run(&args).ok();
        assert!(quiet.stdout.contains("mAP50-95"));
        assert!(!quiet.stderr.is_empty() && quiet.stderr.lines().all(|line| line.starts_with("warning: ")));
    }
    let json = case.run(&format!("{VAL} --json -q")).ok();
    assert!(json.json()["native"].is_object());
    assert!(json.stderr.lines().all(|line| line.starts_with("warning: ")), "{}", json.stderr);
    case.run("-q info --weights gone.pt").fails(&["gone.pt: no such file"]);
}

#[test]
fn json_logs_are_an_object_a_line() {
    let case = Case::with_data();
    case.write("in/data/labels/val/000002.txt", "bad");
    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    };
    let outcome = case.run(&format!("{VAL} --json --log-format json")).ok();
    assert!(outcome.json()["native"].is_object());
    let logged = lines(&outcome.stderr);
    assert!(logged.iter().all(|line| keys(line) == ["level", "message", "time"]));
    let level = |level: &str| logged.iter().filter(|line| line["level"] == level).count();
    assert!(level("info") > 1 && level("warning") == 1, "{}", outcome.stderr);
    let failed = case.run("info --weights gone.pt --log-format json");
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""));
    let logged = lines(&failed.stderr);
    assert_eq!(logged[0]["level"], "error");
    assert!(logged[0]["message"].as_str().unwrap().starts_with("gone.pt: no such file"));
}

#[test]
fn a_misspelt_file_comes_with_the_nearest_one() {
    let case = Case::with_data();
    case.run("info --weights in/tiny.safetensor")
        .fails(&["no such file", "did you mean in/tiny.safetensors?"]);
    case.run("info --weights in/tiny.pt").fails(&["did you mean in/tiny.safetensors?"]);
    case.run("val --weights in/tiny.safetensors --data in/data/dat.yaml")
        .fails(&["no such file", "did you mean in/data/data.yaml?"]);
    case.write("in/boxes.json", "[]");
    case.run("coco-eval --annotations in/boxen.json --predictions in/boxes.json")
        .fails(&["in/boxen.json: no such file; check --annotations", "did you mean in/boxes.json?"]);
    let outcome = case.run("info --weights in/quite-different.pt");
    assert!(!outcome.stderr.contains("did you mean"), "{}", outcome.stderr);
}

#[test]
fn the_version_names_the_back_ends() {
    let case = Case::empty();
    let version = case.run("--version").ok().stdout;
    assert!(
        version.starts_with(concat!("yolo-cli ", env!("CARGO_PKG_VERSION"), "\nfeatures: ")),
        "{version}"
    );
    assert_eq!(version.contains("flex"), cfg!(feature = "flex"));
    assert_eq!(version.contains("cuda"), cfg!(feature = "cuda"));
    assert_eq!(case.run("-V").ok().stdout.lines().count(), 1);
}

#[test]
fn doctor_tells_what_is_here_and_what_is_not() {
    let case = Case::with_data();
    let empty = case.run("doctor --json").ok().json();
    let cache = |found: &Value, what: &str| {
        let caches = found["caches"].as_array().unwrap().iter();
        caches.into_iter().find(|cache| cache["what"] == what).unwrap_or_else(|| panic!("{what}")).clone()
    };
    assert_eq!(cache(&empty, "scans")["files"], 0);
    assert!(empty["cores"].as_u64().unwrap() > 0 && empty["features"].is_array());
    case.run(VAL).ok();
    let full = case.run("doctor --json").ok().json();
    assert_eq!(cache(&full, "scans")["files"], 1);
    assert!(cache(&full, "kernels")["bytes"].as_u64().unwrap() > 0);
    let text = case.run("doctor").ok();
    text.shows(&["yolo-cli", "vector unit", "cache/yolo-prune/kernels (1 file", "ffmpeg"]);
    let nowhere = case.path("nowhere").display().to_string();
    let outcome = case.run_with(&["doctor"], &[("YOLO_DATASETS_DIR", nowhere), ("PATH", String::new())]).ok();
    outcome.shows(&["nowhere: no such folder", "ffmpeg          not found", "apt install ffmpeg"]);
}
