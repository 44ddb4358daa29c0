//! Matrix products on slices: a checked face of the `gemm` crate.
#![allow(unsafe_code, reason = "gemm takes raw pointers; every extent is checked against its slice here")]

use gemm::Parallelism;

/// Number types that are multiplied here.
pub trait Real: Copy + Send + Sync + PartialEq + 'static {
    /// The neutral element of addition.
    const ZERO: Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
}

impl Real for f64 {
    const ZERO: Self = 0.0;
}

/// A matrix inside a slice: element (r, c) is at `r * row_step + c * column_step`.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a, T> View<'a, T> {
    /// The first `rows` by `columns` elements of rows that start every `step` elements.
    ///
    /// # Panics
    /// If they do not fit into `data`.
    pub fn new(data: &'a [T], rows: usize, columns: usize, step: usize) -> Self {
        check(data.len(), rows, columns, step);
        Self { data, rows, columns, row_step: step, column_step: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        let Self { data, rows, columns, row_step, column_step } = self;
        Self { data, rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }
}

/// The destination of a product; rows start every `step` elements.
pub struct ViewMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    step: usize,
}

impl<'a, T> ViewMut<'a, T> {
    /// The first `rows` by `columns` elements of rows that start every `step` elements.
    ///
    /// # Panics
    /// If they do not fit into `data`.
    pub fn new(data: &'a mut [T], rows: usize, columns: usize, step: usize) -> Self {
        check(data.len(), rows, columns, step);
        Self { data, rows, columns, step }
    }
}

/// Panics if a matrix reaches past its slice or its rows overlap.
fn check(len: usize, rows: usize, columns: usize, step: usize) {
    let inside = rows == 0 || columns == 0 || (columns <= step && (rows - 1) * step + columns <= len);
    assert!(inside, "a {rows}x{columns} matrix with step {step} does not fit in {len} elements");
}

/// `to = keep * to + factor * left * right`, on the calling thread alone, so that the result does not depend on
/// how many threads there are. `to` is not read where `keep` is zero.
///
/// # Panics
/// If the shapes do not agree.
pub fn product<T: Real>(to: ViewMut<'_, T>, keep: T, factor: T, left: View<'_, T>, right: View<'_, T>) {
    assert_eq!(
        (to.rows, to.columns, left.columns),
        (left.rows, right.columns, right.rows),
        "shapes of a product do not agree"
    );
    if to.rows == 0 || to.columns == 0 {
        return;
    }
    // SAFETY: `check` ran on the slices of all three views, so every element that gemm addresses lies inside its
    // slice; `to` is borrowed mutably and its rows do not overlap.
    unsafe {
        gemm::gemm(
            to.rows,
            to.columns,
            left.columns,
            to.data.as_mut_ptr(),
            1,
            to.step as isize,
            keep != T::ZERO,
            left.data.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.data.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            keep,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2x3 times 3x2, written into the middle of a 3x4 buffer, plain and transposed.
    #[test]
    fn products_respect_steps_and_transposes() {
        let left = [1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0]; // step 4
        let right = [1.0, 0.0, -1.0, 2.0, 1.0, 1.0]; // 2x3, used transposed
        let mut to = [1.0; 12];
        let right = View::new(&right, 2, 3, 3).transposed();
        product(ViewMut::new(&mut to[1..], 2, 2, 4), 2.0, -1.0, View::new(&left, 2, 3, 4), right);
        assert_eq!(to, [1.0, 4.0, -5.0, 1.0, 1.0, 4.0, -17.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        product(ViewMut::new(&mut to, 1, 0, 4), 0.0, 1.0, View::new(&left, 1, 3, 4), View::new(&[], 3, 0, 0));
    }

    #[test]
    fn a_product_with_nothing_to_sum_is_zero() {
        let mut to = [f64::NAN; 2];
        product(ViewMut::new(&mut to, 1, 2, 2), 0.0, 1.0, View::new(&[], 1, 0, 0), View::new(&[], 0, 2, 2));
        assert_eq!(to, [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_view_cannot_reach_past_its_slice() {
        View::new(&[0.0f32; 7], 2, 4, 4);
    }
}
