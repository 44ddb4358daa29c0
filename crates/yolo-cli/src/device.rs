//! `--device` → what networks are pruned, trained and measured on. The only place that names a back end.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn::tensor::Device;
use yolo_model::Checkpoint;
use yolo_runtime::{ChoiceStore, Options, Selection, Team};
use yolo_train::Detector;

use crate::kernel_cache::KernelCache;

/// Where tensors live, and what detectors run on.
pub(crate) struct Backend {
    /// For everything that is trained or looked into.
    pub(crate) device: Device,
    /// What detectors are compiled with; none if they run on the device.
    compiled: Option<Options>,
    /// Threads that share a batch on the device.
    threads: usize,
    /// Whether kernels that were measured are kept between runs.
    keeps_kernels: bool,
}

impl Backend {
    /// The back end called `name`: as [`parse`], where `cpu` compiles detectors for the processor and `flex` keeps
    /// them on Burn's own back end. With `no_cache`, nothing is read from the user's cache or written to it.
    ///
    /// # Errors
    /// As [`parse`], or no threads.
    pub(crate) fn parse(name: &str, no_cache: bool) -> Result<Self> {
        let device = parse(name)?;
        let threads = if is_cpu(name) { cores() } else { 1 };
        let compiled = match name {
            "" | "cpu" => {
                let team = Some(Arc::new(Team::new(threads)?));
                Some(Options { threads, team, ..Options::default() })
            }
            _ => None,
        };
        Ok(Self { device, compiled, threads, keeps_kernels: !no_cache })
    }

    /// Whether detectors pass over zeros.
    pub(crate) fn skips_zeros(&self) -> bool {
        self.compiled.is_some()
    }

    /// A network that is ready to be measured, on the kernels that are fastest here.
    pub(crate) fn detector(&self, checkpoint: &Checkpoint) -> yolo_train::Result<Detector> {
        let cache = if self.keeps_kernels { KernelCache::new() } else { None };
        let store = cache.map(|cache| Arc::new(cache) as Arc<dyn ChoiceStore>);
        self.compile(checkpoint, Selection::Measure, store)
    }

    /// A network whose kernels follow from its weights alone. Kernels differ in the order of their sums, and what
    /// is chosen by its figures while training must not depend on how busy the machine was.
    pub(crate) fn steady_detector(&self, checkpoint: &Checkpoint) -> yolo_train::Result<Detector> {
        self.compile(checkpoint, Selection::Heuristic, None)
    }

    fn compile(
        &self,
        checkpoint: &Checkpoint,
        selection: Selection,
        store: Option<Arc<dyn ChoiceStore>>,
    ) -> yolo_train::Result<Detector> {
        let Some(options) = &self.compiled else {
            return Detector::on_device(checkpoint, &self.device, self.threads);
        };
        let options = Options { selection, ..options.clone() };
        let detector = yolo_runtime::Detector::new(checkpoint, options, store)?;
        Ok(Detector::Compiled(Box::new(detector), self.device.clone()))
    }
}

/// The device called `name`: `cpu`, `flex` (the same), `cuda:0` (or just `0`, as YOLOv5 has it), `tch`, `tch:cuda:0`.
///
/// # Errors
/// A name that is not one, or a back end that is not in this binary; the message names the feature to build
/// with.
pub(crate) fn parse(name: &str) -> Result<Device> {
    match name {
        _ if is_cpu(name) => flex(),
        "tch" | "tch:cpu" => tch(None),
        _ => {
            if let Some(index) = name.strip_prefix("tch:cuda").and_then(index) {
                return tch(Some(index));
            }
            if let Some(index) = index(name).or_else(|| name.strip_prefix("cuda").and_then(index)) {
                return cuda(index);
            }
            bail!("there is no device {name:?}; use cpu, flex, cuda:0, tch or tch:cuda:0")
        }
    }
}

/// Whether `name` means this processor.
pub(crate) fn is_cpu(name: &str) -> bool {
    matches!(name, "" | "cpu" | "flex")
}

/// Threads that decode images: as many as asked for, or eight, but not more than there are cores.
pub(crate) fn loader_threads(asked: Option<usize>) -> usize {
    asked.unwrap_or(8).min(cores())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `""`, `":2"` or `"2"` as an index.
fn index(text: &str) -> Option<usize> {
    if text.is_empty() { Some(0) } else { text.strip_prefix(':').unwrap_or(text).parse().ok() }
}

#[cfg(feature = "flex")]
fn flex() -> Result<Device> {
    // Tensors of every layer come and go with each batch; giving their pages back in between costs a tenth of
    // the time.
    yolo_model::kernels::keep_freed_memory();
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn flex() -> Result<Device> {
    missing("the CPU", "flex")
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device> {
    Ok(Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<Device> {
    missing("CUDA", "cuda")
}

#[cfg(feature = "tch")]
#[allow(deprecated)] // Burn 0.22 keeps libtorch as it is, under a deprecation notice.
fn tch(cuda: Option<usize>) -> Result<Device> {
    Ok(cuda.map_or_else(Device::libtorch, Device::libtorch_cuda))
}

#[cfg(not(feature = "tch"))]
fn tch(_cuda: Option<usize>) -> Result<Device> {
    missing("libtorch", "tch")
}

#[allow(dead_code)] // With every back end compiled in, nothing is missing.
fn missing(what: &str, feature: &str) -> Result<Device> {
    bail!(
        "this yolo-cli was built without {what}; build it with `cargo build --release -p yolo-cli --features {feature}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(index(""), Some(0));
        assert_eq!(index(":3"), Some(3));
        assert_eq!(index("1"), Some(1));
        assert_eq!(index("x"), None);
        assert!(parse("cpu").is_ok());
        let error = |name: &str| parse(name).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error("gpu").contains("there is no device"));
        #[cfg(not(feature = "cuda"))]
        for name in ["cuda", "cuda:0", "0"] {
            assert!(error(name).contains("--features cuda"), "{name}: {}", error(name));
        }
        #[cfg(not(feature = "tch"))]
        assert!(error("tch:cuda:0").contains("--features tch"));
    }
}
