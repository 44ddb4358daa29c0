//! NEON: 4 lanes, 32 registers.
#![allow(unsafe_code, reason = "processor intrinsics")]
#![allow(unused_unsafe, reason = "NEON is part of the target, where most of its intrinsics are safe")]

use crate::Simd;
use std::arch::aarch64::*;

/// Proof that the processor has NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

// SAFETY, for every block of this implementation: a value of `Neon` exists only where the instructions do;
// pointers are valid by the contract of the trait's methods.
impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const FUSED: bool = true;
    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self(())
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> float32x4_t {
        if n >= 4 {
            // SAFETY: see above.
            return unsafe { self.load(from) };
        }
        let mut lanes = [0.0; 4];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            // SAFETY: reads the lanes below `n` only, which the caller vouches for.
            *lane = unsafe { from.add(i).read() };
        }
        // SAFETY: see above.
        unsafe { vld1q_f32(lanes.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: float32x4_t) {
        // SAFETY: see above.
        unsafe { vst1q_f32(to, v) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: float32x4_t, n: usize) {
        if n >= 4 {
            // SAFETY: see above.
            return unsafe { self.store(to, v) };
        }
        let mut lanes = [0.0; 4];
        // SAFETY: see above.
        unsafe { vst1q_f32(lanes.as_mut_ptr(), v) }
        for (i, lane) in lanes.into_iter().enumerate().take(n) {
            // SAFETY: writes the lanes below `n` only, which the caller vouches for.
            unsafe { to.add(i).write(lane) }
        }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmaxq_f32(a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vminq_f32(a, b) }
    }
    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vrndnq_f32(a) }
    }
    #[inline(always)]
    fn pow2(self, n: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        }
    }
    #[inline(always)]
    fn scale(self, a: float32x4_t, n: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_f32(a, self.pow2(n)) }
    }
    #[inline(always)]
    fn reciprocal(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdivq_f32(vdupq_n_f32(1.0), a) }
    }
    #[inline(always)]
    fn sum(self, v: float32x4_t) -> f32 {
        // SAFETY: see above.
        unsafe {
            let two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
    #[inline(always)]
    fn every_second(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vuzp1q_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn permute(self, a: float32x4_t, index: *const i32, fill: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let index = vld1q_s32(index);
            // Byte `j` of lane `i` comes from byte `4 · index[i] + j`.
            let first_bytes = vmulq_n_s32(index, 0x0404_0404);
            let bytes =
                vaddq_u8(vreinterpretq_u8_s32(first_bytes), vreinterpretq_u8_u32(vdupq_n_u32(0x0302_0100)));
            let moved = vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(a), bytes));
            vbslq_f32(vcltzq_s32(index), fill, moved)
        }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [float32x4_t; 16]) {
        // SAFETY: see above.
        unsafe {
            let even = |a, b| vreinterpretq_f64_f32(vtrn1q_f32(a, b));
            let odd = |a, b| vreinterpretq_f64_f32(vtrn2q_f32(a, b));
            let [a, b, c, d] = [rows[0], rows[1], rows[2], rows[3]];
            rows[0] = vreinterpretq_f32_f64(vtrn1q_f64(even(a, b), even(c, d)));
            rows[1] = vreinterpretq_f32_f64(vtrn1q_f64(odd(a, b), odd(c, d)));
            rows[2] = vreinterpretq_f32_f64(vtrn2q_f64(even(a, b), even(c, d)));
            rows[3] = vreinterpretq_f32_f64(vtrn2q_f64(odd(a, b), odd(c, d)));
        }
    }
}
