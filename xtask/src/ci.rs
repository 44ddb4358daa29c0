//! What a change has to pass, cheapest first.

use std::path::Path;
use std::process::Command;

/// The back ends for GPUs. Nothing is linked, so that neither LLVM nor libtorch have to be there.
const GPU_FEATURES: &str = "cuda,check-tch";

/// Runs every step; stops at the first that fails.
///
/// Everything is built for the whole workspace at once: building single packages would build shared
/// dependencies again with other features. What is for GPUs has other features in any case.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    cargo(root, "format", &["fmt", "--all", "--check"])?;
    cargo(root, "lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let gpus = [
        "clippy",
        "--package",
        "yolo-cli",
        "--all-targets",
        "--features",
        GPU_FEATURES,
        "--",
        "-D",
        "warnings",
    ];
    cargo(root, "lints of what is for GPUs", &gpus)?;
    if has_nextest() {
        cargo(root, "tests", &["nextest", "run", "--workspace", "--all-targets", "--no-fail-fast"])?;
    } else {
        cargo(root, "tests", &["test", "--workspace", "--lib", "--bins", "--tests"])?;
    }
    cargo(root, "doc tests", &["test", "--workspace", "--doc"])?;
    cargo(root, "documentation", &["doc", "--workspace", "--no-deps"])
}

fn has_nextest() -> bool {
    let version = Command::new("cargo").args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

fn cargo(root: &Path, step: &str, arguments: &[&str]) -> Result<(), String> {
    eprintln!("── {step}: cargo {}", arguments.join(" "));
    let mut command = Command::new("cargo");
    if arguments[0] == "doc" {
        // Links that lead nowhere and the like.
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    if arguments.contains(&GPU_FEATURES) {
        // Spares CubeCL's build scripts the download of LLVM, which only linking needs.
        command.env("DOCS_RS", "1");
    }
    let status = command.args(arguments).current_dir(root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{step} failed: cargo {}", arguments.join(" "))),
        Err(error) => Err(format!("cargo could not be started: {error}")),
    }
}
