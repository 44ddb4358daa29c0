//! What was measured on this machine, kept in the user's cache so that the next run need not measure.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use yolo_data::dataset::cache::default_cache_dir;

/// A file per key, which says what was measured and how: network, shape, vector unit, number of threads.
pub struct MachineCache {
    folder: PathBuf,
    /// The processor and this program: what was measured on or by another is measured anew.
    machine: String,
}

impl MachineCache {
    /// The cache called `kind` in the user's folder, where there is one.
    pub fn new(kind: &str) -> Option<Self> {
        let folder = default_cache_dir()?.join(kind);
        Some(Self { folder, machine: format!("{} {}", processor(), env!("CARGO_PKG_VERSION")) })
    }

    /// What was kept under `key`; none where that is nothing, or cannot be read.
    pub fn load<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let text = std::fs::read_to_string(self.file(key)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps a value; a failure costs the next run a measurement.
    pub fn save(&self, key: &str, value: &impl Serialize) {
        let written = serde_json::to_vec(value)
            .map_err(std::io::Error::from)
            .and_then(|json| yolo_files::write(self.file(key), json));
        if let Err(error) = written {
            tracing::debug!("{}: what was measured is not kept: {error}", self.folder.display());
        }
    }

    fn file(&self, key: &str) -> PathBuf {
        let digest = Sha256::digest(format!("{}\n{key}", self.machine));
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name + ".json")
    }
}

/// The processor's name, where the system tells it.
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, name)| name.trim().to_owned())
}
