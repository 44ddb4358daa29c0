//! The head: one 1×1 convolution per level.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, FloatDType, Tensor};

use super::conv::{convolve, convolve_in, load_conv2d};
use crate::error::Result;
use crate::kernels::Then;
use yolo_model::architecture::DetectSpec;
use yolo_model::weights::StateDict;

/// Logits of boxes, objectness and classes for every anchor and cell. [`yolo_model::decode`] turns them into boxes.
#[derive(Module, Debug)]
pub struct Detect {
    /// One convolution per level, finest first.
    pub m: Vec<Conv2d>,
    /// The format of the convolutions, where it is not that of the weights.
    #[module(skip)]
    pub(crate) mixed: Option<FloatDType>,
}

impl Detect {
    /// The head called `name` with its tensors from `weights`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn load(name: &str, spec: &DetectSpec, weights: &StateDict, device: &Device) -> Result<Self> {
        let level = |level: usize| {
            let (weight, bias) = (format!("{name}.m.{level}.weight"), format!("{name}.m.{level}.bias"));
            load_conv2d(&weight, Some(&bias), &spec.conv(level), weights, device)
        };
        Ok(Self { m: (0..spec.in_channels.len()).map(level).collect::<Result<_>>()?, mixed: None })
    }

    /// Per level `[N, C, ny, nx]` → logits `[N, anchors · (5 + num_classes), ny, nx]`.
    pub fn forward(&self, levels: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let level = |(conv, x): (&Conv2d, Tensor<4>)| match self.mixed {
            Some(format) => convolve_in(format, conv, x).cast(FloatDType::F32),
            None => convolve(conv, x, Then::Nothing),
        };
        self.m.iter().zip(levels).map(level).collect()
    }
}
