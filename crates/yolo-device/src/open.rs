//! From a name to devices of Burn. The only place in the libraries that names a back end.

use burn::tensor::Device;

use crate::error::DeviceError;
#[cfg(any(feature = "cuda", feature = "tch"))]
use crate::error::first_line;
#[cfg(feature = "tch")]
use crate::libtorch;
use crate::name::DeviceName;
#[cfg(any(feature = "cuda", feature = "tch"))]
use crate::panics::catching;

/// The device called `name`, ready for work; the first of several.
///
/// # Errors
/// A back end that is not in this program, or one that does not work here.
pub fn open_first(name: &DeviceName) -> Result<Device, DeviceError> {
    Ok(open(&name.first())?.0)
}

/// The devices called `name`, ready for work: the first, and the others.
pub(crate) fn open(name: &DeviceName) -> Result<(Device, Vec<Device>), DeviceError> {
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
pub(crate) fn driver_state() -> &'static str {
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
        let opened = DeviceName::parse(name).and_then(|name| open_first(&name));
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_processor_is_always_there() {
        for name in ["", "cpu", "flex"] {
            assert_eq!(error(name), "", "{name}");
        }
        assert!(error("gpu").contains("there is no device"));
    }

    #[test]
    fn a_back_end_that_is_missing_names_its_feature() {
        #[cfg(not(feature = "cuda"))]
        for name in ["cuda", "cuda:0", "0"] {
            assert!(error(name).contains("the feature cuda"), "{name}: {}", error(name));
        }
        #[cfg(not(feature = "tch"))]
        for name in ["tch", "tch:cuda:0"] {
            assert!(error(name).contains("the feature tch"), "{name}: {}", error(name));
        }
    }

    #[test]
    fn gpus_are_counted() {
        let name = DeviceName::Cuda(vec![1]);
        assert_eq!(is_there(&name, 1, 2, ""), Ok(()));
        let none = is_there(&name, 1, 0, "no driver").unwrap_err().to_string();
        assert_eq!(none, "cuda:1: no NVIDIA GPU was found: no driver");
        let other = is_there(&name, 1, 1, "").unwrap_err().to_string();
        assert_eq!(other, "cuda:1: there is no GPU 1; the only one is 0");
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
