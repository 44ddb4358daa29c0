//! Fast spatial pyramid pooling.

use burn::module::Module;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::Conv;
use crate::error::Result;
use yolo_model::architecture::SppfSpec;
use yolo_model::weights::StateDict;

/// Three chained max-pools of stride 1, all four stages concatenated: equal to pooling with windows of 5, 9
/// and 13. The border counts as −∞.
#[derive(Module, Debug)]
pub struct Sppf {
    /// Entry, 1×1.
    pub cv1: Conv,
    /// Joins the four, 1×1.
    pub cv2: Conv,
    pool: usize,
}

impl Sppf {
    /// The block called `name` with its tensors from `weights`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn load(
        name: &str,
        spec: &SppfSpec,
        fused: bool,
        weights: &StateDict,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            cv1: Conv::load(&format!("{name}.cv1"), &spec.cv1, fused, weights, device)?,
            cv2: Conv::load(&format!("{name}.cv2"), &spec.cv2, fused, weights, device)?,
            pool: spec.pool,
        })
    }

    /// `[N, in, H, W]` → `[N, out, H, W]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let pool = |x: Tensor<4>| {
            let half = self.pool / 2;
            let options = MaxPoolOptions::new([self.pool; 2]).with_stride([1, 1]).with_padding([half, half]);
            max_pool2d(x, options)
        };
        let x = self.cv1.forward(x);
        let once = pool(x.clone());
        let twice = pool(once.clone());
        let thrice = pool(twice.clone());
        self.cv2.forward(Tensor::cat(vec![x, once, twice, thrice], 1))
    }
}
