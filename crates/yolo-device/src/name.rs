//! What devices are called.

use std::fmt;

use crate::error::DeviceError;

/// A device by its name, or several of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// This processor, with detectors compiled for it.
    Cpu,
    /// This processor, by Burn's own back end for it; as often as it was named, which tries out what several devices
    /// do on a machine that has none.
    Flex(usize),
    /// NVIDIA GPUs by their index, through CubeCL.
    Cuda(Vec<usize>),
    /// This processor, by libtorch.
    TchCpu,
    /// NVIDIA GPUs by their index, through libtorch.
    TchCuda(Vec<usize>),
}

impl DeviceName {
    /// The device called `name`: `cpu`, `flex`, `cuda` or `cuda:0` (or just `0`, as YOLOv5 has it), `tch`,
    /// `tch:cuda:0`. Several are `cuda:0,1`, `0,1`, `tch:cuda:0,1` or `flex,flex`. None at all is `cpu`.
    ///
    /// # Errors
    /// [`DeviceError::Unknown`], [`DeviceError::Twice`].
    pub fn parse(name: &str) -> Result<Self, DeviceError> {
        let found = match name {
            "" | "cpu" => Some(Self::Cpu),
            "tch" | "tch:cpu" => Some(Self::TchCpu),
            _ if name.split(',').all(|part| part == "flex") => Some(Self::Flex(name.split(',').count())),
            _ => match name.strip_prefix("tch:") {
                Some(rest) if rest.starts_with("cuda") => cuda_indices(rest).map(Self::TchCuda),
                Some(_) => None,
                None => cuda_indices(name).map(Self::Cuda),
            },
        };
        let found = found.ok_or_else(|| DeviceError::Unknown { name: name.to_owned() })?;
        match twice(found.indices()) {
            Some(index) => Err(DeviceError::Twice { device: found.to_string(), index }),
            None => Ok(found),
        }
    }

    /// How many devices these are.
    pub fn count(&self) -> usize {
        match self {
            Self::Cpu | Self::TchCpu => 1,
            Self::Flex(count) => *count,
            Self::Cuda(indices) | Self::TchCuda(indices) => indices.len(),
        }
    }

    /// The first of them on its own.
    pub fn first(&self) -> Self {
        let first = |indices: &[usize]| indices.iter().take(1).copied().collect();
        match self {
            Self::Cpu => Self::Cpu,
            Self::TchCpu => Self::TchCpu,
            Self::Flex(_) => Self::Flex(1),
            Self::Cuda(indices) => Self::Cuda(first(indices)),
            Self::TchCuda(indices) => Self::TchCuda(first(indices)),
        }
    }

    /// Of GPUs.
    fn indices(&self) -> &[usize] {
        match self {
            Self::Cuda(indices) | Self::TchCuda(indices) => indices,
            Self::Cpu | Self::Flex(_) | Self::TchCpu => &[],
        }
    }

    /// Whether it is this processor by Burn's or by our own kernels.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu | Self::Flex(_))
    }

    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        matches!(self, Self::Cuda(_) | Self::TchCuda(_))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |words: Vec<String>| words.join(",");
        let indices = list(self.indices().iter().map(usize::to_string).collect());
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Flex(count) => write!(f, "{}", list(vec!["flex".to_owned(); *count])),
            Self::Cuda(_) => write!(f, "cuda:{indices}"),
            Self::TchCpu => write!(f, "tch"),
            Self::TchCuda(_) => write!(f, "tch:cuda:{indices}"),
        }
    }
}

/// An index that comes twice.
fn twice(indices: &[usize]) -> Option<usize> {
    let earlier = |i: usize| indices[..i].contains(&indices[i]);
    (0..indices.len()).find(|&i| earlier(i)).map(|i| indices[i])
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
            ("flex", DeviceName::Flex(1)),
            ("flex,flex", DeviceName::Flex(2)),
            ("cuda", DeviceName::Cuda(vec![0])),
            ("cuda:2", DeviceName::Cuda(vec![2])),
            ("1", DeviceName::Cuda(vec![1])),
            ("0,3", DeviceName::Cuda(vec![0, 3])),
            ("cuda:0,1", DeviceName::Cuda(vec![0, 1])),
            ("tch", DeviceName::TchCpu),
            ("tch:cpu", DeviceName::TchCpu),
            ("tch:cuda", DeviceName::TchCuda(vec![0])),
            ("tch:cuda:1", DeviceName::TchCuda(vec![1])),
            ("tch:cuda:0,1", DeviceName::TchCuda(vec![0, 1])),
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
            "tch:1",
            "flex,cpu",
            "flex,",
            "cpu,cpu",
            "cuda:0,tch:cuda:1",
        ] {
            let error = DeviceName::parse(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no device {name:?}")), "{error}");
        }
    }

    #[test]
    fn a_name_is_shown_in_full() {
        for (name, shown, count, first) in [
            ("0", "cuda:0", 1, "cuda:0"),
            ("1,0", "cuda:1,0", 2, "cuda:1"),
            ("tch:cuda", "tch:cuda:0", 1, "tch:cuda:0"),
            ("tch:cuda:0,2", "tch:cuda:0,2", 2, "tch:cuda:0"),
            ("flex,flex", "flex,flex", 2, "flex"),
            ("tch:cpu", "tch", 1, "tch"),
            ("", "cpu", 1, "cpu"),
        ] {
            let name = DeviceName::parse(name).unwrap();
            assert_eq!((name.to_string().as_str(), name.count()), (shown, count));
            assert_eq!(name.first().to_string(), first);
        }
    }

    #[test]
    fn a_gpu_is_named_once() {
        let error = DeviceName::parse("cuda:0,1,0").unwrap_err().to_string();
        assert_eq!(error, "cuda:0,1,0: GPU 0 is named twice");
    }
}
