//! A convolution and what follows it, in numbers.

use serde::{Deserialize, Serialize};

use super::{Activation, MAX_CHANNELS, MAX_KERNEL};

/// Which tensors a convolution has, by which names, and what follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConvForm {
    /// A block: convolution without bias, batch normalisation, activation. Once fused: convolution with bias, activation.
    #[default]
    Block,
    /// A convolution with a bias and never a batch normalisation.
    Bare,
    /// A convolution without bias and batch normalisation.
    Plain,
    /// A linear layer over the channels of every pixel, with a bias: a convolution of 1×1 whose weight has two dimensions.
    Linear,
    /// The same without a bias.
    PlainLinear,
    /// The three projections at the entrance of PyTorch's `MultiheadAttention`, in one tensor: a convolution of three groups.
    Projections,
    /// The projection at its exit: as [`ConvForm::Linear`], but the reference's profiler does not see it.
    LastProjection,
}

impl ConvForm {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it has a bias, in a network that is `fused` or not.
    pub fn has_bias(self, fused: bool) -> bool {
        match self {
            Self::Block => fused,
            Self::Bare | Self::Linear | Self::Projections | Self::LastProjection => true,
            Self::Plain | Self::PlainLinear => false,
        }
    }

    /// Whether its weight has two dimensions.
    pub fn is_linear(&self) -> bool {
        matches!(self, Self::Linear | Self::PlainLinear | Self::Projections | Self::LastProjection)
    }
}

/// A convolution block: `Conv2d` without bias → batch normalisation → activation, or, fused, `Conv2d` with
/// bias → activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSpec {
    /// Channels of the input.
    #[serde(rename = "in")]
    pub in_channels: usize,
    /// Channels of the output.
    #[serde(rename = "out")]
    pub out_channels: usize,
    /// Kernel height and width.
    #[serde(rename = "k")]
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    #[serde(rename = "s", default = "ones", skip_serializing_if = "is_ones")]
    pub stride: [usize; 2],
    /// Zeros added above and below, left and right.
    #[serde(rename = "p", default, skip_serializing_if = "is_zeros")]
    pub padding: [usize; 2],
    /// Spacing of the kernel's elements.
    #[serde(rename = "d", default = "ones", skip_serializing_if = "is_ones")]
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    #[serde(rename = "g", default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// What follows the convolution.
    #[serde(rename = "act", default, skip_serializing_if = "Activation::is_default")]
    pub activation: Activation,
    /// Which tensors it has.
    #[serde(default, skip_serializing_if = "ConvForm::is_default")]
    pub form: ConvForm,
}

fn ones() -> [usize; 2] {
    [1, 1]
}
fn one() -> usize {
    1
}
fn is_ones(pair: &[usize; 2]) -> bool {
    *pair == [1, 1]
}
fn is_zeros(pair: &[usize; 2]) -> bool {
    *pair == [0, 0]
}
fn is_one(n: &usize) -> bool {
    *n == 1
}

impl ConvSpec {
    /// A square convolution with YOLOv5's automatic padding `k / 2`, no groups, no dilation.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
            activation: Activation::default(),
            form: ConvForm::default(),
        }
    }

    /// A linear layer over the channels of every pixel.
    pub(crate) fn linear(in_channels: usize, out_channels: usize, has_bias: bool) -> Self {
        let form = if has_bias { ConvForm::Linear } else { ConvForm::PlainLinear };
        Self { activation: Activation::Identity, form, ..Self::new(in_channels, out_channels, 1, 1) }
    }

    /// Whether every output channel is made of the input channel of its number and no other.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// Sets the numbers of channels; a depthwise convolution stays one.
    pub(crate) fn resize(&mut self, in_channels: usize, out_channels: usize) {
        if self.is_depthwise() && in_channels == out_channels {
            self.groups = in_channels;
        }
        (self.in_channels, self.out_channels) = (in_channels, out_channels);
    }

    /// Shape of the weight: `[out_channels, in_channels / groups, height, width]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }

    /// Height and width of the output for an input of `[height, width]`.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            (size[axis] + 2 * self.padding[axis]).saturating_sub(reach) / self.stride[axis] + 1
        })
    }

    /// Numbers in the weight.
    pub fn weight_count(&self) -> usize {
        self.weight_shape().iter().product()
    }

    /// Checks every number, and that the input has `in_channels` channels; the error says what is wrong.
    pub(crate) fn check(&self, in_channels: usize) -> Result<(), String> {
        if self.in_channels != in_channels {
            return Err(format!("expects {} input channels but receives {in_channels}", self.in_channels));
        }
        let channels = 1..=MAX_CHANNELS;
        if !channels.contains(&self.in_channels) || !channels.contains(&self.out_channels) {
            return Err(format!(
                "has {} → {} channels; both must be between 1 and {MAX_CHANNELS}",
                self.in_channels, self.out_channels
            ));
        }
        let divides = |n: usize| self.groups > 0 && n.is_multiple_of(self.groups);
        if !divides(self.in_channels) || !divides(self.out_channels) {
            return Err(format!(
                "{} groups do not divide {} → {} channels",
                self.groups, self.in_channels, self.out_channels
            ));
        }
        if self.form.is_linear() && (self.kernel != [1, 1] || self.stride != [1, 1] || self.padding != [0, 0])
        {
            return Err("is a linear layer, which has no kernel, stride or padding".to_owned());
        }
        let small = |pair: [usize; 2], from: usize| pair.iter().all(|n| (from..=MAX_KERNEL).contains(n));
        let spaced = small(self.stride, 1) && small(self.dilation, 1) && small(self.padding, 0);
        if !small(self.kernel, 1) || !spaced {
            return Err(format!(
                "kernel {:?}, stride {:?}, dilation {:?} and padding {:?} must lie within {MAX_KERNEL}",
                self.kernel, self.stride, self.dilation, self.padding
            ));
        }
        Ok(())
    }
}
