//! YOLO networks on Burn, for training and for its devices.
//!
//! ```text
//! Checkpoint ── Yolo::from_checkpoint ── Yolo::forward ── logits of every level
//! (yolo-model)                             │
//!                                        kernels: convolution, batch normalisation, SiLU
//! ```
//!
//! The device is a value, never a type parameter. On Burn's CPU back end the [`kernels`] of this crate run; elsewhere
//! they are Burn's operations. Images are `[N, 3, H, W]`, RGB in `[0, 1]`.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use yolo_model::Checkpoint;
//! use yolo_nn::Yolo;
//!
//! /// Logits of a black image of 64×96 pixels, finest level first.
//! fn logits(checkpoint: &Checkpoint, device: &Device) -> yolo_nn::Result<Vec<Tensor<4>>> {
//!     let network = Yolo::from_checkpoint(&*checkpoint.fuse()?, device)?;
//!     Ok(network.forward(Tensor::zeros([1, 3, 64, 96], device)))
//! }
//! ```

mod conv;
mod error;
mod interpreter;
pub mod kernels;
mod network;
mod norm;
mod precision;
mod training;
mod yolo;

pub use conv::{Conv, fused_conv};
pub use error::{NnError, Result};
pub use interpreter::{apply, apply_with, interpret};
pub use network::Network;
pub use norm::{Norm, Transposed};
pub use precision::HalfFormat;
pub use training::{NamedValues, host_values};
pub use yolo::Yolo;
