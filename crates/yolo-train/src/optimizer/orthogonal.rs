//! The nearest orthogonal matrix, by a few rounds of Newton–Schulz (Jordan et al. 2024, "Muon").

use yolo_prune::matrix::{View, ViewMut, product};

/// Rounds.
const ROUNDS: usize = 5;
/// Coefficients of `s ↦ a·s + b·s³ + c·s⁵`, which moves singular values from (0, 1] towards 1, fast rather than exactly.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.775, 2.0315];
/// Keeps the scaled matrix finite.
const EPSILON: f32 = 1e-7;

/// The matrix `values` of shape `dims`, the first dimension by all others, with its singular values near 1, times
/// `√max(1, d₋₂/d₋₁)` of the last two dimensions.
///
/// The reference computes in bfloat16. This is single precision: steps agree to about a hundredth of their size.
pub fn orthogonalized(values: Vec<f32>, dims: &[usize]) -> Vec<f32> {
    let rows = dims.first().copied().unwrap_or(1).max(1);
    let columns = values.len() / rows;
    let norm = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt() as f32 + EPSILON;
    let mut x: Vec<f32> = values.iter().map(|v| v / norm).collect();
    // Products of rows with rows are smaller if there are fewer of them.
    let is_tall = rows > columns;
    if is_tall {
        x = transposed(&x, rows, columns);
    }
    let (short, long) = (rows.min(columns), rows.max(columns));
    let mut squares = vec![0.0; short * short];
    let mut mixed = vec![0.0; short * short];
    let mut next = vec![0.0; x.len()];
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ROUNDS {
        let view = View::new(&x, short, long, long);
        product(ViewMut::new(&mut squares, short, short, short), 0.0, 1.0, view, view.transposed());
        let view = View::new(&squares, short, short, short);
        mixed.copy_from_slice(&squares);
        product(ViewMut::new(&mut mixed, short, short, short), b, c, view, view);
        next.copy_from_slice(&x);
        let (mixed, x_view) = (View::new(&mixed, short, short, short), View::new(&x, short, long, long));
        product(ViewMut::new(&mut next, short, long, long), a, 1.0, mixed, x_view);
        std::mem::swap(&mut x, &mut next);
    }
    if is_tall {
        x = transposed(&x, columns, rows);
    }
    let last_two = dims.len().checked_sub(2).map(|from| dims[from] as f32 / dims[from + 1].max(1) as f32);
    let scale = last_two.unwrap_or(1.0).max(1.0).sqrt();
    x.iter_mut().for_each(|v| *v *= scale);
    x
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a singular value.
    fn moved(mut s: f64) -> f64 {
        for _ in 0..ROUNDS {
            s = 3.4445 * s - 4.775 * s.powi(3) + 2.0315 * s.powi(5);
        }
        s
    }

    /// Rows along (3, 4, 0) and (−4, 3, 0), of lengths 10 and 5: the singular values.
    const WIDE: [f32; 6] = [6.0, 8.0, 0.0, -4.0, 3.0, 0.0];

    #[test]
    fn singular_values_move_towards_one_and_directions_stay() {
        let norm = 125.0f64.sqrt();
        let [first, second] = [10.0 / norm, 5.0 / norm].map(moved);
        assert!((0.65..1.25).contains(&first) && (0.65..1.25).contains(&second));
        let expected = [0.6 * first, 0.8 * first, 0.0, -0.8 * second, 0.6 * second, 0.0];
        let got = orthogonalized(WIDE.to_vec(), &[2, 3, 1, 1]);
        for (got, expected) in got.iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-5, "{got} {expected}");
        }
    }

    #[test]
    fn tall_matrices_are_the_transpose_and_scaled_by_their_shape() {
        let wide = orthogonalized(WIDE.to_vec(), &[2, 3]);
        let tall = orthogonalized(transposed(&WIDE, 2, 3), &[3, 2]);
        let scale = 1.5f32.sqrt();
        for (got, expected) in tall.iter().zip(transposed(&wide, 2, 3)) {
            assert!((got - scale * expected).abs() < 1e-5, "{got} {expected}");
        }
        // Kernels of 2 × 1 pixels: the last two dimensions count, not the matrix.
        let kernel = orthogonalized(WIDE.to_vec(), &[1, 3, 2, 1]);
        let flat = orthogonalized(WIDE.to_vec(), &[1, 6]);
        assert!(kernel.iter().zip(&flat).all(|(a, b)| (a - 2.0f32.sqrt() * b).abs() < 1e-5));
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(orthogonalized(vec![0.0; 6], &[2, 3]), [0.0; 6]);
    }
}
