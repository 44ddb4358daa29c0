//! The GPUs of this machine, without computing on them.

use serde::Serialize;

use crate::open::driver_state;

/// What can be said about NVIDIA GPUs here.
#[derive(Debug, Serialize)]
pub struct Gpus {
    /// Version of the kernel's driver, where one is loaded.
    pub driver: Option<String>,
    /// Names of the GPUs that the driver tells of.
    pub names: Vec<String>,
    /// GPUs that each back end in this program sees; none for one that is not in it.
    pub seen_by: Vec<(&'static str, Option<usize>)>,
    /// Why no GPU can be used, and what to do.
    pub advice: Option<String>,
}

impl Gpus {
    /// Asks the driver and the back ends. `how_to_build` is the advice where this program has no back end for GPUs.
    pub fn find(how_to_build: &str) -> Self {
        let seen_by = vec![("cuda", counted_by_cuda()), ("tch", counted_by_tch())];
        let names = names();
        let usable = seen_by.iter().any(|(_, count)| count.is_some_and(|count| count > 0));
        let built = seen_by.iter().any(|(_, count)| count.is_some());
        let advice = match (usable, names.is_empty(), built) {
            (true, ..) => None,
            (false, false, false) => Some(how_to_build.to_owned()),
            (false, true, false) => None,
            (false, _, true) => Some(driver_state().to_owned()),
        };
        Self { driver: driver(), names, seen_by, advice }
    }
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu …` → `570.86.15`.
fn driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

fn names() -> Vec<String> {
    let folders = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let mut folders: Vec<_> = folders.map(|folder| folder.path()).collect();
    folders.sort();
    let name = |folder: &std::path::PathBuf| {
        let text = std::fs::read_to_string(folder.join("information")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
        Some(line.trim().to_owned())
    };
    folders.iter().filter_map(name).collect()
}

#[cfg(feature = "cuda")]
fn counted_by_cuda() -> Option<usize> {
    let count = || burn::tensor::Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().count();
    // Without a driver the back end may give up loudly, which means none.
    Some(crate::catching(count).unwrap_or(0))
}

#[cfg(not(feature = "cuda"))]
fn counted_by_cuda() -> Option<usize> {
    None
}

#[cfg(feature = "tch")]
#[allow(deprecated)] // As where such devices are opened.
fn counted_by_tch() -> Option<usize> {
    let count = || burn::tensor::Device::enumerate(burn::tensor::DeviceType::LibTorch).into_iter().count();
    Some(crate::catching(count).unwrap_or(0))
}

#[cfg(not(feature = "tch"))]
fn counted_by_tch() -> Option<usize> {
    None
}
