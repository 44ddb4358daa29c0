//! The second moments of a layer's inputs, and the error of a layer's output that they give.

use rayon::prelude::*;

use super::cholesky::{dot, mirror};
use super::error::{ReconstructError, Result};
use crate::matrix::{View, ViewMut, product};

/// Rows of weights that one task works on.
pub(super) const TASK_ROWS: usize = 32;
/// Damping of a fresh [`Gram`], as a fraction of the mean of the diagonal (Frantar & Alistarh 2023).
const DAMPING: f64 = 0.01;
/// What stands in for the moment of a dead input, as a fraction of the mean of the diagonal.
const DEAD: f64 = 1e-20;

/// `G`, the sum of `x x^T` over the inputs `x` of a layer, with the damping that solvers add to its diagonal.
#[derive(Clone, Debug)]
pub struct Gram {
    inputs: usize,
    /// [inputs, inputs], symmetric, without the damping.
    values: Vec<f64>,
    lambda: f64,
}

/// How far the outputs of a layer are from those of another, squared and summed over the calibration images.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputError {
    /// `(w - w0)^T G (w - w0)` of every row.
    pub per_row: Vec<f64>,
    /// The sum over the rows.
    pub total: f64,
    /// `total` as a fraction of the same sum with `w = 0`; zero if both are.
    pub relative: f64,
}

impl Gram {
    /// Takes the sums `values` [inputs, inputs], of which only the lower triangle and the diagonal are read. The
    /// damping is 0.01 of the mean of the diagonal.
    ///
    /// # Errors
    /// A wrong length, values that are not finite, or a negative sum of squares.
    pub fn new(inputs: usize, mut values: Vec<f64>) -> Result<Self> {
        // A layer without inputs has nothing to solve, and its length is as wrong as any other.
        if inputs == 0 || values.len() != inputs * inputs {
            let expected = inputs.max(1) * inputs.max(1);
            return Err(ReconstructError::Length { what: "the Gram matrix", expected, found: values.len() });
        }
        mirror(&mut values, inputs);
        let count = values.iter().filter(|v| !v.is_finite()).count();
        if count > 0 {
            return Err(ReconstructError::NotFinite { what: "the Gram matrix", count });
        }
        if let Some(input) = (0..inputs).find(|i| values[i * inputs + i] < 0.0) {
            return Err(ReconstructError::NotPositive { input });
        }
        let mut gram = Self { inputs, values, lambda: 0.0 };
        gram.lambda = gram.lambda_for(DAMPING);
        Ok(gram)
    }

    /// The same sums with a damping of `fraction` of the mean of the diagonal.
    ///
    /// # Errors
    /// A fraction that is negative or not finite.
    pub fn with_damping(mut self, fraction: f64) -> Result<Self> {
        if !(fraction >= 0.0 && fraction.is_finite()) {
            return Err(ReconstructError::Damping(fraction));
        }
        self.lambda = self.lambda_for(fraction);
        Ok(self)
    }

    fn lambda_for(&self, fraction: f64) -> f64 {
        let mean = (0..self.inputs).map(|i| self.moment(i)).sum::<f64>() / self.inputs as f64;
        fraction * mean
    }

    /// Inputs of the layer.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What the solvers add to the diagonal.
    pub fn lambda(&self) -> f64 {
        self.lambda
    }

    /// The sum of the squares of an input over the calibration images.
    pub fn moment(&self, input: usize) -> f64 {
        self.values[input * self.inputs + input]
    }

    /// Whether an input is zero on every calibration image, so that its weights cost nothing and go first.
    pub fn is_dead(&self, input: usize) -> bool {
        self.moment(input) == 0.0
    }

    /// The error of the outputs with `weights` against those with `original`, both [rows, inputs], undamped.
    ///
    /// # Errors
    /// Lengths that do not agree or values that are not finite.
    pub fn error(&self, weights: &[f32], original: &[f32]) -> Result<OutputError> {
        self.check_weights(original)?;
        self.check_weights(weights)?;
        if weights.len() != original.len() {
            let (expected, found) = (original.len(), weights.len());
            return Err(ReconstructError::Length { what: "the pruned weights", expected, found });
        }
        let difference: Vec<f64> =
            weights.iter().zip(original).map(|(w, w0)| f64::from(*w) - f64::from(*w0)).collect();
        let original: Vec<f64> = original.iter().copied().map(f64::from).collect();
        let per_row = self.quadratic(&difference);
        let total: f64 = per_row.iter().sum();
        let whole: f64 = self.quadratic(&original).iter().sum();
        let relative = if total == 0.0 { 0.0 } else { total / whole };
        Ok(OutputError { per_row, total, relative })
    }

    /// `v^T G v` of every row `v`.
    fn quadratic(&self, rows: &[f64]) -> Vec<f64> {
        let inputs = self.inputs;
        let image = times_symmetric(rows, &self.values, inputs);
        let pairs = rows.par_chunks(inputs).zip(image.par_chunks(inputs));
        // Rounding can push the error of a row that hardly changed below zero.
        pairs.map(|(v, image)| dot(v, image).max(0.0)).collect()
    }

    /// `H = G + lambda I`. A dead input gets an element of the diagonal that makes its weights cost next to nothing
    /// but is not zero, so that every solver prunes them first without knowing of dead inputs.
    pub(super) fn damped(&self) -> Vec<f64> {
        let mut damped = self.values.clone();
        let mean = self.lambda_for(1.0);
        let dead = if mean > 0.0 { mean * DEAD } else { DEAD };
        for v in damped.iter_mut().step_by(self.inputs + 1) {
            *v = if *v == 0.0 { dead } else { *v + self.lambda };
        }
        damped
    }

    /// The number of rows of `weights`.
    pub(super) fn check_weights(&self, weights: &[f32]) -> Result<usize> {
        if weights.is_empty() || !weights.len().is_multiple_of(self.inputs) {
            return Err(ReconstructError::Rows { inputs: self.inputs, found: weights.len() });
        }
        let count = weights.iter().filter(|w| !w.is_finite()).count();
        match count {
            0 => Ok(weights.len() / self.inputs),
            _ => Err(ReconstructError::NotFinite { what: "the weights", count }),
        }
    }
}

/// `rows * symmetric` for [rows, n] and [n, n].
pub(super) fn times_symmetric(rows: &[f64], symmetric: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows.len()];
    let tasks = out.par_chunks_mut(TASK_ROWS * n).zip(rows.par_chunks(TASK_ROWS * n));
    tasks.for_each(|(out, rows)| {
        let count = rows.len() / n;
        let right = View::new(symmetric, n, n, n);
        product(ViewMut::new(out, count, n, n), 0.0, 1.0, View::new(rows, count, n, n), right);
    });
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconstruct::brute_force::{Normals, gram};

    #[test]
    fn the_error_is_the_change_of_the_outputs() {
        let mut rng = Normals::new(3);
        let (rows, inputs, samples) = (TASK_ROWS + 2, 5, 7);
        let x: Vec<f64> = (0..samples * inputs).map(|_| rng.normal()).collect();
        let mut sums = vec![0.0; inputs * inputs];
        for (r, c) in (0..inputs * inputs).map(|i| (i / inputs, i % inputs)) {
            sums[r * inputs + c] = x.chunks(inputs).map(|x| x[r] * x[c]).sum();
        }
        let layer =
            |rng: &mut Normals| -> Vec<f32> { (0..rows * inputs).map(|_| rng.normal() as f32).collect() };
        let (w, w0) = (layer(&mut rng), layer(&mut rng));
        let output = |w: &[f32], x: &[f64]| w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
        let error = Gram::new(inputs, sums).unwrap().error(&w, &w0).unwrap();
        let mut whole = 0.0;
        for ((w, w0), error) in w.chunks(inputs).zip(w0.chunks(inputs)).zip(&error.per_row) {
            let expected: f64 = x.chunks(inputs).map(|x| (output(w, x) - output(w0, x)).powi(2)).sum();
            whole += x.chunks(inputs).map(|x| output(w0, x).powi(2)).sum::<f64>();
            assert!((error - expected).abs() < 1e-9 * expected, "{error} is not {expected}");
        }
        assert_eq!(error.total, error.per_row.iter().sum::<f64>());
        assert!((error.relative - error.total / whole).abs() < 1e-12);
    }

    #[test]
    fn only_the_lower_triangle_is_read() {
        let gram = Gram::new(2, vec![2.0, f64::NAN, 1.0, 3.0]).unwrap();
        assert_eq!(gram.error(&[1.0, 1.0], &[0.0, 0.0]).unwrap().total, 7.0);
        assert!((gram.lambda() - 0.025).abs() < 1e-15);
    }

    #[test]
    fn bad_input_is_refused() {
        use ReconstructError as E;
        assert!(matches!(Gram::new(2, vec![1.0; 3]), Err(E::Length { expected: 4, found: 3, .. })));
        assert!(matches!(Gram::new(0, vec![]), Err(E::Length { .. })));
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(matches!(Gram::new(2, vec![1.0, 0.0, bad, 1.0]), Err(E::NotFinite { count: 2, .. })));
            assert!(matches!(gram(2, 4, 1).with_damping(bad), Err(E::Damping(_))));
        }
        assert!(matches!(Gram::new(2, vec![1.0, 0.0, 0.0, -1.0]), Err(E::NotPositive { input: 1 })));
        assert_eq!(gram(2, 4, 1).with_damping(-1.0).unwrap_err(), E::Damping(-1.0));
        let gram = gram(2, 4, 1);
        assert!(matches!(gram.error(&[1.0; 3], &[1.0; 4]), Err(E::Rows { inputs: 2, found: 3 })));
        assert!(matches!(gram.error(&[1.0; 2], &[1.0; 4]), Err(E::Length { expected: 4, found: 2, .. })));
        assert!(matches!(gram.error(&[1.0; 4], &[f32::NAN; 4]), Err(E::NotFinite { count: 4, .. })));
        assert!(matches!(gram.error(&[], &[]), Err(E::Rows { .. })));
    }

    #[test]
    fn an_unchanged_layer_has_no_error() {
        let error = Gram::new(1, vec![0.0]).unwrap().error(&[1.0], &[2.0]).unwrap();
        assert_eq!((error.total, error.relative), (0.0, 0.0));
    }
}
