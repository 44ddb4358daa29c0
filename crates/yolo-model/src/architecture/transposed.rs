//! Transposed convolutions: they enlarge their map with learned weights.

use serde::{Deserialize, Serialize};

use super::{MAX_CHANNELS, MAX_KERNEL, TensorSpec};

/// PyTorch's `ConvTranspose2d`, with a bias and nothing behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransposedSpec {
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
    #[serde(rename = "s")]
    pub stride: [usize; 2],
    /// Rows and columns cut off at every side of the output.
    #[serde(rename = "p")]
    pub padding: [usize; 2],
    /// Rows added below, columns added on the right.
    pub output_padding: [usize; 2],
    /// Spacing of the kernel's elements.
    #[serde(rename = "d")]
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    #[serde(rename = "g")]
    pub groups: usize,
}

/// A transposed convolution with its place in the network.
#[derive(Clone, Debug, PartialEq)]
pub struct TransposedRef {
    /// What its tensors' names start with: `model.20`.
    pub name: String,
    /// Index of the layer it belongs to; 0 in a program without layers.
    pub layer: usize,
    /// Its numbers.
    pub spec: TransposedSpec,
}

impl TransposedSpec {
    /// Shape of the weight: `[in_channels, out_channels / groups, height, width]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.in_channels, self.out_channels / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }

    /// Height and width of the output for an input of `[height, width]`.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let whole = size[axis].saturating_sub(1) * self.stride[axis] + reach + self.output_padding[axis];
            whole.saturating_sub(2 * self.padding[axis])
        })
    }

    /// Checks every number, and that the input has `in_channels` channels; the error says what is wrong.
    pub(crate) fn check(&self, in_channels: usize) -> Result<(), String> {
        if self.in_channels != in_channels {
            return Err(format!("expects {} input channels but receives {in_channels}", self.in_channels));
        }
        let channels = 1..=MAX_CHANNELS;
        let (input, output) = (self.in_channels, self.out_channels);
        if !channels.contains(&input) || !channels.contains(&output) {
            return Err(format!(
                "has {input} → {output} channels; both must be between 1 and {MAX_CHANNELS}"
            ));
        }
        let divides = |n: usize| self.groups > 0 && n.is_multiple_of(self.groups);
        if !divides(input) || !divides(output) {
            return Err(format!("{} groups do not divide {input} → {output} channels", self.groups));
        }
        let small = |pair: [usize; 2], from: usize| pair.iter().all(|n| (from..=MAX_KERNEL).contains(n));
        let paddings = small(self.padding, 0) && small(self.output_padding, 0);
        if !small(self.kernel, 1) || !small(self.stride, 1) || !small(self.dilation, 1) || !paddings {
            return Err(format!("has a kernel, stride, dilation or padding beyond {MAX_KERNEL}"));
        }
        if (0..2).any(|axis| self.output_padding[axis] >= self.stride[axis].max(self.dilation[axis])) {
            return Err("has an output padding that is not smaller than its stride or dilation".to_owned());
        }
        // Else a map of one pixel would vanish.
        if (0..2).any(|axis| 2 * self.padding[axis] > self.dilation[axis] * (self.kernel[axis] - 1)) {
            return Err("has a padding that cuts off more than its kernel makes".to_owned());
        }
        Ok(())
    }
}

impl TransposedRef {
    /// Name of the weight tensor.
    pub fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Name of the bias tensor, `[out_channels]`.
    pub fn bias(&self) -> String {
        format!("{}.bias", self.name)
    }

    /// Its tensors in PyTorch's order.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        vec![
            TensorSpec::parameter(self.weight(), &self.spec.weight_shape()),
            TensorSpec::parameter(self.bias(), &[self.spec.out_channels]),
        ]
    }
}
