//! When the lints of what is compiled for GPUs have to run again. They compile some 300 more crates, so they are left
//! out as long as what they depend on is what it was when they last passed.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::tidy::rust_files;

/// The lints. Nothing is linked, so that neither LLVM nor libtorch have to be there.
pub(crate) const CLIPPY: &str =
    "clippy --package yolo-device --package yolo-cli --all-targets --features cuda,check-tch -- -D warnings";
/// Spares CubeCL's build scripts the download of LLVM, which only linking needs.
pub(crate) const NO_LLVM: (&str, &str) = ("DOCS_RS", "1");
/// The hash of what passed last; `cargo xtask ci --full` writes it.
const PASSED: &str = "xtask/gpu-lints.sha256";

// What is hashed: versions of dependencies, which features they and our crates have, and the code for GPUs.

/// Whole files.
const FILES: [&str; 2] = ["Cargo.lock", "crates/yolo-cli/build.rs"];
/// Sections of every manifest, the workspace's included.
const SECTIONS: [&str; 2] = ["[features]", "[workspace.dependencies]"];
/// Everything in this folder is code for GPUs.
const DEVICES: &str = "crates/yolo-device/src/";
/// And every other source file with one of these in it.
const CODE: [&str; 2] = ["feature = \"cuda\"", "feature = \"tch\""];

/// Whether the lints passed with what is there now.
pub(crate) fn have_passed(root: &Path) -> Result<bool> {
    let passed = std::fs::read_to_string(root.join(PASSED)).unwrap_or_default();
    Ok(passed.trim() == hash(root)?)
}

/// Keeps the hash of what has passed, for the next run.
pub(crate) fn note_pass(root: &Path) -> Result<()> {
    std::fs::write(root.join(PASSED), hash(root)? + "\n").context(PASSED)
}

/// Hexadecimal digits of the SHA-256 of everything that the lints depend on.
fn hash(root: &Path) -> Result<String> {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).with_context(|| name.to_owned());
    let mut hasher = Sha256::new();
    let mut add = |name: &str, content: &str| hasher.update(format!("{name}\n{content}\n"));
    for name in FILES {
        add(name, &read(name)?);
    }
    for name in manifests(root)? {
        add(&name, &sections(&read(&name)?));
    }
    for folder in ["crates", "tests"] {
        for file in rust_files(&root.join(folder)) {
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let content = read(&name)?;
            if name.starts_with(DEVICES) || CODE.iter().any(|feature| content.contains(feature)) {
                add(&name, &content);
            }
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Names of the manifests of the workspace and of its crates, from `root`, in order.
fn manifests(root: &Path) -> Result<Vec<String>> {
    let mut names = vec!["Cargo.toml".to_owned()];
    for entry in std::fs::read_dir(root.join("crates")).context("crates")? {
        names.push(format!("crates/{}/Cargo.toml", entry?.file_name().display()));
    }
    names.retain(|name| root.join(name).is_file());
    names.sort();
    Ok(names)
}

/// The [`SECTIONS`] of a manifest, without comments and empty lines.
fn sections(manifest: &str) -> String {
    let mut is_in = false;
    let mut kept = String::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            is_in = SECTIONS.contains(&line);
        }
        if is_in && !line.is_empty() && !line.starts_with('#') {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, content: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    #[test]
    fn only_what_the_lints_see_makes_them_run_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        write(root, "Cargo.toml", "[workspace.dependencies]\nburn = 1\n");
        write(root, "Cargo.lock", "burn 1");
        write(root, "xtask/Cargo.toml", "");
        write(root, "crates/yolo-cli/Cargo.toml", "[package]\n\n[features]\ncuda = []\n");
        write(root, "crates/yolo-cli/build.rs", "");
        write(root, "crates/yolo-cli/src/version.rs", "#[cfg(feature = \"cuda\")] fn f() {}");
        write(root, "crates/yolo-device/src/name.rs", "fn f() {}");
        assert!(!have_passed(root).expect("a hash"));
        note_pass(root).expect("a hash");
        let passes_with = |name: &str, content: &str| {
            let before = std::fs::read_to_string(root.join(name)).unwrap_or_default();
            write(root, name, content);
            let passed = have_passed(root).expect("a hash");
            write(root, name, &before);
            passed
        };
        assert!(passes_with("crates/yolo-cli/src/other.rs", "fn g() {}"));
        assert!(passes_with("crates/yolo-cli/Cargo.toml", "[package]\nname = 1\n[features]\n# c\ncuda = []"));
        assert!(!passes_with("crates/yolo-cli/Cargo.toml", "[features]\ncuda = [\"burn/cuda\"]\n"));
        assert!(!passes_with("crates/yolo-cli/src/version.rs", "#[cfg(feature = \"cuda\")] fn g() {}"));
        assert!(!passes_with("crates/yolo-device/src/name.rs", "fn g() {}"));
        assert!(!passes_with("crates/yolo-cli/src/other.rs", "#[cfg(not(feature = \"tch\"))] fn g() {}"));
        assert!(!passes_with("Cargo.toml", "[workspace.dependencies]\nburn = 2\n"));
        assert!(!passes_with("Cargo.lock", "burn 2"));
    }
}
