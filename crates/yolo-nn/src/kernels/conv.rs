//! Two-dimensional convolution of `f32` planes and its three gradients.
//!
//! Nothing is unfolded into an im2col matrix. A task takes a band of the image, copies its planes into a
//! [`grid`]: padded, and split by the stride into planes of every s-th pixel. On the grid every tap of the
//! kernel is the same picture, shifted: output position `q` of a flat, padded plane reads `offset[tap] + q`.
//! Output and input gradient are then `out[o][q] = Σₖ w[o][k] · grid[offset[k] + q]` ([`rows`]), the weight
//! gradient is `dw[k][o] = Σ_q grid[offset[k] + q] · dy[q][o]` ([`outer`]). A 1×1 kernel of stride 1 without
//! padding reads the tensor itself.
//!
//! Every sum has one fixed order: results do not depend on the number of threads or on scheduling.

mod backward_input;
mod backward_weight;
mod forward;
mod grid;
mod outer;
mod rows;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use backward_input::input_gradient;
pub(crate) use backward_weight::{bias_gradient, weight_gradient};
pub(crate) use forward::forward;
pub(crate) use shape::{ConvShape, Planes};
