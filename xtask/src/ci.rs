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
    // `DOCS_RS` spares CubeCL's build scripts the download of LLVM, which only linking needs.
    let gpus = format!("clippy --package yolo-cli --all-targets --features {GPU_FEATURES} -- -D warnings");
    let gpus: Vec<&str> = gpus.split(' ').collect();
    cargo_with(root, "lints of what is for GPUs", &gpus, ("DOCS_RS", "1"))?;
    if has_nextest() {
        cargo(root, "tests", &["nextest", "run", "--workspace", "--all-targets", "--no-fail-fast"])?;
    } else {
        cargo(root, "tests", &["test", "--workspace", "--lib", "--bins", "--tests"])?;
    }
    cargo(root, "doc tests", &["test", "--workspace", "--doc"])?;
    // Links that lead nowhere and the like.
    let strict = ("RUSTDOCFLAGS", "-D warnings");
    cargo_with(root, "documentation", &["doc", "--workspace", "--no-deps"], strict)
}

fn has_nextest() -> bool {
    let version = Command::new("cargo").args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

fn cargo(root: &Path, step: &str, arguments: &[&str]) -> Result<(), String> {
    run_step(step, arguments, Command::new("cargo").current_dir(root))
}

/// [`cargo`] with a variable in its environment.
fn cargo_with(root: &Path, step: &str, arguments: &[&str], variable: (&str, &str)) -> Result<(), String> {
    run_step(step, arguments, Command::new("cargo").current_dir(root).env(variable.0, variable.1))
}

fn run_step(step: &str, arguments: &[&str], command: &mut Command) -> Result<(), String> {
    eprintln!("── {step}: cargo {}", arguments.join(" "));
    let status = command.args(arguments).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{step} failed: cargo {}", arguments.join(" "))),
        Err(error) => Err(format!("cargo could not be started: {error}")),
    }
}
