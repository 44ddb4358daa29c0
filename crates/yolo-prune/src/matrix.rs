//! Products of dense matrices: a safe face for the `gemm` crate.
#![allow(unsafe_code)]

use gemm::{Parallelism, gemm};

/// `out = a · bᵀ` for row-major `a` `[m, k]`, `b` `[n, k]` and `out` `[m, n]`; `[m, k, n]` are the sides.
///
/// # Panics
/// If a slice is not as long as the sides say.
pub(crate) fn multiply_transposed(out: &mut [f32], a: &[f32], b: &[f32], [m, k, n]: [usize; 3]) {
    assert_eq!([out.len(), a.len(), b.len()], [m * n, m * k, n * k], "the sides fit the slices");
    let (row, column) = (k as isize, 1);
    // SAFETY: `gemm` reads `lhs[i * lhs_rs + l * lhs_cs]` and `rhs[l * rhs_rs + j * rhs_cs]` and writes
    // `dst[i * dst_rs + j * dst_cs]` for `i < m`, `l < k`, `j < n`. With the strides given, the largest indices
    // are `m·k − 1`, `n·k − 1` and `m·n − 1`, which the assertion above bounds; `out` is borrowed exclusively.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            column,
            row,
            b.as_ptr(),
            row,
            column,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}
