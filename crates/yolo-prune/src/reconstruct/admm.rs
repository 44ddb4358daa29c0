//! ADMM as in ALPS (Meng et al. 2024), then least squares on the support that it finds.

use rayon::prelude::*;

use super::Pruned;
use super::error::{ReconstructError, Result};
use super::gram::{Gram, times_symmetric};
use super::obs::invert;
use super::refit::refit;

/// How the iterations of [`admm`] proceed. The penalty draws the dense and the sparse weights together; it starts
/// small, so that the support can still change, and grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Iterations, at least 1.
    pub iterations: usize,
    /// The first penalty, above 0, where every input is scaled to a mean square of 1.
    pub penalty: f64,
    /// Factor of the penalty, at least 1.
    pub growth: f64,
    /// Iterations after which the penalty grows, at least 1. Each time costs an inverse of all inputs.
    pub period: usize,
}

impl Default for Schedule {
    /// 42 iterations that end at 3 times the mean square of an input.
    fn default() -> Self {
        Self { iterations: 42, penalty: 0.1, growth: 1.3, period: 3 }
    }
}

impl Schedule {
    fn check(self) -> Result<()> {
        let Self { iterations, penalty, growth, period } = self;
        let numbers = penalty > 0.0 && penalty.is_finite() && growth >= 1.0 && growth.is_finite();
        if numbers && iterations > 0 && period > 0 {
            return Ok(());
        }
        Err(ReconstructError::Schedule(format!("{iterations} iterations, {penalty}, {growth}, {period}")))
    }
}

/// Prunes `original` [rows, inputs] to the pattern of `project` and fits the survivors exactly.
///
/// `project` gets non-negative scores [rows, inputs] and says which weights stay. A score is what the removal of its
/// weight adds to a squared distance, so scores of weights that go together add up: a projection keeps the groups
/// with the largest sums.
///
/// With `D = diag(H)^1/2`, `H' = D^-1 H D^-1` and `w' = w D` the iteration is, row by row,
/// `w' = (H' + rho I)^-1 (H' w0' - v + rho d)`, `d = project(w' + v / rho)`, `v = v + rho (w' - d)`.
///
/// # Errors
/// Weights that are not finite, a schedule that cannot run, a projection of the wrong length, or a Gram matrix that
/// is damped too little.
pub fn admm(
    gram: &Gram,
    original: &[f32],
    schedule: Schedule,
    project: impl Fn(&[f32]) -> Vec<bool>,
) -> Result<Pruned> {
    gram.check_weights(original)?;
    schedule.check()?;
    let keep = support(gram, original, schedule, project)?;
    let weights = refit(gram, original, &keep)?;
    Ok(Pruned { weights, keep })
}

fn support(
    gram: &Gram,
    original: &[f32],
    schedule: Schedule,
    project: impl Fn(&[f32]) -> Vec<bool>,
) -> Result<Vec<bool>> {
    let n = gram.inputs();
    let (moments, scale) = unit_diagonal(gram.damped(), n);
    let mut sparse: Vec<f64> =
        original.iter().zip(scale.iter().cycle()).map(|(w, s)| f64::from(*w) * s).collect();
    let goal = times_symmetric(&sparse, &moments, n);
    let mut dual = vec![0.0; sparse.len()];
    let mut keep = Vec::new();
    let mut penalty = schedule.penalty;
    let mut inverse = Vec::new();
    for step in 0..schedule.iterations {
        if step.is_multiple_of(schedule.period) {
            penalty *= if step == 0 { 1.0 } else { schedule.growth };
            inverse = damped_inverse(&moments, penalty, n)?;
        }
        let right = goal.par_iter().zip(&dual).zip(&sparse).map(|((goal, v), d)| goal - v + penalty * d);
        let dense = times_symmetric(&right.collect::<Vec<_>>(), &inverse, n);
        let target: Vec<f64> = dense.par_iter().zip(&dual).map(|(w, v)| w + v / penalty).collect();
        let scores: Vec<f32> = target.par_iter().map(|z| (z * z) as f32).collect();
        keep = project(&scores);
        if keep.len() != scores.len() {
            let (expected, found) = (scores.len(), keep.len());
            return Err(ReconstructError::Length { what: "the projection", expected, found });
        }
        let sparse_parts = sparse.par_iter_mut().zip(&target).zip(&keep);
        sparse_parts.for_each(|((d, z), keep)| *d = if *keep { *z } else { 0.0 });
        // v + rho (w - d), where w + v / rho is the target.
        dual.par_iter_mut().zip(&target).zip(&sparse).for_each(|((v, z), d)| *v = penalty * (z - d));
    }
    Ok(keep)
}

/// `matrix` (n x n) scaled to a diagonal of ones, and the square roots of its diagonal.
fn unit_diagonal(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let scale: Vec<f64> = matrix.iter().step_by(n + 1).map(|v| v.sqrt()).collect();
    matrix.par_chunks_mut(n).zip(&scale).for_each(|(row, r)| {
        row.iter_mut().zip(&scale).for_each(|(v, c)| *v /= r * c);
    });
    (matrix, scale)
}

/// The inverse of `moments + penalty I` (n x n).
fn damped_inverse(moments: &[f64], penalty: f64, n: usize) -> Result<Vec<f64>> {
    let mut system = moments.to_vec();
    system.iter_mut().step_by(n + 1).for_each(|v| *v += penalty);
    invert(system, n)
}
