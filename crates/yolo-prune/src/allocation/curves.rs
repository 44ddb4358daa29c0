//! Error curves of layers over a grid of pruned fractions.

use super::error::AllocationError;
use super::layer::{Bounds, check_length};

/// What is lost when one layer alone is pruned, measured at a grid of fractions and linear in between.
#[derive(Clone, Copy, Debug)]
pub struct Curves<'a> {
    /// Pruned fractions: 0, then ascending, below 1. Nothing is pruned beyond the last.
    pub grid: &'a [f64],
    /// `[layer][point]`: error at that fraction, in a unit that may be added over layers.
    pub errors: &'a [Vec<f64>],
}

/// A grid of pruned fractions: 0, `first`, and from there `steps` steps to `last` that shrink the density by
/// the same factor (Frantar and Alistarh, "SPDY", ICML 2022, with 0.40, 0.99 and 40: a factor of 0.9027).
///
/// # Panics
/// Unless `0 < first < last < 1` and there is a step.
pub fn geometric_grid(first: f64, last: f64, steps: usize) -> Vec<f64> {
    assert!(0.0 < first && first < last && last < 1.0 && steps > 0, "no grid from {first} to {last}");
    let factor = ((1.0 - last) / (1.0 - first)).powf(1.0 / steps as f64);
    let shrunk = (0..=steps).map(|step| 1.0 - (1.0 - first) * factor.powf(step as f64));
    std::iter::once(0.0).chain(shrunk).collect()
}

/// SPDY's grid with steps of 0.05 below its first fraction: 0, 0.05, … 0.40, … 0.99.
pub fn default_grid() -> Vec<f64> {
    let small = (1..8).map(|step| f64::from(step) / 20.0);
    let mut grid = geometric_grid(0.4, 0.99, 40);
    grid.splice(1..1, small);
    grid
}

/// A number of weights that a layer may lose, and the error then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) count: usize,
    pub(super) error: f64,
}

impl Curves<'_> {
    /// The points of the grid in weights, for layers of these sizes; points outside the bounds move to them.
    pub(super) fn points(
        &self,
        weights: &[usize],
        bounds: &[Bounds],
    ) -> Result<Vec<Vec<Point>>, AllocationError> {
        check_grid(self.grid)?;
        check_table(self.grid, self.errors, "errors", weights.len())?;
        let layer = |((errors, n), bounds): ((&Vec<f64>, &usize), &Bounds)| {
            let point = |fraction: &f64| {
                let count = bounds.clamp((fraction * *n as f64).round_ties_even() as usize);
                Point { count, error: interpolate(self.grid, errors, count as f64 / *n as f64) }
            };
            let mut points: Vec<Point> = self.grid.iter().map(point).collect();
            points.dedup_by_key(|point| point.count);
            points
        };
        Ok(self.errors.iter().zip(weights).zip(bounds).map(layer).collect())
    }
}

fn check_grid(grid: &[f64]) -> Result<(), AllocationError> {
    let ascends = grid.windows(2).all(|pair| pair[0] < pair[1]);
    if grid.first() == Some(&0.0) && ascends && grid.last().is_some_and(|last| *last < 1.0) {
        return Ok(());
    }
    Err(AllocationError::Grid(grid.to_vec()))
}

/// Checks that a table has a row for each layer and a number for each point of the grid.
pub(super) fn check_table(
    grid: &[f64],
    table: &[Vec<f64>],
    what: &'static str,
    layers: usize,
) -> Result<(), AllocationError> {
    check_length(what, table.len(), layers)?;
    let bad = |row: &Vec<f64>| row.len() != grid.len() || row.iter().any(|value| !value.is_finite());
    match table.iter().position(bad) {
        Some(layer) => Err(AllocationError::Curve { what, layer, points: grid.len() }),
        None => Ok(()),
    }
}

/// The value at `x`, linear between the points of the grid and constant beyond its end.
pub(crate) fn interpolate(grid: &[f64], values: &[f64], x: f64) -> f64 {
    let right = grid.partition_point(|point| *point < x);
    match (right.checked_sub(1), grid.get(right)) {
        (Some(left), Some(end)) => {
            let share = (x - grid[left]) / (end - grid[left]);
            values[left] + share * (values[right] - values[left])
        }
        (None, _) => values[0],
        (_, None) => values[grid.len() - 1],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn grids_of_the_paper() {
        let grid = geometric_grid(0.4, 0.99, 40);
        assert_eq!(grid.len(), 42);
        assert_eq!(grid[..2], [0.0, 0.4]);
        assert!((grid[41] - 0.99).abs() < 1e-12);
        for pair in grid[1..].windows(2) {
            assert!(((1.0 - pair[1]) / (1.0 - pair[0]) - 0.9027).abs() < 5e-5);
        }
        let grid = default_grid();
        assert_eq!(grid[..9], [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]);
        assert_eq!(check_grid(&grid), Ok(()));
    }

    #[test]
    fn points_by_hand() {
        let errors = vec![vec![0.0, 1.0, 5.0], vec![0.0, 0.5, 2.0]];
        let curves = Curves { grid: &[0.0, 0.5, 0.9], errors: &errors };
        let bounds = [Bounds { least: 0, most: 99 }, Bounds { least: 1, most: 7 }];
        let points = curves.points(&[100, 10], &bounds).unwrap();
        let flat = |points: &[Point]| points.iter().map(|p| (p.count, p.error)).collect::<Vec<_>>();
        assert_eq!(flat(&points[0]), [(0, 0.0), (50, 1.0), (90, 5.0)]);
        // 0.1, 0.5 and, half way to 0.9, 0.7.
        let [(1, a), (5, b), (7, c)] = flat(&points[1])[..] else { panic!("{points:?}") };
        assert!((a - 0.1).abs() < 1e-12 && b == 0.5 && (c - 1.25).abs() < 1e-12);
    }

    #[test]
    fn bad_input_is_named() {
        let errors = vec![vec![0.0, 1.0]];
        for grid in [&[0.0, 1.0][..], &[0.1, 0.2], &[0.0, 0.0], &[0.0, f64::NAN], &[]] {
            let curves = Curves { grid, errors: &errors };
            let error = curves.points(&[10], &[Bounds { least: 0, most: 9 }]);
            assert!(matches!(error, Err(AllocationError::Grid(_))), "{grid:?}");
        }
        for errors in [vec![vec![0.0]], vec![vec![0.0, f64::INFINITY]], vec![vec![0.0, f64::NAN]]] {
            let curves = Curves { grid: &[0.0, 0.5], errors: &errors };
            let error = curves.points(&[10], &[Bounds { least: 0, most: 9 }]);
            assert_eq!(error, Err(AllocationError::Curve { what: "errors", layer: 0, points: 2 }));
        }
    }
}
