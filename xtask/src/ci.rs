//! What a change has to pass, cheapest first.

use std::path::Path;
use std::process::Command;

/// Runs every step; stops at the first that fails.
///
/// Everything is built for the whole workspace at once: building single packages would build shared
/// dependencies again with other features.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    cargo(root, "format", &["fmt", "--all", "--check"])?;
    cargo(root, "lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // Build scripts then leave out what only docs.rs does not have: a download of LLVM from github.com.
    let for_gpus = ["check", "--workspace", "--features", "yolo-cli/cuda"];
    cargo_with(root, "types with the feature cuda", &for_gpus, &[("DOCS_RS", "1")])?;
    if has_nextest() {
        cargo(root, "tests", &["nextest", "run", "--workspace", "--all-targets", "--no-fail-fast"])?;
    } else {
        cargo(root, "tests", &["test", "--workspace", "--lib", "--bins", "--tests"])?;
    }
    cargo(root, "doc tests", &["test", "--workspace", "--doc"])
}

fn has_nextest() -> bool {
    let version = Command::new("cargo").args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

fn cargo(root: &Path, step: &str, arguments: &[&str]) -> Result<(), String> {
    cargo_with(root, step, arguments, &[])
}

fn cargo_with(root: &Path, step: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    eprintln!("── {step}: cargo {}", arguments.join(" "));
    let variables = variables.iter().copied();
    let status = Command::new("cargo").args(arguments).envs(variables).current_dir(root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{step} failed: cargo {}", arguments.join(" "))),
        Err(error) => Err(format!("cargo could not be started: {error}")),
    }
}
