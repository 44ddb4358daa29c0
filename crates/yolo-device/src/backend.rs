//! A device that was asked for by its name, with what networks are trained and measured on there.

use std::sync::Arc;

use burn::tensor::Device;
use yolo_detect::{CompiledExecutor, Detector, DeviceExecutor};
use yolo_model::FusedCheckpoint;
use yolo_nn::HalfFormat;
use yolo_runtime::{ChoiceStore, CompiledNetwork, Options, RuntimeError, Selection, Team};

use crate::error::DeviceError;
use crate::kernel_cache::KernelCache;
use crate::name::DeviceName;
use crate::open::open;

/// Where tensors live, and what detectors run on.
pub struct Backend {
    /// For everything that is trained or looked into.
    pub device: Device,
    /// Devices that share the batches of a training with it.
    pub other_devices: Vec<Device>,
    /// What detectors are compiled with; none if they run on the device.
    compiled: Option<Options>,
    /// Threads that share a batch on the device.
    threads: usize,
    /// The format of detectors on the device, if it is not single precision.
    half: Option<HalfFormat>,
    /// What was asked for.
    name: DeviceName,
    /// Whether kernels that were measured are kept between runs.
    keeps_kernels: bool,
}

impl Backend {
    /// The back end called `name`: as [`DeviceName::parse`] reads it, where `cpu` compiles detectors for the processor
    /// and `flex` keeps them on Burn's own back end. Which kernels are fastest is kept in the user's cache only if
    /// `keeps_kernels`, and read from there only then.
    ///
    /// # Errors
    /// A name that is not one, a back end that is not in this program, one that does not work here, or no threads.
    pub fn open(name: &str, keeps_kernels: bool) -> Result<Self, DeviceError> {
        let name = DeviceName::parse(name)?;
        let (device, other_devices) = open(&name)?;
        let threads = if name.is_cpu() { cores() } else { 1 };
        let compiled = match name {
            DeviceName::Cpu => {
                let team = Some(Arc::new(Team::new(threads).map_err(no_threads)?));
                Some(Options { threads, team, ..Options::default() })
            }
            _ => None,
        };
        Ok(Self { device, other_devices, compiled, threads, half: None, name, keeps_kernels })
    }

    /// What was asked for.
    pub fn name(&self) -> &DeviceName {
        &self.name
    }

    /// The same for what uses the first of several devices alone, as everything but training does.
    pub fn alone(mut self) -> Self {
        self.name = self.name.first();
        self.other_devices.clear();
        self
    }

    /// The same with detectors in half precision, where `half` asks for it. Compiled detectors have single precision
    /// only, and keep it.
    ///
    /// # Errors
    /// A device that does not compute in half precision.
    pub fn with_half(self, half: bool) -> Result<Self, DeviceError> {
        if !half || self.compiled.is_some() {
            return Ok(self);
        }
        if !self.device.supports_dtype(HalfFormat::Fp16.dtype()) {
            return Err(DeviceError::NoHalf { device: self.name.to_string() });
        }
        Ok(Self { half: Some(HalfFormat::Fp16), ..self })
    }

    /// What a training says of its devices, where there are several.
    pub fn sharing(&self) -> Option<String> {
        let count = self.name.count();
        (count > 1).then(|| format!("{count} devices share every batch: {}", self.name))
    }

    /// Whether detectors pass over zeros.
    pub fn skips_zeros(&self) -> bool {
        self.compiled.is_some()
    }

    /// A detector of one network, on the kernels that are fastest here.
    ///
    /// # Errors
    /// A network that the back end cannot run.
    pub fn detector(&self, network: FusedCheckpoint<'_>) -> yolo_detect::Result<Detector> {
        self.ensemble([network])
    }

    /// [`Backend::detector`] for the networks of an ensemble.
    ///
    /// # Errors
    /// As there, or networks with other classes than the first has.
    pub fn ensemble<'a>(
        &self,
        networks: impl IntoIterator<Item = FusedCheckpoint<'a>>,
    ) -> yolo_detect::Result<Detector> {
        let cache = if self.keeps_kernels { KernelCache::new() } else { None };
        let store = cache.map(|cache| Arc::new(cache) as Arc<dyn ChoiceStore>);
        self.compile(networks, Selection::Measure, store)
    }

    /// A detector whose kernels follow from its weights alone. Kernels differ in the order of their sums, and a choice
    /// made by its figures while training must not depend on how busy the machine was.
    ///
    /// # Errors
    /// As [`Backend::detector`].
    pub fn steady_detector(&self, network: FusedCheckpoint<'_>) -> yolo_detect::Result<Detector> {
        self.compile([network], Selection::Heuristic, None)
    }

    fn compile<'a>(
        &self,
        networks: impl IntoIterator<Item = FusedCheckpoint<'a>>,
        selection: Selection,
        store: Option<Arc<dyn ChoiceStore>>,
    ) -> yolo_detect::Result<Detector> {
        let mut networks = networks.into_iter();
        let Some(options) = &self.compiled else {
            let executor = match self.half {
                Some(format) => DeviceExecutor::in_half(&self.device, self.threads, format)?,
                None => DeviceExecutor::new(&self.device, self.threads),
            };
            return Detector::new(networks.try_fold(executor, |executor, network| executor.with(&network))?);
        };
        let options = Options { selection, ..options.clone() };
        let compile = |network| CompiledNetwork::new(network, options.clone(), store.clone());
        Detector::new(CompiledExecutor::new(networks.map(compile).collect::<Result<_, _>>()?))
    }
}

/// Threads that decode images: as many as asked for, or eight, but not more than there are cores.
pub fn loader_threads(asked: Option<usize>) -> usize {
    asked.unwrap_or(8).min(cores())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn no_threads(error: RuntimeError) -> DeviceError {
    DeviceError::Threads { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn several_devices_are_opened_together() {
        let backend = Backend::open("flex,flex,flex", false).unwrap();
        assert_eq!(backend.other_devices.len(), 2);
        let backend = backend.alone();
        assert_eq!((backend.other_devices.len(), backend.name().to_string().as_str()), (0, "flex"));
        assert!(Backend::open("cpu", false).unwrap().other_devices.is_empty());
    }
}
