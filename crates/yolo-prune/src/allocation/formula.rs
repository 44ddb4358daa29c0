//! Allocations that follow from the shapes of the layers.

use super::error::AllocationError;
use super::fill::{Target, fill};
use super::layer::{Layer, Limit, bounds, check_amount, weights};

/// Every layer loses `round(amount · n)` of its `n` weights, halves to even: YOLOv5's own pruning. Each layer
/// is rounded on its own and limits are not made up for elsewhere, so the total need not be `amount`;
/// [`even`] is exact.
///
/// # Errors
/// An amount outside `[0, 1)`, limits that are not fractions, a layer without weights.
pub fn uniform(layers: &[Layer], limits: &[Limit], amount: f64) -> Result<Vec<usize>, AllocationError> {
    check_amount(amount)?;
    let weights = weights(layers);
    let bounds = bounds(&weights, limits)?;
    let count = |n: &usize| (amount * *n as f64).round_ties_even() as usize;
    Ok(weights.iter().zip(bounds).map(|(n, bounds)| bounds.clamp(count(n))).collect())
}

/// Every layer loses the same fraction, as far as its limits allow; the others make up for it.
///
/// # Errors
/// As [`uniform`], and a target that the limits do not allow.
pub fn even(layers: &[Layer], limits: &[Limit], target: Target) -> Result<Vec<usize>, AllocationError> {
    fill(layers, limits, target, |layer, level| layers[layer].weights() as f64 * level.min(1.0))
}

/// Erdős–Rényi-Kernel: small and narrow layers stay denser (Evci et al., "Rigging the Lottery", ICML 2020).
///
/// The density of a layer is `min(1, ε · (out + in + kh + kw) / (out · in · kh · kw))`, with the one `ε` that
/// reaches the target. This is what the paper's iteration finds, which keeps layers dense whose density would
/// exceed 1 and solves for `ε` again.
///
/// # Errors
/// As [`even`].
pub fn erk(layers: &[Layer], limits: &[Limit], target: Target) -> Result<Vec<usize>, AllocationError> {
    // The level is 1 / ε. A layer keeps n · min(1, ε · sum / n).
    fill(layers, limits, target, |layer, level| {
        let n = layers[layer].weights() as f64;
        let sum: usize = layers[layer].shape.iter().sum();
        n - n.min(sum as f64 / level)
    })
}

/// Layers lose in proportion to what a zero saves there: the fraction pruned is `min(1, λ · flops /
/// weights)`, with the one `λ` that reaches the target, as far as the limits allow.
///
/// FLOPs per weight are the pixels of the output map, so layers on large maps lose most. For the same number
/// of zeros this saves at least as many FLOPs as [`even`], but these layers have few weights: give them a
/// limit.
///
/// # Errors
/// As [`even`]. A layer without FLOPs never loses anything, which can put a target out of reach.
pub fn by_flops(layers: &[Layer], limits: &[Limit], target: Target) -> Result<Vec<usize>, AllocationError> {
    fill(layers, limits, target, |layer, level| {
        let layer = layers[layer];
        layer.weights() as f64 * (level * layer.flops_per_weight()).min(1.0)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn layer(shape: [usize; 4], pixels: u64) -> Layer {
        Layer { shape, flops: 2 * pixels * shape.iter().product::<usize>() as u64 }
    }

    fn free(layers: &[Layer]) -> Vec<Limit> {
        vec![Limit::default(); layers.len()]
    }

    #[test]
    fn uniform_rounds_each_layer_on_its_own() {
        let layers = [5, 7, 15, 1].map(|n| layer([n, 1, 1, 1], 1));
        // 2.5, 3.5, 7.5, 0.5: halves to even, and the last layer keeps its only weight.
        assert_eq!(uniform(&layers, &free(&layers), 0.5).unwrap(), [2, 4, 8, 0]);
        assert_eq!(even(&layers, &free(&layers), Target::Weights(0.5)).unwrap().iter().sum::<usize>(), 14);
    }

    #[test]
    fn erk_by_hand() {
        // n = 4, 100, 900; sums 6, 22, 38 (1x1: in + out + 2; 3x3 of 10 x 10: 10 + 10 + 3 + 3 = 26).
        let layers = [layer([2, 2, 1, 1], 1), layer([10, 10, 1, 1], 1), layer([10, 10, 3, 3], 1)];
        // Half of 1004 stays: 502. ε · (6 + 22 + 26) = 502 gives ε = 9.30: layers 0 (55.8 of 4) and 1 (204 of
        // 100) would be more than dense. They stay dense; layer 2 keeps 502 - 104 = 398.
        let lost = erk(&layers, &free(&layers), Target::Weights(0.5)).unwrap();
        assert_eq!(lost, [0, 0, 502]);
        // At 95 % 50 of 1004 stay: ε · 54 = 50 gives 5.6 of 4, so layer 0 is dense, and ε · 48 = 46 gives
        // 21.08 and 24.92.
        let lost = erk(&layers, &free(&layers), Target::Weights(0.95)).unwrap();
        assert_eq!(lost, [0, 79, 875]);
    }

    #[test]
    fn flops_by_hand() {
        // Equal weights; a zero of the first saves four times as many FLOPs.
        let layers = [layer([10, 10, 1, 1], 400), layer([10, 10, 1, 1], 100)];
        let at = |target, most| {
            let limits = [Limit { least: 0.0, most }, Limit::default()];
            by_flops(&layers, &limits, target).unwrap()
        };
        // 4x + x = 50 weights.
        assert_eq!(at(Target::Weights(0.25), 1.0), [40, 10]);
        // 4x + x = 100 would take 80 of the first; the limit moves 30 to the second.
        assert_eq!(at(Target::Weights(0.5), 0.5), [50, 50]);
        // Half of 500 units: 4 · 4x + x = 250 gives x = 14.7 and 58.8; 58 and 15 would be 247.
        let lost = at(Target::Flops(0.5), 1.0);
        assert_eq!(lost, [59, 15]);
        assert_eq!(even(&layers, &free(&layers), Target::Flops(0.5)).unwrap(), [50, 50]);
    }

    #[test]
    fn bad_input_is_named() {
        let layers = [layer([10, 10, 1, 1], 1); 2];
        for amount in [1.0, -0.1, f64::NAN] {
            for target in [Target::Weights(amount), Target::Flops(amount)] {
                let error = even(&layers, &free(&layers), target);
                assert!(matches!(error, Err(AllocationError::Amount(a)) if a.to_bits() == amount.to_bits()));
            }
            assert!(matches!(uniform(&layers, &free(&layers), amount), Err(AllocationError::Amount(_))));
        }
        let limits = [Limit { least: 0.1, most: 0.3 }, Limit { least: 0.0, most: 0.5 }];
        for (amount, asked) in [(0.7, 140.0), (0.04, 8.0)] {
            let expected = AllocationError::Unreachable { asked, least: 10.0, most: 80.0, unit: "weights" };
            assert_eq!(erk(&layers, &limits, Target::Weights(amount)), Err(expected));
        }
        let idle = [Layer { flops: 0, ..layers[0] }, layers[1]];
        let error = by_flops(&idle, &free(&idle), Target::Weights(0.6)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "120 weights are to be removed but the limits of the layers allow 0 to 99; change the amount or the limits"
        );
    }

    /// Layers, and limits that leave room.
    fn network() -> impl Strategy<Value = (Vec<Layer>, Vec<Limit>)> {
        let one = (1usize..30, 1usize..30, 1usize..4, 1u64..500, 0.0..0.3f64, 0.5..=1.0f64);
        prop::collection::vec(one, 1..12).prop_map(|all| {
            let part =
                |(out, inp, k, pixels, least, most)| (layer([out, inp, k, k], pixels), Limit { least, most });
            all.into_iter().map(part).unzip()
        })
    }

    type Allocation = fn(&[Layer], &[Limit], Target) -> Result<Vec<usize>, AllocationError>;

    proptest! {
        #[test]
        fn totals_are_exact_and_limits_hold(
            (layers, limits) in network(), (low, high) in (0.0..1.0f64, 0.0..1.0f64), flops in any::<bool>(),
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let target = |amount| if flops { Target::Flops(amount) } else { Target::Weights(amount) };
            for allocation in [even, erk, by_flops] as [Allocation; 3] {
                let both = [low, high].map(|amount| allocation(&layers, &limits, target(amount)));
                for (result, amount) in both.iter().zip([low, high]) {
                    let goal = target(amount).goal(&layers).unwrap();
                    let bounds = bounds(&weights(&layers), &limits).unwrap();
                    match result {
                        Ok(counts) => {
                            let within = counts.iter().zip(&bounds).all(|(c, b)| b.clamp(*c) == *c);
                            prop_assert!(within, "{counts:?} {bounds:?}");
                            let over = goal.removed(counts) - goal.asked;
                            let unit = if flops { goal.each.iter().copied().fold(0.0, f64::max) } else { 0.5 };
                            prop_assert!((-1e-6..=unit * (1.0 + 1e-9)).contains(&over), "{over}");
                        }
                        Err(error) => {
                            let least: Vec<usize> = bounds.iter().map(|bounds| bounds.least).collect();
                            let most: Vec<usize> = bounds.iter().map(|bounds| bounds.most).collect();
                            let range = goal.removed(&least)..=goal.removed(&most);
                            prop_assert!(!range.contains(&goal.asked), "{error} {range:?}");
                        }
                    }
                }
                if let [Ok(low), Ok(high)] = both {
                    prop_assert!(low.iter().zip(&high).all(|(l, h)| l <= h), "{low:?} {high:?}");
                }
            }
        }

        #[test]
        fn erk_is_the_iteration_of_the_paper((layers, _) in network(), amount in 0.0..0.9f64) {
            let Ok(lost) = erk(&layers, &free(&layers), Target::Weights(amount)) else { return Ok(()) };
            let size = |layer: &Layer| (layer.weights() as f64, layer.shape.iter().sum::<usize>() as f64);
            let total: usize = layers.iter().map(Layer::weights).sum();
            let mut dense = vec![false; layers.len()];
            let epsilon = loop {
                let all = || layers.iter().map(size).zip(&dense);
                let fixed: f64 = all().filter(|(_, dense)| **dense).map(|((n, _), _)| n).sum();
                let open: f64 = all().filter(|(_, dense)| !**dense).map(|((_, sum), _)| sum).sum();
                let keep = (total as f64 - (amount * total as f64).round_ties_even() - fixed).max(0.0);
                let epsilon = keep / open;
                let over = (0..layers.len()).find(|index| {
                    let (n, sum) = size(&layers[*index]);
                    !dense[*index] && epsilon * sum > n
                });
                match over {
                    Some(index) => dense[index] = true,
                    None => break epsilon,
                }
            };
            for ((layer, lost), dense) in layers.iter().zip(&lost).zip(&dense) {
                let (n, sum) = size(layer);
                let expected = if *dense { 0.0 } else { (n - epsilon * sum).min(n - 1.0) };
                // The total is off by half a weight of each layer until the level makes up for it.
                let rounding = 1.0 + 0.5 * layers.len() as f64;
                prop_assert!((*lost as f64 - expected).abs() < rounding, "{lost} {expected}");
            }
        }

        #[test]
        fn by_flops_saves_no_less_than_even((layers, _) in network(), amount in 0.0..0.9f64) {
            let target = Target::Weights(amount);
            let results = (by_flops(&layers, &free(&layers), target), even(&layers, &free(&layers), target));
            let (Ok(by_flops), Ok(even)) = results else { return Ok(()) };
            let saved = |counts: &[usize]| Target::Flops(0.0).goal(&layers).unwrap().removed(counts);
            // Rounding moves at most half a weight in each layer.
            let rounding: f64 = layers.iter().map(Layer::flops_per_weight).sum();
            prop_assert!(saved(&by_flops) >= saved(&even) - rounding);
        }
    }
}
