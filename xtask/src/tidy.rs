//! House rules that the compiler does not know.

mod burn_features;
mod crates;

use std::path::{Path, PathBuf};

/// Names that say nothing about what is inside.
const VAGUE_NAMES: [&str; 5] = ["utils.rs", "util.rs", "common.rs", "general.rs", "helpers.rs"];
/// Constructors of back ends; libraries take a device instead.
const BACK_ENDS: [&str; 11] = [
    "Device::cpu",
    "Device::cuda",
    "Device::default()",
    "Device::flex",
    "Device::libtorch",
    "Device::metal",
    "Device::ndarray",
    "Device::rocm",
    "Device::vulkan",
    "Device::webgpu",
    "Device::wgpu",
];
/// The one source file that may make them.
const DEVICES: &str = "crates/yolo-device/src/open.rs";
/// The one that asks whether a tensor is on the back end that it has kernels for.
const KERNELS: &str = "crates/yolo-nn/src/kernels.rs";
/// The files of the modules that networks are made of.
const MODULES: &str = "crates/yolo-model/src/modules";
/// What asks a block which module it is.
const MODULE_KINDS: [&str; 3] = ["block.get::<", "block.get_mut::<", "block.name() =="];

/// Every violation, with file and reason.
pub(crate) fn violations(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "xtask"] {
        for file in rust_files(&root.join(folder)) {
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            found.extend(file_violations(&name, &text).into_iter().map(|rule| format!("{name}: {rule}")));
        }
    }
    for violations in [crates::violations(root), burn_features::violations(root)] {
        match violations {
            Ok(of_crates) => found.extend(of_crates),
            Err(error) => found.push(format!("the crates could not be checked: {error:#}")),
        }
    }
    found
}

/// Every `.rs` file below a folder, in order; build folders aside.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let nested = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("target") => Vec::new(),
        true => rust_files(&path),
        false if path.extension().is_some_and(|extension| extension == "rs") => vec![path],
        false => Vec::new(),
    };
    let mut files: Vec<PathBuf> = entries.flat_map(|entry| nested(entry.path())).collect();
    files.sort();
    files
}

fn file_violations(name: &str, text: &str) -> Vec<String> {
    let mut rules = Vec::new();
    if !text.starts_with("//!") {
        rules.push("it must start with a //! that says what it is for".to_owned());
    }
    if let Some(vague) = VAGUE_NAMES.iter().find(|vague| name.ends_with(&format!("/{vague}"))) {
        rules.push(format!("{vague} says nothing about its content"));
    }
    let is_tests = name.ends_with("/tests.rs");
    let is_source = name.contains("/src/") && !is_tests && !name.starts_with("xtask");
    let back_end = BACK_ENDS.iter().find(|back_end| text.contains(*back_end));
    if let (true, Some(back_end)) = (is_source && ![DEVICES, KERNELS].contains(&name), back_end) {
        rules.push(format!("{back_end} may only be named in {DEVICES}; take a device as an argument"));
    }
    // Unit tests at the end of a file may.
    let program = text.split("#[cfg(test)]").next().unwrap_or_default();
    let kind = MODULE_KINDS.iter().find(|kind| program.contains(*kind));
    if let (true, Some(kind)) = (is_source && !name.starts_with(MODULES), kind) {
        rules.push(format!(
            "{kind} tells modules apart, which only {MODULES} may do; add to the trait Module"
        ));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_follows_the_house_rules() {
        let found = violations(crate::root());
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn violations_are_found() {
        let rules = file_violations("crates/a/src/utils.rs", "fn f() { Device::flex(); }");
        assert_eq!(rules.len(), 3, "{rules:?}");
        let apart = "//! x\nlayer.block.get::<C3Spec>()";
        assert_eq!(file_violations("crates/a/src/a.rs", apart).len(), 1);
        assert!(file_violations("crates/a/tests/a/main.rs", apart).is_empty());
        assert!(file_violations(DEVICES, "//! x\nDevice::flex()").is_empty());
    }
}
