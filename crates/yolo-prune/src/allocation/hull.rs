//! Allocation at which every layer has the same marginal error.

use super::curves::{Curves, Point};
use super::error::AllocationError;
use super::fill::{Target, fill};
use super::layer::{Layer, Limit, bounds, weights};

/// Prunes the layers whose error rises least, until the target is reached.
///
/// Every error curve is replaced by its lower convex hull, so that its slope rises with the weights pruned.
/// Then each layer loses all weights whose slope, per weight or per FLOP, is below the one level that reaches
/// the target. For convex curves, linear between their points, no division has a smaller total error. Where
/// curves are not convex, [`by_sensitivity`](super::by_sensitivity) can be better. This one is monotone: a
/// larger target takes no fewer weights from any layer, so it suits pruning in steps.
///
/// # Errors
/// Limits that are not fractions or do not allow the target, curves that do not fit the layers.
pub fn by_marginal_error(
    layers: &[Layer],
    curves: &Curves<'_>,
    limits: &[Limit],
    target: Target,
) -> Result<Vec<usize>, AllocationError> {
    let weights = weights(layers);
    let points = curves.points(&weights, &bounds(&weights, limits)?)?;
    let goal = target.goal(layers)?;
    let steps: Vec<Vec<Step>> =
        points.iter().zip(&goal.each).map(|(points, each)| steps(points, *each)).collect();
    fill(layers, limits, target, |layer, level| {
        let taken = steps[layer].partition_point(|step| step.slope <= level);
        let count = taken.checked_sub(1).map_or(points[layer][0].count, |last| steps[layer][last].count);
        count as f64
    })
}

/// An edge of a hull.
struct Step {
    /// Error per unit of the target; positive, so that nothing goes at a level of 0.
    slope: f64,
    /// Weights pruned at its end.
    count: usize,
}

/// The edges of the lower convex hull of a curve, in the order of their slopes. A weight counts `each` of the
/// target.
fn steps(points: &[Point], each: f64) -> Vec<Step> {
    let slope = |a: &Point, b: &Point| (b.error - a.error) / (b.count - a.count) as f64;
    let mut hull: Vec<Point> = Vec::new();
    for point in points {
        while let [.., before, last] = hull[..]
            && slope(&before, &last) >= slope(&last, point)
        {
            hull.pop();
        }
        hull.push(*point);
    }
    let step = |pair: &[Point]| {
        // What counts nothing is worth no error.
        let slope = if each > 0.0 { slope(&pair[0], &pair[1]) / each } else { f64::MAX };
        Step { slope: slope.clamp(f64::MIN_POSITIVE, f64::MAX), count: pair[1].count }
    };
    hull.windows(2).map(step).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hull_by_hand() {
        let points = [(0, 0.0), (10, 4.0), (20, 5.0), (30, 10.0), (40, 30.0)];
        let points = points.map(|(count, error)| Point { count, error });
        let steps: Vec<(f64, usize)> =
            steps(&points, 2.0).iter().map(|step| (step.slope, step.count)).collect();
        // The point at 10 lies above the line from 0 to 20.
        assert_eq!(steps, [(0.125, 20), (0.25, 30), (1.0, 40)]);
    }

    #[test]
    fn two_layers_by_hand() {
        let layers =
            [Layer { shape: [10, 10, 1, 1], flops: 800 }, Layer { shape: [10, 10, 1, 1], flops: 200 }];
        let errors = vec![vec![0.0, 2.0, 8.0], vec![0.0, 1.0, 9.0]];
        let curves = Curves { grid: &[0.0, 0.4, 0.8], errors: &errors };
        let at = |target| by_marginal_error(&layers, &curves, &[Limit::default(); 2], target).unwrap();
        // Slopes per weight: 0.05, 0.15 and 0.025, 0.2.
        assert_eq!(at(Target::Weights(0.1)), [0, 20]);
        assert_eq!(at(Target::Weights(0.3)), [20, 40]);
        assert_eq!(at(Target::Weights(0.5)), [60, 40]);
        assert_eq!(at(Target::Weights(0.7)), [80, 60]);
        // Per FLOP (8 and 2 a weight): 0.00625, 0.01875 and 0.0125, 0.1.
        assert_eq!(at(Target::Flops(0.16)), [20, 0]);
        assert_eq!(at(Target::Flops(0.4)), [40, 40]);
        // The grid ends at 0.8.
        let error =
            by_marginal_error(&layers, &curves, &[Limit::default(); 2], Target::Weights(0.85)).unwrap_err();
        assert_eq!(
            error,
            AllocationError::Unreachable { asked: 170.0, least: 0.0, most: 160.0, unit: "weights" }
        );
    }

    #[test]
    fn flat_curves_do_not_lose_more_than_asked() {
        let layers = [Layer { shape: [10, 10, 1, 1], flops: 100 }; 2];
        let errors = vec![vec![0.0, 0.0, 1.0], vec![0.5, 0.4, 1.0]];
        let curves = Curves { grid: &[0.0, 0.4, 0.8], errors: &errors };
        let lost =
            by_marginal_error(&layers, &curves, &[Limit::default(); 2], Target::Weights(0.25)).unwrap();
        assert_eq!(lost.iter().sum::<usize>(), 50);
    }
}
