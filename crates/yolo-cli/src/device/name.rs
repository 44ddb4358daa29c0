//! What can be typed behind `--device`.

use std::fmt;

use super::error::DeviceError;

/// A device by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// This processor, with detectors compiled for it.
    Cpu,
    /// This processor, by Burn's own back end for it.
    Flex,
    /// NVIDIA GPUs by their index, through CubeCL; one, or several.
    Cuda(Vec<usize>),
    /// This processor, by libtorch.
    TchCpu,
    /// An NVIDIA GPU by its index, through libtorch.
    TchCuda(usize),
}

impl DeviceName {
    /// The device called `name`: `cpu`, `flex`, `cuda` or `cuda:0` (or just `0`, as YOLOv5 has it), `cuda:0,1`,
    /// `tch`, `tch:cuda:0`. None at all is `cpu`.
    ///
    /// # Errors
    /// [`DeviceError::Unknown`].
    pub(crate) fn parse(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { name: name.to_owned() };
        match name {
            "" | "cpu" => Ok(Self::Cpu),
            "flex" => Ok(Self::Flex),
            "tch" | "tch:cpu" => Ok(Self::TchCpu),
            _ => match name.strip_prefix("tch:cuda") {
                Some("") => Ok(Self::TchCuda(0)),
                Some(rest) => {
                    let index = rest.strip_prefix(':').and_then(index).ok_or_else(unknown)?;
                    Ok(Self::TchCuda(index))
                }
                None => cuda_indices(name).map(Self::Cuda).ok_or_else(unknown),
            },
        }
    }

    /// Whether it is this processor by Burn's or by our own kernels.
    pub(crate) fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu | Self::Flex)
    }

    /// Whether it is a GPU.
    pub(crate) fn is_gpu(&self) -> bool {
        matches!(self, Self::Cuda(_) | Self::TchCuda(_))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Flex => write!(f, "flex"),
            Self::Cuda(indices) => {
                let indices: Vec<String> = indices.iter().map(usize::to_string).collect();
                write!(f, "cuda:{}", indices.join(","))
            }
            Self::TchCpu => write!(f, "tch"),
            Self::TchCuda(index) => write!(f, "tch:cuda:{index}"),
        }
    }
}

/// `cuda`, `cuda:2`, `2`, `cuda:0,1`, `0,1` as indices.
fn cuda_indices(name: &str) -> Option<Vec<usize>> {
    let list = match name.strip_prefix("cuda") {
        Some("") => "0",
        Some(rest) => rest.strip_prefix(':')?,
        None => name,
    };
    list.split(',').map(index).collect()
}

/// A plain number; `usize::from_str` would take a sign.
fn index(text: &str) -> Option<usize> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_read() {
        let cases = [
            ("", DeviceName::Cpu),
            ("cpu", DeviceName::Cpu),
            ("flex", DeviceName::Flex),
            ("cuda", DeviceName::Cuda(vec![0])),
            ("cuda:2", DeviceName::Cuda(vec![2])),
            ("1", DeviceName::Cuda(vec![1])),
            ("0,3", DeviceName::Cuda(vec![0, 3])),
            ("cuda:0,1", DeviceName::Cuda(vec![0, 1])),
            ("tch", DeviceName::TchCpu),
            ("tch:cpu", DeviceName::TchCpu),
            ("tch:cuda", DeviceName::TchCuda(0)),
            ("tch:cuda:1", DeviceName::TchCuda(1)),
        ];
        for (name, device) in cases {
            assert_eq!(DeviceName::parse(name).unwrap(), device, "{name}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "gpu",
            "cuda0",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:+1",
            "cuda:0,",
            "tch:0",
            "tch:cuda:",
            "tch:cuda:0,1",
        ] {
            let error = DeviceName::parse(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no device {name:?}")), "{error}");
        }
    }

    #[test]
    fn a_name_is_shown_in_full() {
        for (name, shown) in [("0", "cuda:0"), ("0,1", "cuda:0,1"), ("tch:cuda", "tch:cuda:0"), ("", "cpu")] {
            assert_eq!(DeviceName::parse(name).unwrap().to_string(), shown);
        }
    }
}
