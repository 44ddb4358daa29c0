//! Which libtorch was loaded. The build compares versions, but the dynamic linker takes whatever it finds.
#![cfg_attr(not(feature = "tch"), allow(dead_code))]

use std::path::{Path, PathBuf};

/// The version that burn-tch binds.
pub(super) const WANTED: &str = "2.9";

/// Folder and version of the libtorch in this process, where both can be told.
pub(super) fn loaded() -> Option<(PathBuf, String)> {
    // Linux only; elsewhere the check of the build has to do.
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let folder = library_folder(&maps)?;
    let version = version(folder.parent()?)?;
    Some((folder, version))
}

/// Whether `version` (`2.9.0+cu128`) is one that works.
pub(super) fn fits(version: &str) -> bool {
    version.strip_prefix(WANTED).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+']))
}

/// The folder of `libtorch_cpu.so` in the memory map of a process.
fn library_folder(maps: &str) -> Option<PathBuf> {
    let path = |line: &str| line.find('/').map(|start| PathBuf::from(&line[start..]));
    let is_libtorch = |path: &PathBuf| path.file_name().is_some_and(|name| name == "libtorch_cpu.so");
    Some(maps.lines().filter_map(path).find(is_libtorch)?.parent()?.to_owned())
}

/// The version in the folder above the libraries: a download has `build-version`, a Python package `version.py`.
fn version(folder: &Path) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = std::fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split(['\'', '"']).nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_compared_by_their_first_two_numbers() {
        for version in ["2.9", "2.9.0", "2.9.1+cu128", "2.9+cpu"] {
            assert!(fits(version), "{version}");
        }
        for version in ["2.8.0", "2.90.0", "2.10", "3.9", ""] {
            assert!(!fits(version), "{version}");
        }
    }

    #[test]
    fn the_folder_is_found_in_a_memory_map() {
        let maps = "55d0-55d1 r--p 0000 fe:00 1 /usr/bin/yolo-cli\n\
                    7f00-7f01 r-xp 0000 fe:00 2 /opt/torch/lib/libtorch_cpu.so\n7f02-7f03 rw-p 0 00:00 0\n";
        assert_eq!(library_folder(maps).unwrap(), Path::new("/opt/torch/lib"));
        assert_eq!(library_folder("7f02-7f03 rw-p 0 00:00 0\n"), None);
    }

    #[test]
    fn versions_of_downloads_and_packages_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(version(folder.path()), None);
        let package = "from typing import Optional\n__version__ = '2.9.0+cu128'\ndebug = False\n";
        std::fs::write(folder.path().join("version.py"), package).unwrap();
        assert_eq!(version(folder.path()).unwrap(), "2.9.0+cu128");
        std::fs::write(folder.path().join("build-version"), "2.8.0+cpu\n").unwrap();
        assert_eq!(version(folder.path()).unwrap(), "2.8.0+cpu");
    }
}
