//! Fast inference of convolutional detectors on the CPU, in f32, dense and with sparse weights.
//!
//! A [`Network`] is plain data: operations over numbered values, for images of one shape. A [`Plan`] makes it
//! ready: a fixed list of steps, one arena for all activations, and each convolution's weights packed for the
//! kernel that is fastest for it, dense or sparse. A plan can be shared between threads and allocates nothing
//! when it runs.
//!
//! ```
//! use yolo_runtime::{Activation, Conv, Network, Op, Options, Output, Plan};
//!
//! let conv = Conv {
//!     name: "blur".to_owned(),
//!     input: 0,
//!     weight: vec![1.0 / 9.0; 9],
//!     bias: vec![0.0],
//!     out_channels: 1,
//!     groups: 1,
//!     kernel: [3, 3],
//!     stride: [1, 1],
//!     padding: [1, 1],
//!     dilation: [1, 1],
//!     activation: Activation::None,
//!     residual: None,
//! };
//! let network = Network { batch: 1, input: [1, 6, 8], ops: vec![Op::Conv(conv)], output: Output::Maps(vec![1]) };
//! let plan = Plan::new(network, &Options::default())?;
//! let mut output = vec![0.0; plan.output_len()];
//! plan.run(&[1.0; 48], &mut output)?;
//! assert!((output[0] - 4.0 / 9.0).abs() < 1e-6); // five of the corner's nine taps lie outside
//! # Ok::<(), yolo_runtime::RuntimeError>(())
//! ```

mod candidates;
mod choice;
mod compile;
mod compiled;
mod error;
mod kernels;
mod latency;
mod memory;
mod network;
mod noise;
mod pack;
mod plan;
mod steps;
mod team;
mod tiling;

pub use choice::{Choices, ConvReport, Family, KernelId, Order};
pub use compiled::{ChoiceStore, CompiledNetwork, LevelLogits};
pub use error::{Result, RuntimeError};

pub use latency::{
    ChannelTimes, ConvGeometry, LatencyPoint, NetworkTimes, WidthTimes, geometries, measure_conv,
    measure_network, measure_plans,
};
pub use network::{Activation, Conv, Level, Network, Op, Output, ValueId};
pub use plan::{Memory, Options, Plan, Selection};
pub use team::Team;
pub use yolo_simd::Isa;
