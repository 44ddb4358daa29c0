//! The pointer that kernels read and write through.

use yolo_simd::Simd;

/// A stretch of numbers that several threads work on at once, each on separate elements.
///
/// In builds with debug assertions, which the tests are, every access is checked against the extent: the same
/// kernels then run as their own bounds-checked twins. Without them the extent costs nothing.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    start: *mut f32,
    len: usize,
}

// SAFETY: a span is a pointer with a length; every access through it is an unsafe call whose contract covers
// races.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Span {
    /// A span to read and write through.
    pub(crate) fn of_mut(numbers: &mut [f32]) -> Self {
        Self { start: numbers.as_mut_ptr(), len: numbers.len() }
    }

    /// A span to read through; nothing may be written to it.
    pub(crate) fn of(numbers: &[f32]) -> Self {
        Self { start: numbers.as_ptr().cast_mut(), len: numbers.len() }
    }

    /// The part from `at` on.
    ///
    /// # Safety
    /// `at` is at most the length.
    #[inline(always)]
    pub(crate) unsafe fn from(self, at: usize) -> Self {
        debug_assert!(at <= self.len, "a span from {at} of {}", self.len);
        // SAFETY: inside or one past the end by contract.
        Self { start: unsafe { self.start.add(at) }, len: self.len.wrapping_sub(at) }
    }

    /// The part of `len` numbers from `at` on.
    ///
    /// # Safety
    /// The part lies inside.
    #[inline(always)]
    pub(crate) unsafe fn part(self, at: usize, len: usize) -> Self {
        debug_assert!(at + len <= self.len, "a span {at}..{} of {}", at + len, self.len);
        // SAFETY: inside by contract.
        Self { start: unsafe { self.start.add(at) }, len }
    }

    /// The vector at `at`.
    ///
    /// # Safety
    /// It lies inside, and no thread writes to it.
    #[inline(always)]
    pub(crate) unsafe fn load<S: Simd>(self, s: S, at: usize) -> S::V {
        debug_assert!(at + S::LANES <= self.len, "load at {at} of {}", self.len);
        // SAFETY: inside by contract.
        unsafe { s.load(self.start.add(at)) }
    }

    /// Writes a vector at `at`.
    ///
    /// # Safety
    /// It lies inside, in memory that may be written and that no other thread uses.
    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(self, s: S, at: usize, v: S::V) {
        debug_assert!(at + S::LANES <= self.len, "store at {at} of {}", self.len);
        // SAFETY: inside by contract.
        unsafe { s.store(self.start.add(at), v) }
    }

    /// The number at `at`.
    ///
    /// # Safety
    /// It lies inside, and no thread writes to it.
    #[inline(always)]
    pub(crate) unsafe fn get(self, at: usize) -> f32 {
        debug_assert!(at < self.len, "read at {at} of {}", self.len);
        // SAFETY: inside by contract.
        unsafe { self.start.add(at).read() }
    }

    /// Writes the number at `at`.
    ///
    /// # Safety
    /// It lies inside, in memory that may be written and that no other thread uses.
    #[inline(always)]
    pub(crate) unsafe fn set(self, at: usize, x: f32) {
        debug_assert!(at < self.len, "write at {at} of {}", self.len);
        // SAFETY: inside by contract.
        unsafe { self.start.add(at).write(x) }
    }

    /// Asks for the cache line at `at` to be brought in, to be read.
    #[inline(always)]
    pub(crate) fn prefetch(self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has the instruction, and any address is harmless.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.start.wrapping_add(at).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }

    /// Asks for the cache line at `at` to be brought in, to be written.
    #[inline(always)]
    pub(crate) fn prefetch_to_write(self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: processors that lack the instruction pass over it, and any address is harmless.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_ET0>(self.start.wrapping_add(at).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }
}
