//! What the kernels need of a vector unit.

/// One vector unit. A value is the proof that the processor has it, so everything but the loads and stores is
/// safe to call.
///
/// Everything is `#[inline(always)]` up to the entry points, which switch the instructions on; there must be no
/// closures around vector code, since a closure is a function of its own without the instructions.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Simd::LANES`] numbers.
    type V: Copy;
    /// Numbers in a vector: 4, 8 or 16.
    const LANES: usize;
    /// Whether [`Simd::mul_add`] rounds once.
    const FUSED: bool;

    /// The vector at `from`.
    ///
    /// # Safety
    /// `LANES` numbers from `from` on are readable.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Writes `v` to `to`.
    ///
    /// # Safety
    /// `LANES` numbers from `to` on are writable.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// `a · b + c`, rounded once where the unit can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of each lane.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of each lane.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer.
    fn round(self, a: Self::V) -> Self::V;
    /// `a · 2^n` for whole `n` in −126..=127.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// `1 / a` to within 3e-7, relative, for positive normal `a`.
    fn reciprocal(self, a: Self::V) -> Self::V;
    /// Lane `i` of the result is lane `index[i]` of `a`, or `fill` where `index[i]` is negative.
    ///
    /// # Safety
    /// `LANES` numbers from `index` on are readable, each below `LANES`.
    unsafe fn permute(self, a: Self::V, index: *const i32, fill: Self::V) -> Self::V;
    /// Lane `i` of vector `j` becomes lane `j` of vector `i`, for the first `LANES` vectors; the others do not
    /// matter.
    fn transpose(self, rows: &mut [Self::V; 16]);
}
