//! Devices by their names: `cpu`, `flex`, `cuda:0`, `tch`, `tch:cuda:0`.
//!
//! | item | content |
//! |---|---|
//! | [`DeviceName`] | what can be typed, one device or several of a kind |
//! | [`open_first`] | the name as a device of Burn, ready for work |
//! | [`Backend`] | the same with the other devices, and detectors that run there as fast as they can |
//! | [`Gpus`] | the GPUs of this machine, without computing on them |
//! | [`catching`] | panics, by which the tensor library reports most of what goes wrong on a device, as errors |
//! | [`MachineCache`] | what was measured on this machine, kept between runs |
//!
//! Which back ends there are is a choice of features: `flex` (default), `cuda`, `tch`. No other library names one.

mod backend;
mod error;
mod gpus;
mod kernel_cache;
mod libtorch;
mod machine_cache;
mod name;
mod open;
mod panics;

pub use backend::{Backend, loader_threads};
pub use error::{DeviceError, first_line, is_out_of_memory};
pub use gpus::Gpus;
pub use machine_cache::{MachineCache, processor};
pub use name::DeviceName;
pub use open::open_first;
pub use panics::{Panic, catching};
