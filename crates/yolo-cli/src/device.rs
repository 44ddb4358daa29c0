//! `--device` → what networks are pruned, trained and measured on, and what goes wrong there in the words of the flags.

use anyhow::{Error, Result, anyhow};
use burn::tensor::Device;
use yolo_device::{Backend, DeviceError, DeviceName, open_first};

/// Advice where there is no back end for GPUs.
pub(crate) const HOW_TO_BUILD: &str = "this build has no back end for GPUs; `cargo build --release -p yolo-cli --features \
                                       cuda` makes one (docs/gpu.md)";

/// The device called `name`; the first of several.
///
/// # Errors
/// A name that is not one, a back end that is not in this binary, or one that does not work here.
pub(crate) fn parse(name: &str) -> Result<Device> {
    let name = DeviceName::parse(name)?;
    warn_of_others(&name);
    Ok(open_first(&name)?)
}

/// The back end for a command that does not train, which uses the first of several devices and says so.
pub(crate) fn alone(backend: Backend) -> Backend {
    warn_of_others(backend.name());
    backend.alone()
}

fn warn_of_others(name: &DeviceName) {
    if name.count() > 1 {
        tracing::warn!("only training uses several devices: this runs on {}", name.first());
    }
}

/// `error` with the flags that it is about and those that avoid it, if it is one of a device.
pub(crate) fn with_flags(error: Error) -> Error {
    let Some(of_device) = error.chain().find_map(|cause| cause.downcast_ref::<DeviceError>()) else {
        return error;
    };
    anyhow!("{}", format!("{error:#}").replace(&of_device.to_string(), &in_flags(of_device)))
}

fn in_flags(error: &DeviceError) -> String {
    match error {
        DeviceError::Unknown { .. } | DeviceError::Threads { .. } => error.to_string(),
        DeviceError::NotCompiled { device, what, feature } => format!(
            "--device {device}: this yolo-cli was built without {what}; build it with `cargo build --release -p yolo-cli \
             --features {feature}`"
        ),
        DeviceError::NoGpu { .. } => format!("--device {error}; --device cpu needs none"),
        DeviceError::NoHalf { .. } => format!("--half: {error}; leave --half out"),
        DeviceError::LibtorchVersion { device, found, place, wanted } => format!(
            "--device {device}: libtorch {found} was loaded from {place}, but this yolo-cli was built for {wanted}; \
             install it with `pip install torch=={wanted}.*` or build yolo-cli anew"
        ),
        DeviceError::NoSuchGpu { .. } | DeviceError::Twice { .. } | DeviceError::Failed { .. } => {
            format!("--device {error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_flag() {
        let device = || "cuda:1".to_owned();
        let none = in_flags(&DeviceError::NoGpu { device: device(), why: "no driver".to_owned() });
        assert_eq!(none, "--device cuda:1: no NVIDIA GPU was found: no driver; --device cpu needs none");
        let other = in_flags(&DeviceError::NoSuchGpu { device: device(), index: 1, count: 1 });
        assert_eq!(other, "--device cuda:1: there is no GPU 1; the only one is 0");
        let half = in_flags(&DeviceError::NoHalf { device: "tch".to_owned() });
        assert_eq!(half, "--half: tch cannot compute in half precision; leave --half out");
        let missing = DeviceError::NotCompiled { device: device(), what: "CUDA", feature: "cuda" };
        assert!(in_flags(&missing).ends_with("`cargo build --release -p yolo-cli --features cuda`"));
    }
}
