//! Burn is compiled once: whatever crates are built, it and all that it depends on have the same features.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::crates::cargo;

/// Features by package with its version.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Every package that Burn depends on, and Burn itself, whose features are others where one of our crates is built alone.
pub(super) fn violations(root: &Path) -> Result<Vec<String>> {
    let of_burn = features(root, &["--package", "burn", "-e", "normal"])?;
    let whole = features(root, &["--workspace"])?;
    let mut found = Vec::new();
    for package in our_packages(root) {
        let with_tests = features(root, &["--package", &package])?;
        let alone = features(root, &["--package", &package, "-e", "normal,build"])?;
        for features in [with_tests, alone] {
            if features.keys().any(|name| name.starts_with("burn v")) {
                found.extend(
                    differences(&features, &whole, &of_burn).map(|what| format!("{package}: {what}")),
                );
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// What packages of `of_burn` lack of the features that they have in the `whole` workspace.
fn differences<'a>(
    features: &'a Features,
    whole: &'a Features,
    of_burn: &'a Features,
) -> impl Iterator<Item = String> + 'a {
    let differing = features.iter().filter(|(name, _)| of_burn.contains_key(*name));
    differing.filter_map(|(name, features)| {
        let missing: Vec<&str> = whole.get(name)?.difference(features).map(String::as_str).collect();
        let missing = Some(missing.join(", ")).filter(|missing| !missing.is_empty())?;
        Some(format!(
            "built alone, {name} is without {missing}, and so is Burn; crates/workspace-hack can ask for it"
        ))
    })
}

fn our_packages(root: &Path) -> Vec<String> {
    let crates = std::fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    let mut names: Vec<String> = crates
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().display().to_string())
        .collect();
    names.sort();
    names
}

/// The features that cargo chooses for a selection of packages.
fn features(root: &Path, selection: &[&str]) -> Result<Features> {
    let tree = cargo(root, &[&["tree", "--prefix", "none", "--format", "{p}|{f}"], selection].concat())?;
    let mut features = Features::new();
    for line in tree.lines() {
        let Some((package, list)) = line.split_once('|') else { continue };
        // The version is followed by what kind of package it is, the features by a mark of repetition.
        let package = package.split(" (").next().unwrap_or_default();
        let list = list.trim_end_matches(" (*)").split(',').filter(|feature| !feature.is_empty());
        features.entry(package.to_owned()).or_default().extend(list.map(str::to_owned));
    }
    Ok(features)
}
