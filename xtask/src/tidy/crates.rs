//! The map of the crates: which may use which, and which stay free of the tensor library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What one package of the workspace may use. It may also use whatever those packages may use.
struct Member {
    name: &'static str,
    may_use: &'static [&'static str],
    /// What it may use only behind a feature, as an optional dependency.
    behind_feature: &'static [&'static str],
    /// Whether it compiles the tensor library with its default features.
    has_tensors: bool,
    /// The largest number of packages it may compile, itself included.
    most_packages: Option<usize>,
}

/// Every package; the lower ones use the upper ones.
const MEMBERS: [Member; 18] = [
    light("workspace-hack", &[]),
    light("yolo-files", &[]),
    light("yolo-simd", &[]),
    light("yolo-fetch", &["yolo-files"]),
    light("yolo-eval", &["yolo-files"]).at_most(60),
    light("yolo-model", &["yolo-files"]).at_most(60),
    light("yolo-data", &["yolo-eval"]),
    light("yolo-draw", &["yolo-data"]),
    light("yolo-runtime", &["yolo-model", "yolo-simd"]),
    with_tensors("yolo-nn", &["workspace-hack", "yolo-model", "yolo-simd"]),
    light("yolo-prune", &["yolo-model"]).behind_feature(&["yolo-nn"]),
    light("yolo-detect", &["yolo-data", "yolo-model", "yolo-runtime"]).behind_feature(&["yolo-nn"]),
    with_tensors("yolo-train", &["yolo-data", "yolo-detect", "yolo-nn", "yolo-prune"]),
    light("yolo-report", &["yolo-draw", "yolo-eval", "yolo-model"]),
    with_tensors("yolo-device", &["yolo-detect", "yolo-nn"]),
    with_tensors("yolo-measure", &["yolo-device", "yolo-report", "yolo-train"]),
    with_tensors("yolo-cli", &["yolo-fetch", "yolo-measure"]),
    light("xtask", &["yolo-fetch"]),
];
/// The packages whose features choose back ends.
const CHOOSE_BACK_ENDS: [&str; 2] = ["yolo-device", "yolo-cli"];
/// Features of the tensor library that name a back end.
const BACK_ENDS: [&str; 6] = ["cuda", "flex", "ndarray", "rocm", "tch", "wgpu"];

const fn light(name: &'static str, may_use: &'static [&'static str]) -> Member {
    Member { name, may_use, behind_feature: &[], has_tensors: false, most_packages: None }
}

const fn with_tensors(name: &'static str, may_use: &'static [&'static str]) -> Member {
    Member { has_tensors: true, ..light(name, may_use) }
}

impl Member {
    const fn at_most(self, packages: usize) -> Self {
        Self { most_packages: Some(packages), ..self }
    }

    const fn behind_feature(self, packages: &'static [&'static str]) -> Self {
        Self { behind_feature: packages, ..self }
    }

    /// Every package that it may use, directly or because one it uses may.
    fn allowed(&self) -> BTreeSet<&'static str> {
        let mut allowed = BTreeSet::new();
        let mut open = self.may_use.to_vec();
        while let Some(name) = open.pop() {
            if allowed.insert(name) {
                open.extend(MEMBERS.iter().filter(|member| member.name == name).flat_map(|m| m.may_use));
            }
        }
        allowed
    }
}

/// The part of `cargo metadata --no-deps` that is looked at.
#[derive(Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    /// What each feature switches on.
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or absent for an ordinary one.
    kind: Option<String>,
    optional: bool,
}

/// Every violation in the workspace at `root`.
pub(super) fn violations(root: &Path) -> Result<Vec<String>> {
    let json = cargo(root, &["metadata", "--no-deps", "--format-version", "1"])?;
    let workspace: Workspace = serde_json::from_str(&json).context("cargo metadata")?;
    let mut found = edge_violations(&workspace);
    found.extend(workspace.packages.iter().filter_map(back_end_feature));
    for member in &MEMBERS {
        if workspace.packages.iter().any(|package| package.name == member.name) {
            found.extend(member.content_violations(&compiled(root, member.name)?));
        }
    }
    Ok(found)
}

/// Packages that the table lacks, and uses that it does not allow; those of tests aside.
fn edge_violations(workspace: &Workspace) -> Vec<String> {
    let mut found = Vec::new();
    for package in &workspace.packages {
        let name = &package.name;
        let Some(member) = MEMBERS.iter().find(|member| member.name == name) else {
            found.push(format!("{name}: not in the table of xtask/src/tidy/crates.rs; add what it may use"));
            continue;
        };
        let allowed = member.allowed();
        for dependency in package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev")) {
            let used = dependency.name.as_str();
            let is_ours = workspace.packages.iter().any(|package| package.name == used);
            let is_optional = dependency.optional && member.behind_feature.contains(&used);
            if is_ours && !is_optional && !allowed.contains(used) {
                let only =
                    if member.behind_feature.contains(&used) { " except behind a feature" } else { "" };
                found.push(format!("{name}: may not depend on {used}{only}; see docs/architecture.md"));
            }
        }
    }
    found
}

/// A feature of a library that names a back end.
fn back_end_feature(package: &Package) -> Option<String> {
    let switched_on = |(feature, others): (&String, &Vec<String>)| {
        others.iter().chain([feature]).any(|name| name.split('/').any(|part| BACK_ENDS.contains(&part)))
    };
    let (feature, _) = package.features.iter().find(|feature| switched_on(*feature))?;
    let name = &package.name;
    let choosing = CHOOSE_BACK_ENDS.join(" and ");
    let reason = format!("{name}: feature {feature} names a back end; only {choosing} choose one");
    (!CHOOSE_BACK_ENDS.contains(&name.as_str())).then_some(reason)
}

impl Member {
    /// What is wrong with the packages it compiles.
    fn content_violations(&self, compiled: &BTreeSet<String>) -> Vec<String> {
        let Self { name, has_tensors, most_packages, .. } = self;
        let mut found = Vec::new();
        let tensors = compiled.iter().find(|package| package.starts_with("burn"));
        match (tensors, has_tensors) {
            (Some(package), false) => {
                found.push(format!("{name}: compiles {package}, but must do without a tensor library"));
            }
            (None, true) => {
                found
                    .push(format!("{name}: compiles no tensor library any more; make it light in the table"));
            }
            _ => {}
        }
        if let Some(most) = *most_packages
            && compiled.len() > most
        {
            found.push(format!("{name}: compiles {} packages; at most {most} are allowed", compiled.len()));
        }
        found
    }
}

/// Name and version of every package that is compiled for `package` with its default features.
///
/// From `cargo tree`, because `cargo metadata` resolves the whole workspace at once: there, an optional dependency that
/// another member switches on is on for all.
fn compiled(root: &Path, package: &str) -> Result<BTreeSet<String>> {
    let tree = cargo(root, &["tree", "-p", package, "-e", "normal,build", "--prefix", "none", "-f", "{p}"])?;
    let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(tree.lines().map(name_and_version).collect())
}

/// What cargo prints for `arguments` in the folder `root`.
pub(super) fn cargo(root: &Path, arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let command = format!("cargo {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).current_dir(root).output();
    let output = output.with_context(|| format!("{command}: cannot be started"))?;
    if !output.status.success() {
        bail!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, kind: Option<&str>, optional: bool) -> Dependency {
        Dependency { name: name.to_owned(), kind: kind.map(str::to_owned), optional }
    }

    fn package(name: &str, dependencies: Vec<Dependency>, features: &[(&str, &str)]) -> Package {
        let feature = |&(name, other): &(&str, &str)| (name.to_owned(), vec![other.to_owned()]);
        Package { name: name.to_owned(), dependencies, features: features.iter().map(feature).collect() }
    }

    /// The violations of a package called `name` with `dependencies`, in a workspace that has all others.
    fn edges(name: &str, dependencies: Vec<Dependency>) -> Vec<String> {
        let others = MEMBERS.iter().filter(|member| member.name != name);
        let mut packages: Vec<Package> = others.map(|other| package(other.name, Vec::new(), &[])).collect();
        packages.push(package(name, dependencies, &[]));
        edge_violations(&Workspace { packages })
    }

    #[test]
    fn every_package_in_the_table_exists_in_it_once() {
        for member in &MEMBERS {
            assert_eq!(
                MEMBERS.iter().filter(|other| other.name == member.name).count(),
                1,
                "{}",
                member.name
            );
            for used in member.may_use.iter().chain(member.behind_feature) {
                assert!(MEMBERS.iter().any(|other| other.name == *used), "{} uses {used}", member.name);
            }
            assert!(!member.allowed().contains(member.name), "{} uses itself", member.name);
        }
    }

    #[test]
    fn uses_that_the_table_does_not_allow_are_found() {
        assert_eq!(edges("yolo-model", vec![dependency("yolo-data", None, false)]).len(), 1);
        assert_eq!(edges("yolo-model", vec![dependency("yolo-data", Some("build"), false)]).len(), 1);
        assert_eq!(edges("yolo-model", vec![dependency("yolo-data", Some("dev"), false)]), [""; 0]);
        assert_eq!(edges("yolo-model", vec![dependency("serde", None, false)]), [""; 0]);
        // Through yolo-data.
        assert_eq!(edges("yolo-draw", vec![dependency("yolo-eval", None, false)]), [""; 0]);
        assert_eq!(edges("yolo-unheard-of", Vec::new()).len(), 1);
    }

    #[test]
    fn a_use_behind_a_feature_has_to_be_optional() {
        assert_eq!(edges("yolo-detect", vec![dependency("yolo-nn", None, true)]), [""; 0]);
        assert_eq!(edges("yolo-detect", vec![dependency("yolo-nn", None, false)]).len(), 1);
    }

    #[test]
    fn features_of_libraries_do_not_name_back_ends() {
        let features = [("nn", "dep:yolo-nn"), ("fast", "burn/cuda")];
        assert!(back_end_feature(&package("yolo-detect", Vec::new(), &features)).is_some());
        assert!(back_end_feature(&package("yolo-detect", Vec::new(), &features[..1])).is_none());
        for name in CHOOSE_BACK_ENDS {
            assert!(back_end_feature(&package(name, Vec::new(), &features)).is_none());
        }
    }

    #[test]
    fn tensor_libraries_and_too_many_packages_are_found() {
        let compiled = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let member = light("a", &[]).at_most(2);
        assert_eq!(member.content_violations(&compiled(&["a 1", "serde 1"])), [""; 0]);
        assert_eq!(member.content_violations(&compiled(&["a 1", "burn-tensor 1"])).len(), 1);
        assert_eq!(member.content_violations(&compiled(&["a 1", "serde 1", "libc 1"])).len(), 1);
        assert_eq!(with_tensors("a", &[]).content_violations(&compiled(&["a 1"])).len(), 1);
    }
}
