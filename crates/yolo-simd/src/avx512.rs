//! AVX-512: 16 lanes, 32 registers.
#![allow(unsafe_code, reason = "processor intrinsics")]

use crate::Simd;
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512 F, VL, BW and DQ.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

/// The mask of the first `n` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as __mmask16
}

// SAFETY, for every block of this implementation: a value of `Avx512` exists only where the instructions do;
// pointers are valid by the contract of the trait's methods.
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const FUSED: bool = true;
    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self(())
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> __m512 {
        // SAFETY: see above; lanes outside the mask are not read.
        unsafe { _mm512_maskz_loadu_ps(first(n), from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: __m512, n: usize) {
        // SAFETY: see above; lanes outside the mask are not written.
        unsafe { _mm512_mask_storeu_ps(to, first(n), v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn pow2(self, n: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    fn scale(self, a: __m512, n: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_scalef_ps(a, n) }
    }
    #[inline(always)]
    fn reciprocal(self, a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let guess = _mm512_rcp14_ps(a);
            let error = _mm512_fnmadd_ps(a, guess, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(guess, error, guess)
        }
    }
    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        // SAFETY: see above.
        unsafe {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v)));
            let eight = _mm256_add_ps(_mm512_castps512_ps256(v), upper);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn every_second(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(a, even, b)
        }
    }
    #[inline(always)]
    unsafe fn permute(self, a: __m512, index: *const i32, fill: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let index = _mm512_loadu_epi32(index);
            let inside = _mm512_cmpge_epi32_mask(index, _mm512_setzero_si512());
            _mm512_mask_permutexvar_ps(fill, inside, index, a)
        }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [__m512; 16]) {
        // SAFETY: see above.
        unsafe {
            // Four rows at a time: quarter k of `quads[g][j]` is column 4k + j of rows 4g..4g + 4.
            let mut quads = [[_mm512_setzero_ps(); 4]; 4];
            for g in 0..4 {
                let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
                let [ab, ab_high] = [_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)];
                let [cd, cd_high] = [_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)];
                let [ab, ab_high] = [_mm512_castps_pd(ab), _mm512_castps_pd(ab_high)];
                let [cd, cd_high] = [_mm512_castps_pd(cd), _mm512_castps_pd(cd_high)];
                quads[g][0] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
                quads[g][1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
                quads[g][2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
                quads[g][3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
            }
            for j in 0..4 {
                let even = _mm512_shuffle_f32x4::<0x88>(quads[0][j], quads[1][j]);
                let even_high = _mm512_shuffle_f32x4::<0x88>(quads[2][j], quads[3][j]);
                let odd = _mm512_shuffle_f32x4::<0xDD>(quads[0][j], quads[1][j]);
                let odd_high = _mm512_shuffle_f32x4::<0xDD>(quads[2][j], quads[3][j]);
                rows[j] = _mm512_shuffle_f32x4::<0x88>(even, even_high);
                rows[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd, odd_high);
                rows[8 + j] = _mm512_shuffle_f32x4::<0xDD>(even, even_high);
                rows[12 + j] = _mm512_shuffle_f32x4::<0xDD>(odd, odd_high);
            }
        }
    }
}
