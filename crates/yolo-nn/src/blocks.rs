//! The blocks of the running network, in reading order. Each is built from its spec and the tensors of a
//! state dict; widths come from the spec, so a pruned block is the same type with smaller numbers.

mod bottleneck;
mod c3;
mod conv;
mod detect;
mod sppf;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

pub use bottleneck::Bottleneck;
pub use c3::C3;
pub use conv::Conv;
pub use detect::Detect;
pub use sppf::Sppf;

/// One layer of the running network.
// Burn's modules cannot be boxed, and a network only has some thirty nodes.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Node {
    /// Convolution block.
    Conv(Conv),
    /// Residual pair of convolutions.
    Bottleneck(Bottleneck),
    /// Cross-stage-partial block.
    C3(C3),
    /// Fast spatial pyramid pooling.
    Sppf(Sppf),
    /// Nearest-neighbour enlargement.
    Upsample(Upsample),
    /// Concatenation of channels.
    Concat(Concat),
    /// The head.
    Detect(Detect),
}

/// Nearest-neighbour enlargement by a whole factor: `out[i, j] = in[i / scale, j / scale]`.
#[derive(Module, Debug)]
pub struct Upsample {
    scale: usize,
}

impl Upsample {
    /// An enlargement by `scale`.
    pub fn new(scale: usize) -> Self {
        Self { scale }
    }

    /// `[N, C, H, W]` → `[N, C, scale · H, scale · W]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let factor = self.scale as f32;
        interpolate(x, InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([factor, factor]))
    }
}

/// Concatenation along a dimension.
#[derive(Module, Debug)]
pub struct Concat {
    dim: usize,
}

impl Concat {
    /// Concatenation of channels.
    pub fn channels() -> Self {
        Self { dim: 1 }
    }

    /// Several `[N, Cᵢ, H, W]` → `[N, ΣCᵢ, H, W]`, in their order.
    pub fn forward(&self, inputs: Vec<Tensor<4>>) -> Tensor<4> {
        Tensor::cat(inputs, self.dim)
    }
}
