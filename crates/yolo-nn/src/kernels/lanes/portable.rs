//! Eight lanes in plain Rust, which the compiler vectorises for the build's target.
#![allow(unsafe_code, reason = "implements an interface of pointers")]

use super::Lanes;

const N: usize = 8;

/// No instruction set in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portable;

#[inline(always)]
fn map2(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Lanes for Portable {
    type V = [f32; N];
    const N: usize = N;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; N]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for N readable numbers; an array of f32 needs no more alignment than one.
        unsafe { from.cast::<[f32; N]>().read() }
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> Self::V {
        // SAFETY: reads the lanes below `n` only, which the caller vouches for.
        std::array::from_fn(|i| if i < n { unsafe { from.add(i).read() } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for N writable numbers.
        unsafe { to.cast::<[f32; N]>().write(v) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: Self::V, n: usize) {
        for (i, lane) in v.into_iter().enumerate().take(n) {
            // SAFETY: writes the lanes below `n` only, which the caller vouches for.
            unsafe { to.add(i).write(lane) }
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction `mul_add` is a slow library call.
        let fused = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
        std::array::from_fn(|i| if fused { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        // Adding 1.5 · 2²³ leaves no room for a fraction; exact for |v| < 2²².
        const SHIFT: f32 = 12_582_912.0;
        v.map(|x| (x + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn pow2(self, v: Self::V) -> Self::V {
        v.map(|x| f32::from_bits(((x as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let [a, b, c, d, e, f, g, h] = v;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn every_second(self, a: Self::V, b: Self::V) -> Self::V {
        [a[0], a[2], a[4], a[6], b[0], b[2], b[4], b[6]]
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..N {
            for j in 0..N {
                // SAFETY: element (i, j) of the block that the caller vouches for.
                unsafe { to.add(j * to_stride + i).write(from.add(i * from_stride + j).read()) }
            }
        }
    }
}
