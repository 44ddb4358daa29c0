//! Vectors of `f32` at the width the processor has, chosen at run time.
//!
//! A kernel is a [`Kernel`] value, generic over [`Lanes`]; [`Level::run`] compiles it once per instruction set
//! and enters the copy that fits. All of a kernel is `#[inline(always)]`, since the instructions may only be
//! used inside the function that switches them on. That also means no closures around vector code: a closure is
//! a function of its own, without the instructions.
#![allow(unsafe_code, reason = "loads and stores through pointers; each has its contract")]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use portable::Portable;

/// One vector width. A value is the proof that the processor has the instructions.
pub(crate) trait Lanes: Copy {
    /// A vector of [`Lanes::N`] numbers.
    type V: Copy;
    /// Numbers in a vector; a divisor of 16.
    const N: usize;
    /// Whether 24 accumulators stay in registers; otherwise 12 do.
    const MANY_REGISTERS: bool;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// The `N` numbers from `from` on.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// The first `n <= N` numbers from `from` on, then zeros.
    ///
    /// # Safety
    /// Those `n` are readable.
    unsafe fn load_first(self, from: *const f32, n: usize) -> Self::V;
    /// Writes `v` to `to`.
    ///
    /// # Safety
    /// `N` numbers from `to` on are writable.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// Writes the first `n <= N` lanes of `v` to `to`.
    ///
    /// # Safety
    /// Those `n` are writable.
    unsafe fn store_first(self, to: *mut f32, v: Self::V, n: usize);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the processor can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller; which one is unspecified for NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger; which one is unspecified for NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, v: Self::V) -> Self::V;
    /// `2^v` for integers −126 … 127; infinity at 128.
    fn pow2(self, v: Self::V) -> Self::V;
    /// The sum of the lanes, always in the same order.
    fn sum(self, v: Self::V) -> f32;
    /// Lanes 0, 2, 4, … of `a`, then of `b`.
    fn every_second(self, a: Self::V, b: Self::V) -> Self::V;
    /// Transposes an `N × N` block: row `i`, column `j` goes from `from + i · from_stride + j` to
    /// `to + j · to_stride + i`.
    ///
    /// # Safety
    /// The block is readable and writable in full.
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// Work that is compiled once for every vector width.
pub(crate) trait Kernel {
    /// What it computes.
    type Output;
    /// Does it. Implementations are `#[inline(always)]`.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

impl Level {
    /// The widest this processor has.
    pub(crate) fn best() -> Self {
        *Self::all().last().unwrap_or(&Self(Set::Portable))
    }

    /// Everything this processor can run, widest last.
    pub(crate) fn all() -> &'static [Self] {
        static ALL: std::sync::OnceLock<Vec<Level>> = std::sync::OnceLock::new();
        ALL.get_or_init(|| {
            let mut all = vec![Self(Set::Portable)];
            #[cfg(target_arch = "x86_64")]
            {
                all.extend(x86::Avx2::detect().map(|set| Self(Set::Avx2(set))));
                all.extend(x86::Avx512::detect().map(|set| Self(Set::Avx512(set))));
            }
            all
        })
    }

    /// Runs `kernel` with this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Set::Portable => kernel.run(Portable),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(set) => set.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(set) => set.run(kernel),
        }
    }
}
