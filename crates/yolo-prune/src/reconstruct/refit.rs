//! Least squares on a given support.

use rayon::prelude::*;

use super::cholesky::{Work, factor, solve};
use super::error::{ReconstructError, Result};
use super::gram::{Gram, times_symmetric};

use super::obs::Inverse;

/// The weights [rows, inputs] on the support `keep` that minimise `(w - w0)^T (G + lambda I) (w - w0)` for every row
/// of `original`, exactly up to rounding. Weights of dead inputs that are kept keep their values.
///
/// A row is solved over the smaller of its two sides, the weights that stay or those that go:
/// `H_SS d_S = H_SP w0_P`, or `[H^-1]_PP y = w0_P`, `w = w0 - [H^-1]_:P y`.
///
/// # Errors
/// Lengths that do not agree, weights that are not finite, or a Gram matrix that is damped too little.
pub fn refit(gram: &Gram, original: &[f32], keep: &[bool]) -> Result<Vec<f32>> {
    gram.check_weights(original)?;
    if keep.len() != original.len() {
        let (expected, found) = (original.len(), keep.len());
        return Err(ReconstructError::Length { what: "the mask", expected, found });
    }
    let inputs = gram.inputs();
    let damped = gram.damped();
    let gone: Vec<f64> =
        original.iter().zip(keep).map(|(w, keep)| if *keep { 0.0 } else { f64::from(*w) }).collect();
    let pull = times_symmetric(&gone, &damped, inputs);
    let by_removal = keep.chunks(inputs).any(removes_less);
    let inverse = if by_removal { Some(Inverse::new(gram)?) } else { None };
    let mut weights = vec![0.0; original.len()];
    let rows = weights.par_chunks_mut(inputs).zip(original.par_chunks(inputs));
    let rows = rows.zip(keep.par_chunks(inputs)).zip(pull.par_chunks(inputs));
    rows.try_for_each(|(((to, original), keep), pull)| match &inverse {
        Some(inverse) if removes_less(keep) => without_removed(inverse.values(), original, keep, to),
        _ => with_survivors(&damped, original, keep, pull, to),
    })?;
    Ok(weights)
}

fn removes_less(keep: &[bool]) -> bool {
    keep.iter().filter(|keep| **keep).count() * 2 > keep.len()
}

/// Solves for the survivors of one row; `pull` is `H w0_P`.
fn with_survivors(
    damped: &[f64],
    original: &[f32],
    keep: &[bool],
    pull: &[f64],
    to: &mut [f32],
) -> Result<()> {
    let support: Vec<usize> = (0..keep.len()).filter(|i| keep[*i]).collect();
    let mut change: Vec<f64> = support.iter().map(|i| pull[*i]).collect();
    solve_on(damped, keep.len(), &support, &mut change)?;
    for (i, change) in support.iter().zip(&change) {
        to[*i] = (f64::from(original[*i]) + change) as f32;
    }
    Ok(())
}

/// Solves for the multipliers of the weights of one row that go.
fn without_removed(inverse: &[f64], original: &[f32], keep: &[bool], to: &mut [f32]) -> Result<()> {
    let n = keep.len();
    let removed: Vec<usize> = (0..n).filter(|i| !keep[*i]).collect();
    let mut multipliers: Vec<f64> = removed.iter().map(|i| f64::from(original[*i])).collect();
    solve_on(inverse, n, &removed, &mut multipliers)?;
    let mut weights: Vec<f64> = original.iter().copied().map(f64::from).collect();
    for (i, factor) in removed.iter().zip(&multipliers) {
        weights.iter_mut().zip(&inverse[i * n..]).for_each(|(w, h)| *w -= factor * h);
    }
    for ((to, w), keep) in to.iter_mut().zip(&weights).zip(keep) {
        *to = if *keep { *w as f32 } else { 0.0 };
    }
    Ok(())
}

/// Solves the rows and columns `support` of the symmetric `matrix` (n x n) in place of `right`.
fn solve_on(matrix: &[f64], n: usize, support: &[usize], right: &mut [f64]) -> Result<()> {
    let size = support.len();
    let mut system = vec![0.0; size * size];
    for (r, (to, row)) in system.chunks_mut(size.max(1)).zip(support).enumerate() {
        let row = &matrix[row * n..(row + 1) * n];
        to.iter_mut().zip(&support[..=r]).for_each(|(to, column)| *to = row[*column]);
    }
    factor(&mut system, size, Work::Serial)
        .map_err(|i| ReconstructError::NotPositive { input: support[i] })?;
    solve(&system, size, right);
    Ok(())
}
