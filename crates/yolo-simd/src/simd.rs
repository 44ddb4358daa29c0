//! What kernels need of a vector unit.
#![allow(unsafe_code, reason = "loads and stores through pointers; each has its contract")]
// Loops over lanes have to stay index loops: iterator chains would be closures around vector code.
#![allow(clippy::needless_range_loop)]

/// One vector unit. A value is the proof that the processor has it, so everything but the loads and stores is safe to
/// call.
///
/// Implementations are `#[inline(always)]`, up to the function that switches the instructions on.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Simd::LANES`] numbers.
    type V: Copy;
    /// Numbers in a vector: 4, 8 or 16.
    const LANES: usize;
    /// Whether [`Simd::mul_add`] rounds once.
    const FUSED: bool;
    /// Whether there are 32 vector registers, not 16.
    const MANY_REGISTERS: bool;

    /// The unit.
    ///
    /// # Safety
    /// The processor has it.
    unsafe fn assume() -> Self;

    /// The vector at `from`.
    ///
    /// # Safety
    /// `LANES` numbers from `from` on are readable.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// The first `n <= LANES` numbers from `from` on, then zeros.
    ///
    /// # Safety
    /// Those `n` are readable.
    unsafe fn load_first(self, from: *const f32, n: usize) -> Self::V;
    /// Writes `v` to `to`.
    ///
    /// # Safety
    /// `LANES` numbers from `to` on are writable.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// Writes the first `n <= LANES` lanes of `v` to `to`.
    ///
    /// # Safety
    /// Those `n` are writable.
    unsafe fn store_first(self, to: *mut f32, v: Self::V, n: usize);

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the unit can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller of each lane; which one is unspecified for NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of each lane; which one is unspecified for NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, ties to even, for |`a`| < 2²². The sign of a zero may be lost.
    fn round(self, a: Self::V) -> Self::V;
    /// `2^n` for whole `n` in −126..=127; infinity for 128.
    fn pow2(self, n: Self::V) -> Self::V;
    /// `a · 2^n` for whole `n` in −126..=127.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// `1 / a` to within 3e-7, relative, for positive normal `a`.
    fn reciprocal(self, a: Self::V) -> Self::V;
    /// The sum of the lanes: halves are added until one lane is left.
    fn sum(self, v: Self::V) -> f32;

    /// Lanes 0, 2, 4, … of `a`, then of `b`.
    fn every_second(self, a: Self::V, b: Self::V) -> Self::V;
    /// Lane `i` of the result is lane `index[i]` of `a`, or `fill` where `index[i]` is negative.
    ///
    /// # Safety
    /// `LANES` numbers from `index` on are readable, each below `LANES`.
    unsafe fn permute(self, a: Self::V, index: *const i32, fill: Self::V) -> Self::V;
    /// Lane `i` of vector `j` becomes lane `j` of vector `i`, for the first `LANES` vectors; the others do not
    /// matter.
    fn transpose(self, rows: &mut [Self::V; 16]);

    /// Transposes a block of `LANES` × `LANES` numbers: row `i`, column `j` goes from
    /// `from + i · from_stride + j` to `to + j · to_stride + i`.
    ///
    /// # Safety
    /// The block is readable and writable in full.
    #[inline(always)]
    unsafe fn transpose_block(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        let mut rows = [self.splat(0.0); 16];
        for i in 0..Self::LANES {
            // SAFETY: a row of the block that the caller vouches for.
            rows[i] = unsafe { self.load(from.add(i * from_stride)) };
        }
        self.transpose(&mut rows);
        for j in 0..Self::LANES {
            // SAFETY: as above.
            unsafe { self.store(to.add(j * to_stride), rows[j]) };
        }
    }
}
