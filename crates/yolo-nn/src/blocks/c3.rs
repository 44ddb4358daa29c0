//! Cross-stage-partial block with three convolutions.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Bottleneck, Conv};
use crate::error::Result;
use yolo_model::architecture::C3Spec;
use yolo_model::weights::StateDict;

/// `cv3(concat[m(cv1(x)), cv2(x)])`.
#[derive(Module, Debug)]
pub struct C3 {
    /// Entry of the bottleneck branch, 1×1.
    pub cv1: Conv,
    /// The branch beside it, 1×1.
    pub cv2: Conv,
    /// Joins both, 1×1.
    pub cv3: Conv,
    /// The bottlenecks.
    pub m: Vec<Bottleneck>,
}

impl C3 {
    /// The block called `name` with its tensors from `weights`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn load(
        name: &str,
        spec: &C3Spec,
        fused: bool,
        weights: &StateDict,
        device: &Device,
    ) -> Result<Self> {
        let m = spec.m.iter().enumerate();
        Ok(Self {
            cv1: Conv::load(&format!("{name}.cv1"), &spec.cv1, fused, weights, device)?,
            cv2: Conv::load(&format!("{name}.cv2"), &spec.cv2, fused, weights, device)?,
            cv3: Conv::load(&format!("{name}.cv3"), &spec.cv3, fused, weights, device)?,
            m: m.map(|(j, b)| Bottleneck::load(&format!("{name}.m.{j}"), b, fused, weights, device))
                .collect::<Result<_>>()?,
        })
    }

    /// `[N, in, H, W]` → `[N, out, H, W]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let beside = self.cv2.forward(x.clone());
        let deep = self.m.iter().fold(self.cv1.forward(x), |x, bottleneck| bottleneck.forward(x));
        self.cv3.forward(Tensor::cat(vec![deep, beside], 1))
    }
}
