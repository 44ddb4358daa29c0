//! `--device` → what networks are pruned, trained and measured on. The only place that names a back end.

mod error;
mod gpus;
mod libtorch;
mod name;
mod panics;

use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use yolo_detect::{CompiledExecutor, Detector, DeviceExecutor};
use yolo_model::FusedCheckpoint;
use yolo_nn::HalfFormat;
use yolo_runtime::{ChoiceStore, CompiledNetwork, Options, Selection, Team};

use crate::kernel_cache::KernelCache;

pub(crate) use error::{DeviceError, first_line, is_out_of_memory};
pub(crate) use gpus::Gpus;
pub(crate) use name::DeviceName;
pub(crate) use panics::{Panic, catching};

/// Where tensors live, and what detectors run on.
pub(crate) struct Backend {
    /// For everything that is trained or looked into.
    pub(crate) device: Device,
    /// Devices that share the batches of a training with it.
    pub(crate) other_devices: Vec<Device>,
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
    /// The back end called `name`: as [`parse`], where `cpu` compiles detectors for the processor and `flex` keeps
    /// them on Burn's own back end. With `no_cache`, nothing is read from the user's cache or written to it.
    ///
    /// # Errors
    /// As [`parse`], or no threads.
    pub(crate) fn parse(name: &str, no_cache: bool) -> Result<Self> {
        let name = DeviceName::parse(name)?;
        let (device, other_devices) = open(&name)?;
        let threads = if name.is_cpu() { cores() } else { 1 };
        let compiled = match name {
            DeviceName::Cpu => {
                let team = Some(Arc::new(Team::new(threads)?));
                Some(Options { threads, team, ..Options::default() })
            }
            _ => None,
        };
        Ok(Self { device, other_devices, compiled, threads, half: None, name, keeps_kernels: !no_cache })
    }

    /// The same for a command that does not train, which uses the first of several devices and says so.
    pub(crate) fn alone(mut self) -> Self {
        self.name = alone(&self.name);
        self.other_devices.clear();
        self
    }

    /// The same with detectors in half precision, where `half` asks for it. Compiled detectors have single precision
    /// only, and keep it.
    ///
    /// # Errors
    /// A device that does not compute in half precision.
    pub(crate) fn with_half(self, half: bool) -> Result<Self> {
        if !half || self.compiled.is_some() {
            return Ok(self);
        }
        if !self.device.supports_dtype(HalfFormat::Fp16.dtype()) {
            return Err(DeviceError::NoHalf { device: self.name.to_string() }.into());
        }
        Ok(Self { half: Some(HalfFormat::Fp16), ..self })
    }

    /// What a training says of its devices, where there are several.
    pub(crate) fn sharing(&self) -> Option<String> {
        let count = self.name.count();
        (count > 1).then(|| format!("{count} devices share every batch: {}", self.name))
    }

    /// Whether detectors pass over zeros.
    pub(crate) fn skips_zeros(&self) -> bool {
        self.compiled.is_some()
    }

    /// A detector of one network, on the kernels that are fastest here.
    pub(crate) fn detector(&self, network: FusedCheckpoint<'_>) -> yolo_detect::Result<Detector> {
        self.ensemble([network])
    }

    /// [`Backend::detector`] for the networks of an ensemble.
    pub(crate) fn ensemble<'a>(
        &self,
        networks: impl IntoIterator<Item = FusedCheckpoint<'a>>,
    ) -> yolo_detect::Result<Detector> {
        let cache = if self.keeps_kernels { KernelCache::new() } else { None };
        let store = cache.map(|cache| Arc::new(cache) as Arc<dyn ChoiceStore>);
        self.compile(networks, Selection::Measure, store)
    }

    /// A detector whose kernels follow from its weights alone. Kernels differ in the order of their sums, and a choice
    /// made by its figures while training must not depend on how busy the machine was.
    pub(crate) fn steady_detector(&self, network: FusedCheckpoint<'_>) -> yolo_detect::Result<Detector> {
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

/// The device called `name`, as [`DeviceName::parse`] reads it; the first of several.
///
/// # Errors
/// A name that is not one, a back end that is not in this binary, or one that does not work here.
pub(crate) fn parse(name: &str) -> Result<Device> {
    Ok(open(&alone(&DeviceName::parse(name)?))?.0)
}

/// The first of several devices, with a warning that it is alone.
fn alone(name: &DeviceName) -> DeviceName {
    let first = name.first();
    if name.count() > 1 {
        tracing::warn!("only training uses several devices: this runs on {first}");
    }
    first
}

/// Threads that decode images: as many as asked for, or eight, but not more than there are cores.
pub(crate) fn loader_threads(asked: Option<usize>) -> usize {
    asked.unwrap_or(8).min(cores())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The devices called `name`, ready for work: the first, and the others.
fn open(name: &DeviceName) -> Result<(Device, Vec<Device>), DeviceError> {
    let several = |indices: &[usize], open: &dyn Fn(usize) -> Result<Device, DeviceError>| {
        let mut devices = indices.iter().map(|&index| open(index)).collect::<Result<Vec<_>, _>>()?;
        Ok((devices.remove(0), devices))
    };
    match name {
        DeviceName::Cpu => Ok((flex(name)?, Vec::new())),
        DeviceName::Flex(count) => {
            let device = flex(name)?;
            Ok((device.clone(), vec![device; count - 1]))
        }
        DeviceName::Cuda(indices) => several(indices, &|index| cuda(name, index)),
        DeviceName::TchCpu => Ok((tch(name, None)?, Vec::new())),
        DeviceName::TchCuda(indices) => several(indices, &|index| tch(name, Some(index))),
    }
}

#[cfg(feature = "flex")]
fn flex(_name: &DeviceName) -> Result<Device, DeviceError> {
    // Tensors of every layer come and go with each batch; giving their pages back in between costs a tenth of
    // the time.
    yolo_nn::kernels::keep_freed_memory();
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn flex(name: &DeviceName) -> Result<Device, DeviceError> {
    missing(name, "the CPU", "flex")
}

#[cfg(feature = "cuda")]
fn cuda(name: &DeviceName, index: usize) -> Result<Device, DeviceError> {
    let gpus = Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().count();
    is_there(name, index, gpus, driver_state())?;
    let device = Device::cuda(index);
    is_working(name, &device)?;
    Ok(device)
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &DeviceName, _index: usize) -> Result<Device, DeviceError> {
    missing(name, "CUDA", "cuda")
}

#[cfg(feature = "tch")]
#[allow(deprecated)] // Burn 0.22 keeps libtorch as it is, under a deprecation notice.
fn tch(name: &DeviceName, cuda: Option<usize>) -> Result<Device, DeviceError> {
    if let Some((folder, found)) = libtorch::loaded()
        && !libtorch::fits(&found)
    {
        let (device, place) = (name.to_string(), folder.display().to_string());
        return Err(DeviceError::LibtorchVersion { device, found, place, wanted: libtorch::WANTED });
    }
    let Some(index) = cuda else { return Ok(Device::libtorch()) };
    let gpus = Device::enumerate(burn::tensor::DeviceType::LibTorch).into_iter().count();
    is_there(name, index, gpus, driver_state())?;
    let device = Device::libtorch_cuda(index);
    is_working(name, &device)?;
    Ok(device)
}

#[cfg(not(feature = "tch"))]
fn tch(name: &DeviceName, _cuda: Option<usize>) -> Result<Device, DeviceError> {
    missing(name, "libtorch", "tch")
}

#[allow(dead_code)] // With every back end compiled in, nothing is missing.
fn missing(name: &DeviceName, what: &'static str, feature: &'static str) -> Result<Device, DeviceError> {
    Err(DeviceError::NotCompiled { device: name.to_string(), what, feature })
}

/// Whether GPU `index` is among the `count` that the back end lists.
#[allow(dead_code)] // Not needed where no back end for GPUs is compiled in.
fn is_there(name: &DeviceName, index: usize, count: usize, why_none: &str) -> Result<(), DeviceError> {
    let device = name.to_string();
    match count {
        0 => Err(DeviceError::NoGpu { device, why: why_none.to_owned() }),
        _ if index >= count => Err(DeviceError::NoSuchGpu { device, index, count }),
        _ => Ok(()),
    }
}

/// What to look at where no GPU is listed.
#[allow(dead_code)] // As above.
fn driver_state() -> &'static str {
    // Windows has no such file, and nvidia-smi says the same there.
    let is_loaded = std::path::Path::new("/proc/driver/nvidia/version").exists();
    if cfg!(target_os = "linux") && !is_loaded {
        return "no NVIDIA driver is loaded; install it, so that `nvidia-smi` lists the GPU";
    }
    "the driver is there, but this process sees no GPU; look at `nvidia-smi` and CUDA_VISIBLE_DEVICES, and start a \
     container with `--gpus all`"
}

/// Computes something small, which loads what the back end needs besides the driver.
#[cfg(any(feature = "cuda", feature = "tch"))]
fn is_working(name: &DeviceName, device: &Device) -> Result<(), DeviceError> {
    use burn::tensor::Tensor;
    let outcome = catching(|| {
        // An exponential needs the compiler's library of functions as well.
        let sum = Tensor::<1>::zeros([8], device).exp().sum();
        sum.try_into_data().map_err(|error| error.to_string())
    });
    let reason = match outcome {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(reason)) => reason,
        Err(panic) => panic.message,
    };
    Err(DeviceError::Failed { device: name.to_string(), reason: first_line(&reason) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn error(name: &str) -> String {
        parse(name).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_processor_is_always_there() {
        for name in ["", "cpu", "flex"] {
            assert!(parse(name).is_ok(), "{name}");
        }
        assert!(error("gpu").contains("there is no device"));
    }

    #[test]
    fn a_back_end_that_is_missing_names_its_feature() {
        #[cfg(not(feature = "cuda"))]
        for name in ["cuda", "cuda:0", "0"] {
            assert!(error(name).contains("--features cuda"), "{name}: {}", error(name));
        }
        #[cfg(not(feature = "tch"))]
        for name in ["tch", "tch:cuda:0"] {
            assert!(error(name).contains("--features tch"), "{name}: {}", error(name));
        }
    }

    #[test]
    fn several_devices_are_opened_together() {
        let backend = Backend::parse("flex,flex,flex", true).unwrap();
        assert_eq!(backend.other_devices.len(), 2);
        let backend = backend.alone();
        assert_eq!((backend.other_devices.len(), backend.name.to_string().as_str()), (0, "flex"));
        assert!(Backend::parse("cpu", true).unwrap().other_devices.is_empty());
    }

    #[test]
    fn gpus_are_counted() {
        let name = DeviceName::Cuda(vec![1]);
        assert_eq!(is_there(&name, 1, 2, ""), Ok(()));
        let none = is_there(&name, 1, 0, "no driver").unwrap_err().to_string();
        assert_eq!(none, "--device cuda:1: no NVIDIA GPU was found: no driver; --device cpu needs none");
        let other = is_there(&name, 1, 1, "").unwrap_err().to_string();
        assert_eq!(other, "--device cuda:1: there is no GPU 1; the only one is 0");
    }

    /// On a machine without a GPU, which CI is.
    #[cfg(feature = "cuda")]
    #[test]
    fn without_a_gpu_there_is_one_clear_line() {
        if Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().count() == 0 {
            assert!(error("cuda:0").contains("no NVIDIA GPU was found"), "{}", error("cuda:0"));
        }
    }
}
