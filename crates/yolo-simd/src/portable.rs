//! Arrays of 8 numbers, for processors without a vector unit that is known here and as the reference of those
//! that are.
#![allow(unsafe_code, reason = "loads and stores through pointers")]
// Loops over lanes have to stay index loops: iterator chains would be closures around vector code.
#![allow(clippy::needless_range_loop)]

use crate::Simd;

/// Vectors as arrays.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Eight numbers.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Eight([f32; 8]);

macro_rules! each_lane {
    (|$i:ident| $of:expr) => {{
        let mut result = [0.0; 8];
        for $i in 0..8 {
            result[$i] = $of;
        }
        Eight(result)
    }};
}

impl Simd for Portable {
    type V = Eight;
    const LANES: usize = 8;
    const FUSED: bool = false;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Eight {
        // SAFETY: eight numbers are readable by the contract of the method.
        Eight(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize) -> Eight {
        // SAFETY: reads the lanes below `n` only, which the caller vouches for.
        each_lane!(|i| if i < n { unsafe { from.add(i).read() } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Eight) {
        // SAFETY: eight numbers are writable by the contract of the method.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(v.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, v: Eight, n: usize) {
        for i in 0..n.min(8) {
            // SAFETY: writes the lanes below `n` only, which the caller vouches for.
            unsafe { to.add(i).write(v.0[i]) }
        }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Eight {
        Eight([x; 8])
    }
    #[inline(always)]
    fn mul_add(self, a: Eight, b: Eight, c: Eight) -> Eight {
        // Not `f32::mul_add`, which is a call of a library function where the unit has none.
        each_lane!(|i| a.0[i] * b.0[i] + c.0[i])
    }
    #[inline(always)]
    fn add(self, a: Eight, b: Eight) -> Eight {
        each_lane!(|i| a.0[i] + b.0[i])
    }
    #[inline(always)]
    fn sub(self, a: Eight, b: Eight) -> Eight {
        each_lane!(|i| a.0[i] - b.0[i])
    }
    #[inline(always)]
    fn mul(self, a: Eight, b: Eight) -> Eight {
        each_lane!(|i| a.0[i] * b.0[i])
    }
    #[inline(always)]
    fn div(self, a: Eight, b: Eight) -> Eight {
        each_lane!(|i| a.0[i] / b.0[i])
    }
    #[inline(always)]
    fn max(self, a: Eight, b: Eight) -> Eight {
        each_lane!(|i| if a.0[i] > b.0[i] { a.0[i] } else { b.0[i] })
    }
    #[inline(always)]
    fn min(self, a: Eight, b: Eight) -> Eight {
        each_lane!(|i| if a.0[i] < b.0[i] { a.0[i] } else { b.0[i] })
    }
    #[inline(always)]
    fn round(self, a: Eight) -> Eight {
        // Adding and taking away 1.5 · 2^23 rounds what is well below it.
        const SHIFT: f32 = 12_582_912.0;
        each_lane!(|i| (a.0[i] + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn pow2(self, n: Eight) -> Eight {
        each_lane!(|i| f32::from_bits(((n.0[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn scale(self, a: Eight, n: Eight) -> Eight {
        each_lane!(|i| a.0[i] * f32::from_bits(((n.0[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn reciprocal(self, a: Eight) -> Eight {
        each_lane!(|i| 1.0 / a.0[i])
    }
    #[inline(always)]
    fn sum(self, v: Eight) -> f32 {
        let [a, b, c, d, e, f, g, h] = v.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn every_second(self, a: Eight, b: Eight) -> Eight {
        let (a, b) = (a.0, b.0);
        Eight([a[0], a[2], a[4], a[6], b[0], b[2], b[4], b[6]])
    }
    #[inline(always)]
    unsafe fn permute(self, a: Eight, index: *const i32, fill: Eight) -> Eight {
        // SAFETY: eight numbers are readable by the contract of the method.
        let index = unsafe { index.cast::<[i32; 8]>().read_unaligned() };
        each_lane!(|i| if index[i] < 0 { fill.0[i] } else { a.0[index[i] as usize & 7] })
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [Eight; 16]) {
        for i in 0..8 {
            for j in 0..i {
                let swapped = rows[i].0[j];
                rows[i].0[j] = rows[j].0[i];
                rows[j].0[i] = swapped;
            }
        }
    }
}
