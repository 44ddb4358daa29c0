//! Kernels that were measured on this machine, kept in the user's cache so that the next run need not measure.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use yolo_data::atomic;
use yolo_data::dataset::cache::default_cache_dir;
use yolo_runtime::{ChoiceStore, Choices, KernelId};

/// A file per network, shape, vector unit and number of threads.
pub(crate) struct KernelCache {
    folder: PathBuf,
    /// The processor and this program: kernels of another of either are measured anew.
    machine: String,
}

impl KernelCache {
    /// The cache in the user's folder, where there is one.
    pub(crate) fn new() -> Option<Self> {
        let folder = default_cache_dir()?.join("kernels");
        Some(Self { folder, machine: format!("{} {}", processor(), env!("CARGO_PKG_VERSION")) })
    }

    fn file(&self, key: &str) -> PathBuf {
        let digest = Sha256::digest(format!("{}\n{key}", self.machine));
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name + ".json")
    }
}

impl ChoiceStore for KernelCache {
    fn load(&self, key: &str) -> Option<Choices> {
        let text = std::fs::read_to_string(self.file(key)).ok()?;
        let names: Vec<(String, String)> = serde_json::from_str(&text).ok()?;
        names.into_iter().map(|(layer, kernel)| Some((layer, kernel.parse::<KernelId>().ok()?))).collect()
    }

    fn save(&self, key: &str, choices: &Choices) {
        let names: Vec<(&String, String)> =
            choices.iter().map(|(l, kernel)| (l, kernel.to_string())).collect();
        let written = serde_json::to_vec(&names)
            .map_err(std::io::Error::from)
            .and_then(|json| atomic::write(&self.file(key), |file| file.write_all(&json)));
        if let Err(error) = written {
            tracing::debug!("{}: measured kernels are not kept: {error}", self.folder.display());
        }
    }
}

/// The processor's name, where the system tells it.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, name)| name.trim().to_owned())
}
