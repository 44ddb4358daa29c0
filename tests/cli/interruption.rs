//! Ctrl-C.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Case, shared};
use crate::training_support::signal;

/// Waits for the child until `done` or the time limit.
fn wait_until(child: &mut Child, limit: Duration, mut done: impl FnMut(&mut Child) -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if done(child) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn an_interruption_is_one_line_and_leaves_nothing() {
    let (Some(weights), Some(data)) = (shared("weights/yolov5n.pt"), shared("data/coco-tiny/coco-tiny.yaml"))
    else {
        return;
    };
    let case = Case::empty();
    let mut command = case.command();
    // Images of this size keep it busy for long enough.
    command.args(["val", "--weights"]).arg(weights).arg("--data").arg(data).args(["--imgsz", "1280"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = case.path("runs/val/exp");
    let started = wait_until(&mut child, Duration::from_secs(120), |_| folder.is_dir());
    assert!(started, "the run folder never appeared");
    signal(&child, "-INT");
    let ended = wait_until(&mut child, Duration::from_secs(30), |child| child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(ended, "it went on: {stderr}");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
    assert!(stderr.lines().last().unwrap().starts_with("error: interrupted"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!folder.exists(), "the run folder is left");
}
