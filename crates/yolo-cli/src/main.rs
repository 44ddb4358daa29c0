//! `yolo-cli`: prune YOLOv5 detectors, and prove what it cost.

use std::process::ExitCode;

fn main() -> ExitCode {
    yolo_cli::main()
}
