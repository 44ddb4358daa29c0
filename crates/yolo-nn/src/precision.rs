//! Networks that compute in half precision, as a whole or where it is safe.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::yolo::Yolo;

/// A floating-point format of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HalfFormat {
    /// IEEE half precision: 11 bits of precision, up to 65504. Gradients need loss scaling.
    Fp16,
    /// The upper half of single precision: 8 bits of precision, and its range.
    Bf16,
}

impl HalfFormat {
    /// As Burn calls it.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::Fp16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }
}

impl std::fmt::Display for HalfFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        })
    }
}

impl Yolo {
    /// The network with weights and activations in `format`: for inference, after fusing. Images have to be in that
    /// format as well, and logits are.
    #[must_use]
    pub fn in_half(self, format: HalfFormat) -> Self {
        self.map(&mut Cast(format.dtype()))
    }

    /// The network whose convolutions compute in `format` while weights, batch normalisation and logits stay in
    /// single precision: for training. What one block hands to the next is in `format`.
    #[must_use]
    pub fn in_mixed_precision(mut self, format: HalfFormat) -> Self {
        let format = Some(format.dtype());
        self.network.convs.iter_mut().for_each(|conv| conv.mixed = format);
        self.network.norms.iter_mut().for_each(|norm| norm.mixed = format);
        self.network.transposed.iter_mut().for_each(|transposed| transposed.mixed = format);
        self
    }
}

struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
