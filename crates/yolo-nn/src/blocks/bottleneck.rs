//! Residual pair of convolutions.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Conv;
use crate::error::Result;
use yolo_model::architecture::BottleneckSpec;
use yolo_model::weights::StateDict;

/// `cv2(cv1(x))`, plus `x` where the block has its shortcut.
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// 1×1.
    pub cv1: Conv,
    /// 3×3.
    pub cv2: Conv,
    add: bool,
}

impl Bottleneck {
    /// The block called `name` with its tensors from `weights`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn load(
        name: &str,
        spec: &BottleneckSpec,
        fused: bool,
        weights: &StateDict,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            cv1: Conv::load(&format!("{name}.cv1"), &spec.cv1, fused, weights, device)?,
            cv2: Conv::load(&format!("{name}.cv2"), &spec.cv2, fused, weights, device)?,
            add: spec.add,
        })
    }

    /// `[N, in, H, W]` → `[N, out, H, W]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if self.add {
            let shortcut = x.clone();
            self.cv2.forward(self.cv1.forward(x)) + shortcut
        } else {
            self.cv2.forward(self.cv1.forward(x))
        }
    }
}
