//! Allocation by measured errors under a budget of weights, FLOPs or milliseconds.

use super::curves::{Curves, Point, check_table, interpolate};
use super::error::AllocationError;
use super::fill::{Goal, Target};
use super::hull::by_marginal_error;
use super::layer::{Layer, Limit, bounds, weights};
use super::programme::{Choice, choose};

/// What the pruned layers may cost together.
#[derive(Clone, Copy, Debug)]
pub enum Budget<'a> {
    /// This fraction of the weights goes, exactly as [`Target::Weights`].
    Weights(f64),
    /// At least this fraction of the FLOPs goes.
    Flops(f64),
    /// The layers run in at most this many milliseconds.
    Milliseconds {
        /// `[layer][point]`: time of the layer at the pruned fractions of the grid of the curves, linear in
        /// between.
        table: &'a [Vec<f64>],
        /// Most milliseconds of all layers together.
        most: f64,
    },
}

/// Gives every layer a point of the grid so that the total error is least within the budget ([`choose`]).
///
/// The grid rarely meets a number of weights or FLOPs exactly, so what was removed in excess comes back where the
/// curves fall most steeply. For weights the total is then exactly what was asked for; for milliseconds the
/// points stay. Off the grid, [`by_marginal_error`] can be a little better, mostly for small amounts: of the
/// two the one with the smaller total error is returned.
///
/// # Errors
/// Limits that are not fractions or do not allow the budget, curves or a table that do not fit the layers, an
/// amount outside `[0, 1)`.
pub fn by_sensitivity(
    layers: &[Layer],
    curves: &Curves<'_>,
    limits: &[Limit],
    budget: Budget<'_>,
) -> Result<Vec<usize>, AllocationError> {
    let weights = weights(layers);
    let points = curves.points(&weights, &bounds(&weights, limits)?)?;
    match budget {
        Budget::Weights(amount) => {
            let target = Target::Weights(amount);
            let goal = target.goal(layers)?;
            let end = |of: fn(&[Point]) -> Option<&Point>| -> Vec<usize> {
                points.iter().filter_map(|points| of(points)).map(|point| point.count).collect()
            };
            goal.check(&end(<[Point]>::first), &end(<[Point]>::last))?;
            let chosen = choose_to_keep(&weights, &points, &goal)?;
            let programme = give_back(&points, chosen, &goal, true);
            Ok(better(&points, programme, by_marginal_error(layers, curves, limits, target)))
        }
        Budget::Flops(amount) => {
            let target = Target::Flops(amount);
            let goal = target.goal(layers)?;
            let chosen = choose_to_keep(&weights, &points, &goal)?;
            let programme = give_back(&points, chosen, &goal, false);
            Ok(better(&points, programme, by_marginal_error(layers, curves, limits, target)))
        }
        Budget::Milliseconds { table, most } => {
            check_table(curves.grid, table, "milliseconds", layers.len())?;
            let cost = |layer: usize, count: usize| {
                interpolate(curves.grid, &table[layer], count as f64 / weights[layer] as f64)
            };
            Ok(counts(&points, &choose(&options(&points, cost), most)?))
        }
    }
}

/// The best counts that keep no more than the goal leaves.
fn choose_to_keep(
    weights: &[usize],
    points: &[Vec<Point>],
    goal: &Goal,
) -> Result<Vec<usize>, AllocationError> {
    let cost = |layer: usize, count: usize| (weights[layer] - count) as f64 * goal.each[layer];
    let budget = goal.removed(weights) - goal.asked;
    Ok(counts(points, &choose(&options(points, cost), budget)?))
}

fn options(points: &[Vec<Point>], cost: impl Fn(usize, usize) -> f64) -> Vec<Vec<Choice>> {
    let choices = |(layer, points): (usize, &Vec<Point>)| {
        points.iter().map(|point| Choice { cost: cost(layer, point.count), error: point.error }).collect()
    };
    points.iter().enumerate().map(choices).collect()
}

fn counts(points: &[Vec<Point>], chosen: &[usize]) -> Vec<usize> {
    points.iter().zip(chosen).map(|(points, index)| points[*index].count).collect()
}

/// Takes back what `counts` remove beyond the goal, always from the layer whose curve falls most steeply
/// there.
///
/// Where the goal need not be met exactly, layers whose curve does not fall stay as they are.
fn give_back(points: &[Vec<Point>], mut counts: Vec<usize>, goal: &Goal, exact: bool) -> Vec<usize> {
    loop {
        let surplus = goal.removed(&counts) - goal.asked;
        let candidate = |layer: usize| {
            let each = goal.each[layer];
            let room = if each > 0.0 { (surplus / each) as usize } else { 0 };
            let (left, slope) = edge_below(&points[layer], counts[layer])?;
            let weights = room.min(counts[layer] - left);
            (weights > 0 && (exact || slope > 0.0)).then_some((layer, weights, slope / each))
        };
        let steepest = (0..counts.len()).filter_map(candidate).reduce(|a, b| if b.2 > a.2 { b } else { a });
        let Some((layer, weights, _)) = steepest else { return counts };
        counts[layer] -= weights;
    }
}

/// Of the counts of the programme and, where there are any, those of equal slopes, the ones of the smaller
/// error.
fn better(
    points: &[Vec<Point>],
    programme: Vec<usize>,
    slopes: Result<Vec<usize>, AllocationError>,
) -> Vec<usize> {
    let error = |counts: &[usize]| {
        points.iter().zip(counts).map(|(points, count)| error_at(points, *count)).sum::<f64>()
    };
    match slopes {
        Ok(slopes) if error(&slopes) < error(&programme) => slopes,
        _ => programme,
    }
}

/// Error of a layer that loses `count` weights, which lies within its points.
fn error_at(points: &[Point], count: usize) -> f64 {
    let rise = edge_below(points, count).map(|(left, slope)| (count - left) as f64 * slope);
    let below = points.partition_point(|point| point.count < count).saturating_sub(1);
    points[below].error + rise.unwrap_or(0.0)
}

/// The start of the edge of the curve that ends at or contains `count`, and its slope.
fn edge_below(points: &[Point], count: usize) -> Option<(usize, f64)> {
    let right = points.partition_point(|point| point.count < count);
    let (a, b) = (points.get(right.checked_sub(1)?)?, points.get(right)?);
    Some((a.count, (b.error - a.error) / (b.count - a.count) as f64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const GRID: [f64; 5] = [0.0, 0.2, 0.5, 0.75, 0.9];

    /// Layers, and rising curves; convex ones where asked for.
    fn network(convex: bool) -> impl Strategy<Value = (Vec<Layer>, Vec<Vec<f64>>)> {
        let one = (1usize..20, 1usize..20, 1usize..4, 1u64..400, prop::collection::vec(0.0..1.0f64, 4));
        prop::collection::vec(one, 1..6).prop_map(move |all| {
            let part = |(out, inp, k, pixels, mut slopes): (usize, usize, usize, u64, Vec<f64>)| {
                let shape = [out, inp, k, k];
                if convex {
                    slopes.sort_by(f64::total_cmp);
                }
                let mut errors = vec![0.0];
                for (pair, slope) in GRID.windows(2).zip(slopes) {
                    errors.push(errors[errors.len() - 1] + slope * (pair[1] - pair[0]));
                }
                (Layer { shape, flops: pixels * shape.iter().product::<usize>() as u64 }, errors)
            };
            all.into_iter().map(part).unzip()
        })
    }

    fn error_of(layers: &[Layer], errors: &[Vec<f64>], counts: &[usize]) -> f64 {
        let fraction = |layer: usize| counts[layer] as f64 / layers[layer].weights() as f64;
        (0..layers.len()).map(|layer| interpolate(&GRID, &errors[layer], fraction(layer))).sum()
    }

    /// The least error of all combinations of points that remove at least what is asked.
    fn by_force(points: &[Vec<Point>], each: &[f64], asked: f64) -> Option<f64> {
        let Some((first, rest)) = points.split_first() else { return (asked <= 1e-9).then_some(0.0) };
        let with = |p: &Point| Some(p.error + by_force(rest, &each[1..], asked - p.count as f64 * each[0])?);
        first.iter().filter_map(with).min_by(f64::total_cmp)
    }

    /// The least error of all combinations of points that take no longer than `most`.
    fn fastest_by_force(points: &[Vec<Point>], time: &dyn Fn(usize, usize) -> f64, most: f64) -> Option<f64> {
        let Some((first, rest)) = points.split_first() else { return (most >= -1e-9).then_some(0.0) };
        let next = |layer: usize, count: usize| time(layer + 1, count);
        let with = |p: &Point| Some(p.error + fastest_by_force(rest, &next, most - time(0, p.count))?);
        first.iter().filter_map(with).min_by(f64::total_cmp)
    }

    #[test]
    fn milliseconds_by_hand() {
        let layers = [Layer { shape: [10, 10, 1, 1], flops: 100 }; 2];
        let errors = vec![vec![0.0, 1.0, 2.0, 3.0, 4.0], vec![0.0, 2.0, 2.5, 6.0, 9.0]];
        let table = [vec![4.0, 4.0, 4.0, 3.9, 3.8], vec![6.0, 5.0, 3.0, 2.0, 1.0]];
        let curves = Curves { grid: &GRID, errors: &errors };
        let at = |most| {
            let budget = Budget::Milliseconds { table: &table, most };
            by_sensitivity(&layers, &curves, &[Limit::default(); 2], budget)
        };
        // The first layer gains nothing: the second pays alone, and 0.5 is worth its small step.
        assert_eq!(at(10.0).unwrap(), [0, 0]);
        assert_eq!(at(8.5).unwrap(), [0, 50]);
        assert_eq!(at(4.85).unwrap(), [90, 90]);
        let error = at(4.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the budget is 4 but the least that is possible is 4.8; raise the budget or the limits"
        );
        let budget = Budget::Milliseconds { table: &table[..1], most: 9.0 };
        let error = by_sensitivity(&layers, &curves, &[Limit::default(); 2], budget).unwrap_err();
        assert!(matches!(error, AllocationError::Length { found: 1, layers: 2, .. }));
    }

    #[test]
    fn the_steepest_weights_come_back() {
        let curve = |points: [(usize, f64); 3]| points.map(|(count, error)| Point { count, error }).to_vec();
        let points = [curve([(0, 0.0), (10, 2.0), (20, 3.0)]), curve([(0, 0.0), (20, 1.0), (40, 7.0)])];
        // Slopes 0.2, 0.1 and 0.05, 0.3. The second layer's last edge comes back first, then the edge of 0.1
        // on the way to that of 0.2.
        let at = |asked| {
            let goal = Goal { asked, each: vec![1.0; 2], unit: "weights" };
            give_back(&points, vec![20, 40], &goal, true)
        };
        assert_eq!(at(60.0), [20, 40]);
        assert_eq!(at(45.0), [20, 25]);
        assert_eq!(at(35.0), [15, 20]);
        assert_eq!(at(21.0), [1, 20]);
        assert_eq!(at(5.0), [0, 5]);
    }

    #[test]
    fn limits_between_points_are_met() {
        let layers = [Layer { shape: [10, 10, 1, 1], flops: 100 }; 2];
        let errors = vec![vec![0.0; 5], vec![0.0, 1.0, 2.0, 3.0, 4.0]];
        let curves = Curves { grid: &GRID, errors: &errors };
        let limits = [Limit { least: 0.0, most: 0.63 }, Limit { least: 0.11, most: 1.0 }];
        let at = |amount| by_sensitivity(&layers, &curves, &limits, Budget::Weights(amount));
        assert_eq!(at(0.37).unwrap(), [63, 11]);
        assert_eq!(at(0.055).unwrap(), [0, 11]);
        let unreachable =
            |asked| AllocationError::Unreachable { asked, least: 11.0, most: 153.0, unit: "weights" };
        assert_eq!(at(0.05), Err(unreachable(10.0)));
        assert_eq!(at(0.8), Err(unreachable(160.0)));
    }

    #[test]
    fn equal_slopes_win_if_the_grid_is_too_coarse() {
        // Ten weights are to be removed. The grid has ten of the second layer, error 1, or twenty of the first, 1.2;
        // but ten of the first cost 0.6.
        let layers = [Layer { shape: [10, 10, 1, 1], flops: 100 }, Layer { shape: [10, 5, 1, 1], flops: 50 }];
        let errors = vec![vec![0.0, 1.2, 9.0, 99.0, 999.0], vec![0.0, 1.0, 9.0, 99.0, 999.0]];
        let curves = Curves { grid: &GRID, errors: &errors };
        for budget in [Budget::Weights(10.0 / 150.0), Budget::Flops(10.0 / 150.0)] {
            assert_eq!(by_sensitivity(&layers, &curves, &[Limit::default(); 2], budget).unwrap(), [10, 0]);
        }
    }

    proptest! {
        #[test]
        fn no_combination_of_points_is_better(
            (layers, errors) in network(false), amount in 0.0..0.9f64, flops in any::<bool>(),
        ) {
            let curves = Curves { grid: &GRID, errors: &errors };
            let limits = vec![Limit::default(); layers.len()];
            let (budget, target) = match flops {
                true => (Budget::Flops(amount), Target::Flops(amount)),
                false => (Budget::Weights(amount), Target::Weights(amount)),
            };
            let goal = target.goal(&layers).unwrap();
            let weights = weights(&layers);
            let points = curves.points(&weights, &bounds(&weights, &limits).unwrap()).unwrap();
            let best = by_force(&points, &goal.each, goal.asked);
            match (by_sensitivity(&layers, &curves, &limits, budget), best) {
                (Ok(counts), Some(best)) => {
                    let over = goal.removed(&counts) - goal.asked;
                    prop_assert!(if flops { over >= -1e-9 * goal.asked } else { over == 0.0 }, "{over}");
                    let error = error_of(&layers, &errors, &counts);
                    prop_assert!(error <= best + 1e-9, "{error} {best}");
                }
                (Err(AllocationError::Budget { .. } | AllocationError::Unreachable { .. }), None) => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn no_combination_of_points_in_time_is_better(
            (layers, errors) in network(false), falls in prop::collection::vec(0.0..3.0f64, 5 * 5), share in 0.0..1.1f64,
        ) {
            let row = |falls: &[f64]| -> Vec<f64> {
                // Falling times: what is left of the sum of the steps.
                (0..GRID.len()).map(|point| falls[point..].iter().sum()).collect()
            };
            let table: Vec<Vec<f64>> = falls.chunks(5).take(layers.len()).map(row).collect();
            let most = share * table.iter().map(|row| row[0]).sum::<f64>();
            let curves = Curves { grid: &GRID, errors: &errors };
            let limits = vec![Limit::default(); layers.len()];
            let weights = weights(&layers);
            let points = curves.points(&weights, &bounds(&weights, &limits).unwrap()).unwrap();
            let time = |layer: usize, count: usize| {
                interpolate(&GRID, &table[layer], count as f64 / weights[layer] as f64)
            };
            let best = fastest_by_force(&points, &time, most);
            let budget = Budget::Milliseconds { table: &table, most };
            match (by_sensitivity(&layers, &curves, &limits, budget), best) {
                (Ok(counts), Some(best)) => {
                    let taken: f64 = counts.iter().enumerate().map(|(layer, count)| time(layer, *count)).sum();
                    prop_assert!(taken <= most + 1e-9, "{taken} {most}");
                    let error = error_of(&layers, &errors, &counts);
                    prop_assert!((error - best).abs() < 1e-9, "{error} {best}");
                }
                (Err(AllocationError::Budget { least, .. }), None) => {
                    let last = |(layer, points): (usize, &Vec<Point>)| time(layer, points[points.len() - 1].count);
                    let expected: f64 = points.iter().enumerate().map(last).sum();
                    prop_assert!((least - expected).abs() < 1e-9 && least > most);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn equal_slopes_are_best_for_convex_curves(
            (layers, errors) in network(true), amounts in (0.0..0.9f64, 0.0..0.9f64),
        ) {
            let curves = Curves { grid: &GRID, errors: &errors };
            let limits = vec![Limit::default(); layers.len()];
            let mut before = vec![0; layers.len()];
            for amount in [amounts.0.min(amounts.1), amounts.0.max(amounts.1)] {
                let slopes = by_marginal_error(&layers, &curves, &limits, Target::Weights(amount));
                let Ok(counts) = slopes else { break };
                let programme = by_sensitivity(&layers, &curves, &limits, Budget::Weights(amount)).unwrap();
                prop_assert_eq!(counts.iter().sum::<usize>(), programme.iter().sum::<usize>());
                // Points are rounded to whole weights, which bends a convex curve by less than a weight's
                // error.
                let bend: f64 = layers.iter().map(|layer| 1.0 / layer.weights() as f64).sum();
                let [hull, grid] = [&counts, &programme].map(|counts| error_of(&layers, &errors, counts));
                prop_assert!(hull <= grid + bend, "{hull} {grid}");
                prop_assert!(before.iter().zip(&counts).all(|(low, high)| low <= high));
                before = counts;
            }
        }
    }
}
