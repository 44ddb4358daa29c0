//! Vectors of `f32` at the width the processor has, chosen at run time.
//!
//! [`Simd`] is what a kernel may do with vectors; [`Isa`] names the instruction sets that implement it. There are two
//! ways to write a kernel:
//!
//! - As a [`Kernel`] value, generic over [`Simd`]; [`Unit::run`] enters the copy that is compiled for a vector unit.
//! - As a generic function behind entry points with `#[target_feature]`, whose pointers go into tables.
//!
//! All of a kernel is `#[inline(always)]`, since the instructions may be used only inside the function that switches
//! them on. For the same reason there are no closures around vector code: a closure is a separate function, without
//! the instructions.
//!
//! ```
//! use yolo_simd::{Kernel, Simd, Unit};
//!
//! /// Doubles every number.
//! struct Double<'a>(&'a mut [f32]);
//!
//! impl Kernel for Double<'_> {
//!     type Output = ();
//!
//!     #[inline(always)]
//!     fn run<S: Simd>(self, s: S) {
//!         for part in self.0.chunks_mut(S::LANES) {
//!             // SAFETY: a part holds as many numbers as it says.
//!             unsafe {
//!                 let x = s.load_first(part.as_ptr(), part.len());
//!                 s.store_first(part.as_mut_ptr(), s.add(x, x), part.len());
//!             }
//!         }
//!     }
//! }
//!
//! let mut numbers: Vec<f32> = (0..19).map(|i| i as f32).collect();
//! Unit::best().run(Double(&mut numbers));
//! assert_eq!(numbers[18], 36.0);
//! ```

mod isa;
mod simd;
#[cfg(test)]
mod tests;
mod unit;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use isa::{Isa, UnknownIsa};
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use portable::{Eight, Portable};
pub use simd::Simd;
pub use unit::{Kernel, Unit};
