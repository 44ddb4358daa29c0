//! The only code with raw pointers. Everything else goes through [`Kernels`], a table of entry points per vector
//! unit.
#![allow(
    unsafe_code,
    reason = "vector instructions and pointers into shared memory; each use has its contract"
)]
// Loops over lanes, channels and pixels of arrays of constant size have to stay index loops: iterator chains
// would be closures around vector code.
#![allow(clippy::needless_range_loop)]

pub(crate) mod attention;
pub(crate) mod border;
pub(crate) mod decode;
pub(crate) mod depthwise;
pub(crate) mod epilogue;
pub(crate) mod math;
pub(crate) mod planes;
pub(crate) mod pool;
pub(crate) mod span;
pub(crate) mod table;
pub(crate) mod tile;
pub(crate) mod winograd;

#[cfg(test)]
mod tests;

pub(crate) use span::Span;
pub(crate) use table::Kernels;
