//! Kernels that were measured on this machine, kept between runs.

use yolo_runtime::{ChoiceStore, Choices, KernelId};

use crate::machine_cache::MachineCache;

/// The kernels of every network and shape.
pub(crate) struct KernelCache(MachineCache);

impl KernelCache {
    /// The cache in the user's folder, where there is one.
    pub(crate) fn new() -> Option<Self> {
        MachineCache::new("kernels").map(Self)
    }
}

impl ChoiceStore for KernelCache {
    fn load(&self, key: &str) -> Option<Choices> {
        let names: Vec<(String, String)> = self.0.load(key)?;
        names.into_iter().map(|(layer, kernel)| Some((layer, kernel.parse::<KernelId>().ok()?))).collect()
    }

    fn save(&self, key: &str, choices: &Choices) {
        let names: Vec<(&String, String)> =
            choices.iter().map(|(layer, kernel)| (layer, kernel.to_string())).collect();
        self.0.save(key, &names);
    }
}
