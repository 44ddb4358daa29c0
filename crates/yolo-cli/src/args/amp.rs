//! `--amp`.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use yolo_nn::HalfFormat;

use yolo_device::DeviceName;

/// In which format a network computes while it is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AmpArg {
    /// fp16 on a GPU, off elsewhere.
    #[default]
    Auto,
    /// Single precision.
    Off,
    /// Half precision, with loss scaling.
    Fp16,
    /// bfloat16.
    Bf16,
}

impl AmpArg {
    /// The format on the device called `device`; none for single precision.
    pub(crate) fn format(self, device: &str) -> Option<HalfFormat> {
        match self {
            Self::Off => None,
            Self::Fp16 => Some(HalfFormat::Fp16),
            Self::Bf16 => Some(HalfFormat::Bf16),
            Self::Auto => {
                DeviceName::parse(device).is_ok_and(|name| name.is_gpu()).then_some(HalfFormat::Fp16)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_precision_is_on_by_default_on_gpus_only() {
        for device in ["cuda", "0", "tch:cuda:1"] {
            assert_eq!(AmpArg::Auto.format(device), Some(HalfFormat::Fp16), "{device}");
            assert_eq!(AmpArg::Off.format(device), None, "{device}");
        }
        for device in ["cpu", "flex", "tch"] {
            assert_eq!(AmpArg::Auto.format(device), None, "{device}");
            assert_eq!(AmpArg::Bf16.format(device), Some(HalfFormat::Bf16), "{device}");
        }
    }
}
