//! Optimal brain surgeon (Hassibi & Stork 1992): what the removal of single weights costs.

use super::cholesky::{Work, factor, lower_inverse, transposed_times_self};
use super::error::{ReconstructError, Result};
use super::gram::Gram;

/// The inverse of a damped Gram matrix, [inputs, inputs].
#[derive(Clone, Debug)]
pub struct Inverse {
    inputs: usize,
    values: Vec<f64>,
}

impl Inverse {
    /// The inverse of `G + lambda I`.
    ///
    /// # Errors
    /// A matrix that is singular, or indefinite by rounding, because it is damped too little.
    pub fn new(gram: &Gram) -> Result<Self> {
        let inputs = gram.inputs();
        Ok(Self { inputs, values: invert(gram.damped(), inputs)? })
    }

    /// The element of the diagonal that belongs to an input, larger than zero.
    pub fn diagonal(&self, input: usize) -> f64 {
        self.values[input * self.inputs + input]
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }
}

/// The inverse of the symmetric positive `a` (n x n).
pub(super) fn invert(mut a: Vec<f64>, n: usize) -> Result<Vec<f64>> {
    factor(&mut a, n, Work::Parallel).map_err(|input| ReconstructError::NotPositive { input })?;
    Ok(transposed_times_self(&lower_inverse(&a, n), n))
}

/// `w^2 / [H^-1]_cc` of every weight [rows, inputs]: how much the error of the damped problem grows when this weight
/// alone goes and the others of its row adapt. Comparable between rows and between layers.
///
/// # Errors
/// Weights that do not fill rows or are not finite, or the inverse of another layer.
pub fn obs_scores(gram: &Gram, inverse: &Inverse, weights: &[f32]) -> Result<Vec<f32>> {
    gram.check_weights(weights)?;
    if inverse.inputs != gram.inputs() {
        let (expected, found) = (gram.inputs().pow(2), inverse.values.len());
        return Err(ReconstructError::Length { what: "the inverse", expected, found });
    }
    let costs: Vec<f64> = (0..gram.inputs()).map(|input| inverse.diagonal(input).recip()).collect();
    let scores = weights.iter().zip(costs.iter().cycle());
    Ok(scores.map(|(w, cost)| (f64::from(*w).powi(2) * cost) as f32).collect())
}

/// Removes the weight of a `row` whose removal costs least and adapts the others, exactly; returns its input.
/// `inverse` is the inverse of `H` over the inputs that are `alive`, as it was after the last removal; it is
/// updated, so that calls can follow each other. None if nothing is alive.
///
/// # Panics
/// If `row` or `alive` are shorter than the number of inputs.
pub fn obs_remove(row: &mut [f64], alive: &mut [bool], inverse: &mut Inverse) -> Option<usize> {
    let n = inverse.inputs;
    let cost = |c: usize| row[c] * row[c] / inverse.values[c * n + c];
    let best = (0..n).filter(|c| alive[*c]).min_by(|a, b| cost(*a).total_cmp(&cost(*b)))?;
    let column = inverse.values[best * n..(best + 1) * n].to_vec();
    let step = row[best] / column[best];
    row.iter_mut().zip(&column).for_each(|(w, h)| *w -= step * h);
    row[best] = 0.0;
    alive[best] = false;
    // One step of Gaussian elimination takes the input out of the inverse.
    for (r, values) in inverse.values.chunks_mut(n).enumerate() {
        let factor = column[r] / column[best];
        values.iter_mut().zip(&column).for_each(|(v, h)| *v -= factor * h);
        values[best] = 0.0;
    }
    inverse.values[best * n..(best + 1) * n].fill(0.0);
    Some(best)
}
