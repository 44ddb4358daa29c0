//! AVX2 with FMA: 8 lanes, 16 registers.
#![allow(unsafe_code, reason = "processor intrinsics")]

use crate::Simd;
use std::arch::x86_64::*;

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// The mask of the first `n` lanes.
#[inline(always)]
fn first(n: usize) -> __m256i {
    const ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let start = 8 - n.min(8);
    // SAFETY: eight numbers from a start of at most 8 on lie inside the sixteen.
    unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(start).cast()) }
}

// SAFETY, for every block of this implementation: a value of `Avx2` exists only where the instructions do;
// pointers are valid by the contract of the trait's methods.
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const FUSED: bool = true;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self(())
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> __m256 {
        // SAFETY: see above; lanes outside the mask are not read.
        unsafe { _mm256_maskload_ps(from, first(n)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: __m256, n: usize) {
        // SAFETY: see above; lanes outside the mask are not written.
        unsafe { _mm256_maskstore_ps(to, first(n), v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn pow2(self, n: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    fn scale(self, a: __m256, n: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, self.pow2(n)) }
    }
    #[inline(always)]
    fn reciprocal(self, a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let guess = _mm256_rcp_ps(a);
            let error = _mm256_fnmadd_ps(a, guess, _mm256_set1_ps(1.0));
            _mm256_fmadd_ps(guess, error, guess)
        }
    }
    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        // SAFETY: see above.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn every_second(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            // Per half of the register two of `a` and two of `b`; then the halves' pairs in order.
            let pairs = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(a, b));
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(pairs))
        }
    }
    #[inline(always)]
    unsafe fn permute(self, a: __m256, index: *const i32, fill: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let index = _mm256_loadu_si256(index.cast());
            // The blend looks at the sign bit, which is set where the index is negative.
            _mm256_blendv_ps(_mm256_permutevar8x32_ps(a, index), fill, _mm256_castsi256_ps(index))
        }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [__m256; 16]) {
        // SAFETY: see above.
        unsafe {
            // Four rows at a time: half k of `quads[g][j]` is column 4k + j of rows 4g..4g + 4.
            let mut quads = [[_mm256_setzero_ps(); 4]; 2];
            for g in 0..2 {
                let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
                let [ab, ab_high] = [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)];
                let [cd, cd_high] = [_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)];
                let [ab, ab_high] = [_mm256_castps_pd(ab), _mm256_castps_pd(ab_high)];
                let [cd, cd_high] = [_mm256_castps_pd(cd), _mm256_castps_pd(cd_high)];
                quads[g][0] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd));
                quads[g][1] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd));
                quads[g][2] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high));
                quads[g][3] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high));
            }
            for j in 0..4 {
                rows[j] = _mm256_permute2f128_ps::<0x20>(quads[0][j], quads[1][j]);
                rows[4 + j] = _mm256_permute2f128_ps::<0x31>(quads[0][j], quads[1][j]);
            }
        }
    }
}
