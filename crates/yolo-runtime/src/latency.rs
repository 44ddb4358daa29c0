//! How long convolutions take by their zeros and channels: the tables that a pruning planner works from.

mod channels;
mod geometry;
mod network;
mod widths;

use crate::choice::KernelId;
use crate::error::Result;
use crate::network::{Activation, Conv, Network, Op, Output};
use crate::noise::Noise;
use crate::plan::{Options, Plan, Selection};

pub use channels::ChannelTimes;
pub use geometry::geometries;
pub use network::{NetworkTimes, measure_network, measure_plans};
pub use widths::WidthTimes;

/// The geometry of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Channels that it reads.
    pub in_channels: usize,
    /// Channels that it makes.
    pub out_channels: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step down and across.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
}

/// The time of a convolution at one sparsity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyPoint {
    /// Share of the weights that are zero.
    pub sparsity: f64,
    /// Milliseconds per run with SiLU.
    pub milliseconds: f64,
    /// The kernel that was fastest.
    pub kernel: KernelId,
}

/// Times a convolution with SiLU on one image at each of `sparsities`, its zeros strewn at random, on the fastest
/// kernel for each. Threads and vector unit are those of `options`; its selection and choices are not used.
///
/// # Errors
/// As for [`Plan::new`].
pub fn measure_conv(
    geometry: &ConvGeometry,
    sparsities: &[f64],
    options: &Options,
) -> Result<Vec<LatencyPoint>> {
    let point = |&sparsity: &f64| {
        let network = network(geometry, sparsity);
        let options = Options {
            selection: Selection::Measure,
            choices: Default::default(),
            // A layer on its own: there is no network to take more weights from.
            weight_growth: f64::INFINITY,
            ..options.clone()
        };
        let plan = Plan::new(network, &options)?;
        let report = &plan.convolutions()[0];
        let fastest = report.candidates.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let (kernel, milliseconds) = fastest.copied().unwrap_or((report.chosen, f64::NAN));
        Ok(LatencyPoint { sparsity, milliseconds, kernel })
    };
    sparsities.iter().map(point).collect()
}

fn network(geometry: &ConvGeometry, sparsity: f64) -> Network {
    let [height, width] = geometry.kernel;
    let inputs = geometry.in_channels * height * width;
    let mut weight = vec![0.0; geometry.out_channels * inputs];
    strew(&mut weight, inputs, sparsity, &mut Noise::new());
    let conv = Conv {
        name: "conv".to_owned(),
        input: 0,
        weight,
        bias: vec![0.1; geometry.out_channels],
        out_channels: geometry.out_channels,
        groups: 1,
        kernel: geometry.kernel,
        stride: geometry.stride,
        padding: geometry.padding,
        dilation: [1, 1],
        activation: Activation::Silu,
        residual: None,
    };
    let input = [geometry.in_channels, geometry.size[0], geometry.size[1]];
    Network { batch: 1, input, ops: vec![Op::Conv(conv)], output: Output::Maps(vec![1]) }
}

/// Fills weights with numbers that keep the size of what goes through them, and with zeros among them; `inputs` are
/// the weights of one output channel.
fn strew(weight: &mut [f32], inputs: usize, sparsity: f64, noise: &mut Noise) {
    let scale = 1.0 / (inputs.max(1) as f64).sqrt();
    for weight in weight {
        let is_zero = noise.unit() < sparsity;
        *weight = if is_zero { 0.0 } else { ((noise.unit() - 0.5) * scale) as f32 };
    }
}
