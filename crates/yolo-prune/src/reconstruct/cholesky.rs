//! Cholesky factors and triangular inverses in blocks, in double precision.
//!
//! Matrices are square, row by row. Work is cut into blocks of a fixed size, whatever the number of threads, so
//! results are the same to the bit on one thread and on many.

use rayon::prelude::*;

use crate::matrix::{View, ViewMut, product};

/// Rows and columns of a block that is factored by plain loops.
const BLOCK: usize = 48;
/// Rows that one task works on.
const TASK_ROWS: usize = 96;

/// Where work is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// On the calling thread, for callers that run many factorisations side by side.
    Serial,
    /// On all threads of the pool.
    Parallel,
}

/// Replaces the symmetric `a` (n x n, lower triangle read) by its lower Cholesky factor `l`, `a = l * l^T`; what is
/// above the diagonal is undefined.
///
/// # Errors
/// The index of the first pivot that is not positive.
pub(crate) fn factor(a: &mut [f64], n: usize, work: Work) -> Result<(), usize> {
    let mut diagonal = [0.0; BLOCK * BLOCK];
    for start in (0..n).step_by(BLOCK) {
        let size = BLOCK.min(n - start);
        let end = start + size;
        let block = &mut diagonal[..size * size];
        for r in 0..size {
            block[r * size..(r + 1) * size].copy_from_slice(&a[(start + r) * n + start..][..size]);
        }
        factor_block(block, size).map_err(|pivot| start + pivot)?;
        for r in 0..size {
            a[(start + r) * n + start..][..size].copy_from_slice(&block[r * size..(r + 1) * size]);
        }
        invert_block(block, size);
        let below = &mut a[end * n..];
        let panel = panel(below, n, start, &block[..size * size], work);
        let update = |(task, rows): (usize, &mut [f64])| {
            let (first, count) = (task * TASK_ROWS, rows.len() / n);
            let reach = first + count;
            let own = View::new(&panel[first * size..], count, size, size);
            let all = View::new(&panel, reach, size, size).transposed();
            product(ViewMut::new(&mut rows[end..], count, reach, n), 1.0, -1.0, own, all);
        };
        match work {
            Work::Serial => below.chunks_mut(TASK_ROWS * n).enumerate().for_each(update),
            Work::Parallel => below.par_chunks_mut(TASK_ROWS * n).enumerate().for_each(update),
        }
    }
    Ok(())
}

/// Solves the columns `start..` of the rows `below` a diagonal block against the block, whose inverse is given;
/// returns them packed as well.
fn panel(below: &mut [f64], n: usize, start: usize, inverse: &[f64], work: Work) -> Vec<f64> {
    let size = inverse.len().isqrt();
    let mut packed = vec![0.0; below.len() / n * size];
    let solve = |(to, rows): (&mut [f64], &mut [f64])| {
        let count = rows.len() / n;
        let inverse = View::new(inverse, size, size, size).transposed();
        product(
            ViewMut::new(to, count, size, size),
            0.0,
            1.0,
            View::new(&rows[start..], count, size, n),
            inverse,
        );
        for (to, row) in to.chunks(size).zip(rows.chunks_mut(n)) {
            row[start..start + size].copy_from_slice(to);
        }
    };
    let (packed_rows, rows) = (TASK_ROWS * size, TASK_ROWS * n);
    match work {
        Work::Serial => packed.chunks_mut(packed_rows).zip(below.chunks_mut(rows)).for_each(solve),
        Work::Parallel => packed.par_chunks_mut(packed_rows).zip(below.par_chunks_mut(rows)).for_each(solve),
    }
    packed
}

/// The lower Cholesky factor of a small block in place, zeros above the diagonal.
fn factor_block(a: &mut [f64], n: usize) -> Result<(), usize> {
    // The transposed factor is built row by row, so that the inner loop runs along memory.
    for r in 0..n {
        for c in 0..r {
            a[c * n + r] = a[r * n + c];
        }
    }
    for j in 0..n {
        let pivot = a[j * n + j];
        // NaN is not greater than zero either.
        if pivot.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) || pivot.is_infinite() {
            return Err(j);
        }
        let (head, rest) = a.split_at_mut((j + 1) * n);
        let row = &mut head[j * n..];
        let scale = pivot.sqrt().recip();
        row[j..].iter_mut().for_each(|v| *v *= scale);
        for (i, to) in (j + 1..n).zip(rest.chunks_mut(n)) {
            let factor = row[i];
            to[i..].iter_mut().zip(&row[i..]).for_each(|(to, v)| *to -= factor * v);
        }
    }
    for r in 0..n {
        for c in 0..r {
            a[r * n + c] = a[c * n + r];
            a[c * n + r] = 0.0;
        }
    }
    Ok(())
}

/// The inverse of a small lower triangular block in place.
fn invert_block(l: &mut [f64], n: usize) {
    for i in 0..n {
        let (done, rest) = l.split_at_mut(i * n);
        let row = &mut rest[..n];
        let scale = row[i].recip();
        let mut sum = [0.0; BLOCK];
        for (j, known) in done.chunks(n).enumerate() {
            let factor = row[j];
            sum[..=j].iter_mut().zip(known).for_each(|(sum, v)| *sum += factor * v);
        }
        row[..i].iter_mut().zip(&sum).for_each(|(to, sum)| *to = -sum * scale);
        row[i] = scale;
    }
}

/// The inverse of the lower triangular `l` (n x n), zeros above the diagonal.
pub(crate) fn lower_inverse(l: &[f64], n: usize) -> Vec<f64> {
    let blocks = diagonal_inverses(l, n);
    let panels: Vec<Vec<f64>> = (0..n)
        .step_by(BLOCK)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|c| inverse_panel(l, n, c, &blocks))
        .collect();
    let mut inverse = vec![0.0; n * n];
    inverse.par_chunks_mut(n).enumerate().for_each(|(r, row)| {
        for (block, panel) in panels.iter().enumerate().take(r / BLOCK + 1) {
            let start = block * BLOCK;
            let width = BLOCK.min(n - start);
            row[start..start + width].copy_from_slice(&panel[(r - start) * width..][..width]);
        }
    });
    inverse
}

fn diagonal_inverses(l: &[f64], n: usize) -> Vec<Vec<f64>> {
    let inverse = |start: usize| {
        let size = BLOCK.min(n - start);
        let mut block = vec![0.0; size * size];
        for r in 0..size {
            block[r * size..][..=r].copy_from_slice(&l[(start + r) * n + start..][..=r]);
        }
        invert_block(&mut block, size);
        block
    };
    (0..n).step_by(BLOCK).map(inverse).collect()
}

/// Rows `start..n` of the columns of the inverse that belong to the block at `start`.
fn inverse_panel(l: &[f64], n: usize, start: usize, blocks: &[Vec<f64>]) -> Vec<f64> {
    let width = BLOCK.min(n - start);
    let mut panel = vec![0.0; (n - start) * width];
    panel[..width * width].copy_from_slice(&blocks[start / BLOCK]);
    let mut sum = [0.0; BLOCK * BLOCK];
    for row in (start + width..n).step_by(BLOCK) {
        let size = BLOCK.min(n - row);
        let (known, rest) = panel.split_at_mut((row - start) * width);
        let left = View::new(&l[row * n + start..], size, row - start, n);
        product(
            ViewMut::new(&mut sum, size, width, width),
            0.0,
            1.0,
            left,
            View::new(known, row - start, width, width),
        );
        let inverse = View::new(&blocks[row / BLOCK], size, size, size);
        product(
            ViewMut::new(rest, size, width, width),
            0.0,
            -1.0,
            inverse,
            View::new(&sum, size, width, width),
        );
    }
    panel
}

/// The upper triangular `u` with `u^T u = a^-1` of the symmetric positive `a` (n x n): the form of the inverse in
/// which row `i` belongs to the system that is left when the inputs before `i` are eliminated.
///
/// # Errors
/// The index of a pivot that is not positive.
pub(crate) fn inverse_upper_factor(mut a: Vec<f64>, n: usize) -> Result<Vec<f64>, usize> {
    // With the order of the inputs reversed, a = m m^T with a lower triangular m; put back, m^-1 is upper.
    a.reverse();
    factor(&mut a, n, Work::Parallel).map_err(|pivot| n - 1 - pivot)?;
    let mut upper = lower_inverse(&a, n);
    upper.reverse();
    Ok(upper)
}

/// `x^T * x` of a lower triangular `x` (n x n, zeros above the diagonal): with the inverse of a Cholesky factor, the
/// inverse of the matrix.
pub(crate) fn transposed_times_self(x: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    out.par_chunks_mut(TASK_ROWS * n).enumerate().for_each(|(task, rows)| {
        let (first, count) = (task * TASK_ROWS, rows.len() / n);
        // Columns of a lower triangle are zero above their own row, so the sum starts at the first of this task.
        let depth = n - first;
        let left = View::new(&x[first * n + first..], depth, count, n).transposed();
        let right = View::new(&x[first * n..], depth, first + count, n);
        product(ViewMut::new(rows, count, first + count, n), 0.0, 1.0, left, right);
    });
    mirror(&mut out, n);
    out
}

/// Copies the lower triangle of `a` (n x n) onto the upper one.
pub(crate) fn mirror(a: &mut [f64], n: usize) {
    for block in (0..n).step_by(BLOCK) {
        for r in block..n {
            for c in block..r.min(block + BLOCK) {
                a[c * n + r] = a[r * n + c];
            }
        }
    }
}

/// Solves `l * l^T * x = b` in place of `b`.
pub(crate) fn solve(l: &[f64], n: usize, b: &mut [f64]) {
    for r in 0..n {
        let (known, rest) = b.split_at_mut(r);
        let row = &l[r * n..];
        rest[0] = (rest[0] - dot(&row[..r], known)) / row[r];
    }
    for r in (0..n).rev() {
        let row = &l[r * n..];
        let (open, rest) = b.split_at_mut(r);
        rest[0] /= row[r];
        let factor = rest[0];
        open.iter_mut().zip(row).for_each(|(to, v)| *to -= factor * v);
    }
}

/// The inner product, in eight sums that the processor can keep side by side.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconstruct::brute_force::gram;

    /// Sizes around one block and one task.
    const SIZES: [usize; 8] =
        [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, TASK_ROWS, TASK_ROWS + BLOCK, 2 * TASK_ROWS + 7];

    fn element(n: usize, f: impl Fn(usize, usize, usize) -> f64, r: usize, c: usize) -> f64 {
        (0..n).map(|i| f(r, c, i)).sum()
    }

    fn assert_all(n: usize, what: &str, f: impl Fn(usize, usize) -> (f64, f64), tolerance: f64) {
        for (r, c) in (0..n * n).map(|i| (i / n, i % n)) {
            let (found, expected) = f(r, c);
            assert!(
                (found - expected).abs() < tolerance,
                "{what}, n = {n}: ({r}, {c}) is {found}, not {expected}"
            );
        }
    }

    #[test]
    fn factors_and_inverses_multiply_back() {
        for n in SIZES {
            let a = gram(n, n + 5, 2).damped();
            let size = a.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let mut l = a.clone();
            factor(&mut l, n, Work::Serial).unwrap();
            let product =
                |r: usize, c: usize| element(r.min(c) + 1, |r, c, i| l[r * n + i] * l[c * n + i], r, c);
            assert_all(n, "l l^T", |r, c| (product(r, c), a[r * n + c]), 1e-12 * size);
            let unit = |r: usize, c: usize| f64::from(u8::from(r == c));
            let inverse = transposed_times_self(&lower_inverse(&l, n), n);
            let times = |m: &[f64], r, c| element(n, |r, c, i| m[r * n + i] * a[i * n + c], r, c);
            assert_all(n, "inverse", |r, c| (times(&inverse, r, c), unit(r, c)), 1e-8);
            let upper = inverse_upper_factor(a.clone(), n).unwrap();
            let square = |r, c| element(n, |r, c, i| upper[i * n + r] * upper[i * n + c], r, c);
            assert_all(
                n,
                "u^T u",
                |r, c| (square(r, c), inverse[r * n + c]),
                1e-8 * inverse[0].abs().max(1.0),
            );
            assert!((0..n).all(|r| upper[r * n..r * n + r].iter().all(|v| *v == 0.0)));
        }
    }

    #[test]
    fn one_thread_and_many_agree_to_the_bit() {
        let n = 2 * TASK_ROWS + 7;
        let a = gram(n, n + 5, 2).damped();
        let (mut serial, mut parallel) = (a.clone(), a);
        factor(&mut serial, n, Work::Serial).unwrap();
        factor(&mut parallel, n, Work::Parallel).unwrap();
        assert_eq!(serial, parallel);
    }

    #[test]
    fn systems_are_solved() {
        let n = BLOCK + 3;
        let a = gram(n, n + 5, 2).damped();
        let mut l = a.clone();
        factor(&mut l, n, Work::Serial).unwrap();
        let expected: Vec<f64> = (0..n).map(|i| i as f64 - 3.5).collect();
        let mut b: Vec<f64> = a.chunks(n).map(|row| dot(row, &expected)).collect();
        solve(&l, n, &mut b);
        assert!(b.iter().zip(&expected).all(|(b, e)| (b - e).abs() < 1e-8), "{b:?}");
    }

    /// The pivot that fails is named, in the first block and behind it.
    #[test]
    fn indefinite_matrices_are_refused() {
        let n = BLOCK + 5;
        for bad in [0, 3, BLOCK + 2] {
            for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
                let mut a = vec![0.0; n * n];
                a.iter_mut().step_by(n + 1).for_each(|v| *v = 2.0);
                a[bad * n + bad] = value;
                assert_eq!(factor(&mut a.clone(), n, Work::Serial), Err(bad));
                assert_eq!(inverse_upper_factor(a, n), Err(bad));
            }
        }
    }
}
