//! The weights to aim at when a layer sees other inputs than the dense one.

use super::Inverse;
use super::error::{ReconstructError, Result};
use super::gram::{Gram, times_symmetric};
use crate::matrix::{View, ViewMut, product};
use rayon::prelude::*;

/// The weights `[rows, inputs]` whose outputs on the inputs `x̂` of `gram` come nearest to those of `dense` on the
/// inputs `x`, with `cross` `= Σ x x̂ᵀ`, `[inputs, inputs]`: `(W C + λ W)(G + λ I)⁻¹`.
///
/// The error of other weights grows from there as `(w − w*)ᵀ (G + λ I) (w − w*)`, so every solver takes the result for
/// the original.
///
/// # Errors
/// Lengths that do not agree, values that are not finite, or a Gram matrix that is damped too little.
pub fn target(gram: &Gram, cross: &[f64], dense: &[f32]) -> Result<Vec<f32>> {
    let rows = gram.check_weights(dense)?;
    let inputs = gram.inputs();
    if cross.len() != inputs * inputs {
        let (expected, found) = (inputs * inputs, cross.len());
        return Err(ReconstructError::Length { what: "the cross moments", expected, found });
    }
    let count = cross.iter().filter(|v| !v.is_finite()).count();
    if count > 0 {
        return Err(ReconstructError::NotFinite { what: "the cross moments", count });
    }
    let dense: Vec<f64> = dense.iter().copied().map(f64::from).collect();
    let lambda = gram.lambda();
    let mut right = dense.clone();
    let tasks = right.par_chunks_mut(super::gram::TASK_ROWS * inputs);
    tasks.zip(dense.par_chunks(super::gram::TASK_ROWS * inputs)).for_each(|(to, dense)| {
        let count = dense.len() / inputs;
        let left = View::new(dense, count, inputs, inputs);
        product(
            ViewMut::new(to, count, inputs, inputs),
            lambda,
            1.0,
            left,
            View::new(cross, inputs, inputs, inputs),
        );
    });
    debug_assert_eq!(right.len(), rows * inputs);
    keep_dead_weights(gram, &dense, &mut right);
    let inverse = Inverse::new(gram)?;
    Ok(times_symmetric(&right, inverse.values(), inputs).into_iter().map(|w| w as f32).collect())
}

/// What acts on an input that does not vary has no better value than its own. What the cross moments say of it is
/// rounding, which the inverse of next to nothing would blow up.
fn keep_dead_weights(gram: &Gram, dense: &[f64], right: &mut [f64]) {
    let inputs = gram.inputs();
    let damped = gram.damped();
    for input in (0..inputs).filter(|&input| gram.is_dead(input)) {
        let diagonal = damped[input * inputs + input];
        for (to, dense) in right.chunks_mut(inputs).zip(dense.chunks(inputs)) {
            to[input] = dense[input] * diagonal;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::reconstruct::brute_force::Normals;

    /// Against ordinary least squares on samples, undamped: the residual is orthogonal to the inputs.
    #[test]
    fn the_residual_is_orthogonal_to_the_inputs() {
        let mut rng = Normals::new(9);
        let (inputs, samples, rows) = (4, 40, 3);
        let seen: Vec<f64> = (0..samples * inputs).map(|_| rng.normal()).collect();
        let dense_seen: Vec<f64> = seen.iter().map(|x| x + 0.3 * rng.normal()).collect();
        let weights: Vec<f32> = (0..rows * inputs).map(|_| rng.normal() as f32).collect();
        let moment = |a: &[f64], b: &[f64]| -> Vec<f64> {
            let pair = |i: usize| (i / inputs, i % inputs);
            let sum =
                |(r, c): (usize, usize)| (0..samples).map(|s| a[s * inputs + r] * b[s * inputs + c]).sum();
            (0..inputs * inputs).map(|i| sum(pair(i))).collect()
        };
        let gram = Gram::new(inputs, moment(&seen, &seen)).unwrap().with_damping(0.0).unwrap();
        let best = target(&gram, &moment(&dense_seen, &seen), &weights).unwrap();
        for (best, dense) in best.chunks(inputs).zip(weights.chunks(inputs)) {
            for c in 0..inputs {
                let residual = |s: usize| {
                    let out = |w: &[f32], x: &[f64]| -> f64 {
                        w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
                    };
                    let at = s * inputs..(s + 1) * inputs;
                    out(dense, &dense_seen[at.clone()]) - out(best, &seen[at])
                };
                let dot: f64 = (0..samples).map(|s| residual(s) * seen[s * inputs + c]).sum();
                assert!(dot.abs() < 1e-4, "{dot}");
            }
        }
        // What sees the same inputs aims at itself.
        let same = target(&gram, &moment(&seen, &seen), &weights).unwrap();
        assert!(same.iter().zip(&weights).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    /// Rounding in the cross moments of an input that does not vary must not move its weight.
    #[test]
    fn an_input_that_does_not_vary_keeps_its_weight() {
        let gram = Gram::new(2, vec![1.0, 0.0, 0.0, 0.0]).unwrap();
        let best = target(&gram, &[1.0, 1e-9, 0.5, -1e-9], &[2.0, 3.0]).unwrap();
        assert!((best[0] - (2.0 + 1.5 + 0.005 * 2.0) / 1.005).abs() < 1e-5, "{best:?}");
        assert!((best[1] - 3.0).abs() < 1e-6, "{best:?}");
    }
}
