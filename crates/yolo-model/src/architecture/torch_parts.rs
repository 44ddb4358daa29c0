//! The parts of which modules are made in PyTorch: convolutions, batch normalisation, activations, pools. The counterpart
//! of [`PickledLayer`](super::PickledLayer)'s reading.

use super::{Activation, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ConvSpec, TransposedSpec};
use crate::weights::{PlainValue, TorchAttribute, TorchModule};

impl TorchModule {
    /// `models.common.Conv`: convolution, batch normalisation, activation.
    pub fn conv_block(spec: &ConvSpec) -> Self {
        Self::block("models.common.Conv", spec)
    }

    /// `models.common.DWConv`, the same with as many groups as the widths allow.
    pub fn depthwise_block(spec: &ConvSpec) -> Self {
        Self::block("models.common.DWConv", spec)
    }

    fn block(class: &'static str, spec: &ConvSpec) -> Self {
        Self::new(class)
            .child("conv", Self::conv2d(spec, false))
            .child("bn", Self::batch_norm(spec.out_channels))
            .child("act", spec.activation.to_torch())
    }

    /// `nn.Conv2d`.
    pub fn conv2d(spec: &ConvSpec, has_bias: bool) -> Self {
        Self::convolution("torch.nn.modules.conv.Conv2d", spec, has_bias, None)
    }

    /// `nn.ConvTranspose2d`, or a class that is one, with a bias.
    pub fn transposed(class: &'static str, spec: &TransposedSpec) -> Self {
        let numbers = ConvSpec {
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
            dilation: spec.dilation,
            groups: spec.groups,
            ..ConvSpec::new(spec.in_channels, spec.out_channels, 1, 1)
        };
        Self::convolution(class, &numbers, true, Some(spec.output_padding))
    }

    /// Any convolution; a transposed one has an output padding.
    fn convolution(
        class: &'static str,
        spec: &ConvSpec,
        has_bias: bool,
        output_padding: Option<[usize; 2]>,
    ) -> Self {
        let [vertical, horizontal] = spec.padding;
        Self::new(class)
            .parameter("weight", true)
            .parameter("bias", has_bias)
            .attribute("in_channels", spec.in_channels)
            .attribute("out_channels", spec.out_channels)
            .attribute("kernel_size", spec.kernel)
            .attribute("stride", spec.stride)
            .attribute("padding", spec.padding)
            .attribute("dilation", spec.dilation)
            .attribute("transposed", output_padding.is_some())
            .attribute("output_padding", output_padding.unwrap_or_default())
            .attribute("groups", spec.groups)
            .attribute("padding_mode", "zeros")
            .attribute("_reversed_padding_repeated_twice", vec![horizontal, horizontal, vertical, vertical])
    }

    /// `nn.Linear`, for a convolution that is one.
    pub fn linear(spec: &ConvSpec) -> Self {
        Self::linear_of("torch.nn.modules.linear.Linear", spec)
    }

    /// The class that PyTorch gives the projection behind attention.
    pub(crate) fn projection(spec: &ConvSpec) -> Self {
        Self::linear_of("torch.nn.modules.linear.NonDynamicallyQuantizableLinear", spec)
    }

    fn linear_of(class: &'static str, spec: &ConvSpec) -> Self {
        Self::new(class)
            .parameter("weight", true)
            .parameter("bias", spec.form.has_bias(true))
            .attribute("in_features", spec.in_channels)
            .attribute("out_features", spec.out_channels)
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
        Self::pool(window.into(), stride.into(), padding.into(), false)
    }

    /// `nn.MaxPool2d`; numbers are for both axes.
    pub fn pool(window: PlainValue, stride: PlainValue, padding: PlainValue, ceil: bool) -> Self {
        Self::new("torch.nn.modules.pooling.MaxPool2d")
            .attribute("kernel_size", window)
            .attribute("stride", stride)
            .attribute("padding", padding)
            .attribute("dilation", 1_usize)
            .attribute("return_indices", false)
            .attribute("ceil_mode", ceil)
    }

    /// The same module and its parts as the package `ultralytics` calls them; `None` if it does not have one of them.
    pub(crate) fn of_ultralytics(mut self) -> Option<Self> {
        if let Some(name) = self.class.strip_prefix("models.common.") {
            let file = match name {
                "Conv" | "DWConv" | "Concat" | "Focus" | "GhostConv" => "conv",
                "Bottleneck" | "C3" | "SPPF" | "SPP" | "BottleneckCSP" | "C3x" | "C3TR" | "C3Ghost" => {
                    "block"
                }
                _ => return None,
            };
            self.class = format!("ultralytics.nn.modules.{file}.{name}");
        }
        let children = std::mem::take(&mut self.children).into_iter();
        self.children =
            children.map(|(name, child)| Some((name, child.of_ultralytics()?))).collect::<Option<_>>()?;
        Some(self)
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
        // That of ReLU6 is part of its name.
        let takes_number = matches!(self, Self::LeakyRelu { .. } | Self::Elu { .. });
        let number = |(_, value): &(&str, TorchAttribute)| match value {
            TorchAttribute::Plain(PlainValue::Float(number)) if takes_number => Some(number.to_string()),
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
