//! The parts of which modules are made in PyTorch: convolutions, batch normalisation, activations, pools. The counterpart
//! of [`PickledLayer`](super::PickledLayer)'s reading.

use super::{Activation, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ConvSpec};
use crate::weights::{PlainValue, TorchAttribute, TorchModule};

impl TorchModule {
    /// `models.common.Conv`: convolution, batch normalisation, activation.
    pub fn conv_block(spec: &ConvSpec) -> Self {
        Self::new("models.common.Conv")
            .child("conv", Self::conv2d(spec, false))
            .child("bn", Self::batch_norm(spec.out_channels))
            .child("act", spec.activation.to_torch())
    }

    /// `nn.Conv2d`.
    pub fn conv2d(spec: &ConvSpec, has_bias: bool) -> Self {
        let [vertical, horizontal] = spec.padding;
        Self::new("torch.nn.modules.conv.Conv2d")
            .parameter("weight", true)
            .parameter("bias", has_bias)
            .attribute("in_channels", spec.in_channels)
            .attribute("out_channels", spec.out_channels)
            .attribute("kernel_size", spec.kernel)
            .attribute("stride", spec.stride)
            .attribute("padding", spec.padding)
            .attribute("dilation", spec.dilation)
            .attribute("transposed", false)
            .attribute("output_padding", [0, 0])
            .attribute("groups", spec.groups)
            .attribute("padding_mode", "zeros")
            .attribute("_reversed_padding_repeated_twice", vec![horizontal, horizontal, vertical, vertical])
    }

    /// `nn.BatchNorm2d`.
    pub fn batch_norm(channels: usize) -> Self {
        Self::new("torch.nn.modules.batchnorm.BatchNorm2d")
            .parameter("weight", true)
            .parameter("bias", true)
            .buffer("running_mean")
            .buffer("running_var")
            .buffer("num_batches_tracked")
            .attribute("num_features", channels)
            .attribute("eps", BATCH_NORM_EPSILON)
            .attribute("momentum", BATCH_NORM_MOMENTUM)
            .attribute("affine", true)
            .attribute("track_running_stats", true)
    }

    /// `nn.MaxPool2d` with a square window.
    pub fn max_pool(window: usize, stride: usize, padding: usize) -> Self {
        Self::new("torch.nn.modules.pooling.MaxPool2d")
            .attribute("kernel_size", window)
            .attribute("stride", stride)
            .attribute("padding", padding)
            .attribute("dilation", 1_usize)
            .attribute("return_indices", false)
            .attribute("ceil_mode", false)
    }

    /// The expansion with which a yaml's module has `hidden` channels inside and `out` outside: the module has
    /// `⌊out · expansion⌋`, so the middle of the interval is taken.
    pub fn expansion(hidden: usize, out: usize) -> f64 {
        (hidden as f64 + 0.5) / out as f64
    }
}

impl Activation {
    /// The module of PyTorch.
    pub fn to_torch(self) -> TorchModule {
        match self {
            Self::Silu => TorchModule::new("torch.nn.modules.activation.SiLU").attribute("inplace", true),
            Self::Relu => TorchModule::new("torch.nn.modules.activation.ReLU").attribute("inplace", true),
            Self::LeakyRelu { slope } => TorchModule::new("torch.nn.modules.activation.LeakyReLU")
                .attribute("negative_slope", shortest(slope))
                .attribute("inplace", true),
            Self::Relu6 => TorchModule::new("torch.nn.modules.activation.ReLU6")
                .attribute("min_val", 0.0)
                .attribute("max_val", 6.0)
                .attribute("inplace", true),
            Self::Hardswish => {
                TorchModule::new("torch.nn.modules.activation.Hardswish").attribute("inplace", true)
            }
            Self::Mish => TorchModule::new("torch.nn.modules.activation.Mish").attribute("inplace", true),
            Self::Elu { alpha } => TorchModule::new("torch.nn.modules.activation.ELU")
                .attribute("alpha", shortest(alpha))
                .attribute("inplace", true),
            Self::Gelu => {
                TorchModule::new("torch.nn.modules.activation.GELU").attribute("approximate", "none")
            }
            Self::Identity => TorchModule::new("torch.nn.modules.linear.Identity"),
        }
    }

    /// The expression with which a yaml's `activation` asks for it; none for what a yaml without it has.
    pub(super) fn to_expression(self) -> Option<String> {
        if self == Self::default() {
            return None;
        }
        let module = self.to_torch();
        let name = module.class.rsplit('.').next().unwrap_or_default();
        let number = |(name, value): &(&str, TorchAttribute)| match value {
            // ReLU6 has no number of its own.
            TorchAttribute::Plain(PlainValue::Float(number)) if !name.ends_with("_val") => {
                Some(number.to_string())
            }
            _ => None,
        };
        let numbers: Vec<String> = module.attributes.iter().filter_map(number).collect();
        Some(format!("nn.{name}({})", numbers.join(", ")))
    }
}

/// The decimal number that a person would have written: 0.1, not 0.10000000149.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
