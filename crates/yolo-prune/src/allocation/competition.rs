//! Allocation by scores that compete over all layers, and the scores of LAMP.

use super::error::AllocationError;
use super::layer::{Bounds, Limit, bounds, check_amount};

/// How many weights of each layer are among the `round(amount · total)` smallest scores, halves to even.
///
/// Without limits these are the counts of [`masks`](crate::pattern::masks) for unstructured sparsity. With
/// limits, the smallest scores of a layer are removed until `least` is reached, its largest stay once
/// `most` is; the rest compete. Of equal scores those of the first layers are removed. Scores are at least 0 and not
/// NaN.
///
/// # Errors
/// An amount outside `[0, 1)`, limits that are not fractions or do not allow the amount, a layer without
/// weights.
pub fn global(scores: &[&[f32]], limits: &[Limit], amount: f64) -> Result<Vec<usize>, AllocationError> {
    check_amount(amount)?;
    let weights: Vec<usize> = scores.iter().map(|scores| scores.len()).collect();
    let bounds = bounds(&weights, limits)?;
    let sum = |of: fn(&Bounds) -> usize| bounds.iter().map(of).sum::<usize>();
    let (least, most) = (sum(|bounds| bounds.least), sum(|bounds| bounds.most));
    let asked = (amount * weights.iter().sum::<usize>() as f64).round_ties_even() as usize;
    if !(least..=most).contains(&asked) {
        let [asked, least, most] = [asked, least, most].map(|count| count as f64);
        return Err(AllocationError::Unreachable { asked, least, most, unit: "weights" });
    }
    Ok(competing(scores, &bounds, asked))
}

/// Bits of a score that the first histogram sorts by; the second sorts by the other 16, without the sign.
const HIGH_BITS: u32 = 15;
const LOW_BITS: u32 = 31 - HIGH_BITS;

fn competing(scores: &[&[f32]], bounds: &[Bounds], asked: usize) -> Vec<usize> {
    // Scores order like their bits. Two histograms of each layer find the score at which the limited counts
    // reach the total: `below` counts the scores of each layer below the current bucket.
    let mut below = vec![0; scores.len()];
    let keys = |layer: usize| scores[layer].iter().map(|score| score.to_bits() & 0x7fff_ffff);
    let high =
        histograms(scores.len(), HIGH_BITS, |layer, bin| keys(layer).for_each(|key| bin(key >> LOW_BITS)));
    let bucket = descend(&high, &mut below, bounds, asked);
    drop(high);
    let low = histograms(scores.len(), LOW_BITS, |layer, bin| {
        let inside = keys(layer).filter(|key| key >> LOW_BITS == bucket as u32);
        inside.for_each(|key| bin(key & ((1 << LOW_BITS) - 1)));
    });
    let key = descend(&low, &mut below, bounds, asked);

    // Layers before, and with, the scores that equal the cut.
    let mut counts: Vec<usize> =
        below.iter().zip(bounds).map(|(below, bounds)| bounds.clamp(*below)).collect();
    let mut missing = asked - counts.iter().sum::<usize>();
    for (layer, count) in counts.iter_mut().enumerate() {
        let with_ties = bounds[layer].clamp(below[layer] + low[layer][key] as usize);
        let more = missing.min(with_ties - *count);
        *count += more;
        missing -= more;
    }
    counts
}

/// One histogram per layer; `fill` bins the keys of a layer.
fn histograms(layers: usize, bits: u32, fill: impl Fn(usize, &mut dyn FnMut(u32))) -> Vec<Vec<u32>> {
    let histogram = |layer| {
        let mut histogram = vec![0; 1 << bits];
        fill(layer, &mut |key| histogram[key as usize] += 1);
        histogram
    };
    (0..layers).map(histogram).collect()
}

/// The first bucket with which the limited counts reach `asked`; adds the buckets before it to `below`.
fn descend(histograms: &[Vec<u32>], below: &mut [usize], bounds: &[Bounds], asked: usize) -> usize {
    let buckets = histograms.first().map_or(0, Vec::len);
    for bucket in 0..buckets {
        let with =
            |(layer, below): (usize, &usize)| bounds[layer].clamp(below + histograms[layer][bucket] as usize);
        if below.iter().enumerate().map(with).sum::<usize>() >= asked {
            return bucket;
        }
        below.iter_mut().zip(histograms).for_each(|(below, histogram)| *below += histogram[bucket] as usize);
    }
    // Only without layers: everything is below the end, and the limits allow the total.
    0
}

/// The scores of LAMP: the square of a score over the sum of the squares of those that stay while it goes
/// (Lee et al., "Layer-Adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021).
///
/// With the weights of a layer in ascending order (equal ones in their given order), the score of weight `u` is
/// `s[u]² / Σ s[v]²` over all `v` from `u` on. The order within a layer stays the same; over layers the scores
/// of LAMP can compete ([`global`]). The largest of every layer scores 1, so no layer is emptied before all the
/// others. A score of 0 stays 0.
///
/// # Panics
/// If there are more than 2³² scores.
pub fn lamp(scores: &[f32]) -> Vec<f32> {
    assert!(u32::try_from(scores.len()).is_ok(), "a tensor has less than 2^32 weights");
    let mut lamp = vec![0.0; scores.len()];
    let mut remaining = 0.0f64;
    for (magnitude, index) in ascending(scores).into_iter().rev() {
        let square = f64::from(f32::from_bits(magnitude)).powi(2);
        remaining += square;
        if square > 0.0 {
            lamp[index as usize] = (square / remaining) as f32;
        }
    }
    lamp
}

/// The magnitudes of `scores` as bits, each with its index, in ascending order and equal ones in their given
/// order.
fn ascending(scores: &[f32]) -> Vec<(u32, u32)> {
    // A radix sort: a comparison sort of the weights of yolov5x takes 9 s.
    const DIGIT_BITS: u32 = 11;
    let mut pairs: Vec<(u32, u32)> = scores.iter().map(|score| score.abs().to_bits()).zip(0..).collect();
    let mut sorted = vec![(0, 0); pairs.len()];
    for shift in (0..31).step_by(DIGIT_BITS as usize) {
        let digit = |key: u32| (key >> shift & ((1 << DIGIT_BITS) - 1)) as usize;
        let mut next = vec![0; 1 << DIGIT_BITS];
        pairs.iter().for_each(|(key, _)| next[digit(*key)] += 1);
        let mut first = 0;
        next.iter_mut().for_each(|next| first += std::mem::replace(next, first));
        for pair in &pairs {
            let place = &mut next[digit(pair.0)];
            sorted[*place] = *pair;
            *place += 1;
        }
        std::mem::swap(&mut pairs, &mut sorted);
    }
    pairs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mask::Mask;
    use crate::pattern::{Scores, Structure, masks};
    use proptest::prelude::*;

    #[test]
    fn lamp_by_hand() {
        // Ascending 1 1 2 3, squares 1 1 4 9: sums from each on 15 14 13 9.
        let expected = [1.0, 1.0 / 15.0, 4.0 / 13.0, 1.0 / 14.0].map(|v: f64| v as f32);
        assert_eq!(lamp(&[3.0, 1.0, 2.0, 1.0]), expected);
        assert_eq!(lamp(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(lamp(&[0.0, 5.0]), [0.0, 1.0]);
        assert!(lamp(&[]).is_empty());
        // Squares that neither overflow nor vanish.
        assert_eq!(lamp(&[1e-30, 1e30])[1], 1.0);
        assert!((lamp(&[1e-30, 2e-30])[0] - 0.2).abs() < 1e-6);
    }

    #[test]
    fn lamp_leaves_the_largest_of_every_layer_to_the_end() {
        let tiny = lamp(&[1e-6, 2e-6, 3e-6]);
        let large = lamp(&[1.0, 2.0, 3.0, 4.0]);
        let counts = global(&[&tiny, &large], &[Limit::default(); 2], 5.0 / 7.0).unwrap();
        assert_eq!(counts, [2, 3]);
    }

    #[test]
    fn bad_input_is_named() {
        let limits = [Limit { least: 0.0, most: 0.25 }; 2];
        let unreachable = AllocationError::Unreachable { asked: 4.0, least: 0.0, most: 2.0, unit: "weights" };
        assert_eq!(global(&[&[1.0; 4], &[1.0; 4]], &limits, 0.5), Err(unreachable));
        assert_eq!(global(&[&[1.0; 4], &[]], &limits, 0.5), Err(AllocationError::EmptyLayer(1)));
        assert_eq!(global(&[], &[], 0.5), Ok(vec![]));
        assert_eq!(global(&[&[1.0]], &limits[..1], 1.0), Err(AllocationError::Amount(1.0)));
    }

    /// Layers of scores with many equal ones.
    fn layers() -> impl Strategy<Value = Vec<Vec<f32>>> {
        let score = prop_oneof![(0u8..5).prop_map(|v| f32::from(v) * 0.37), 0.0..1.0f32];
        prop::collection::vec(prop::collection::vec(score, 1..40), 1..6)
    }

    /// Takes one score after the other: first what the least counts force, then the smallest of a layer that
    /// may still lose one.
    fn one_by_one(layers: &[Vec<f32>], bounds: &[Bounds], asked: usize) -> Vec<usize> {
        let sorted: Vec<Vec<f32>> = layers
            .iter()
            .map(|scores| {
                let mut scores = scores.clone();
                scores.sort_by(f32::total_cmp);
                scores
            })
            .collect();
        let mut counts: Vec<usize> = bounds.iter().map(|bounds| bounds.least).collect();
        for _ in counts.iter().sum::<usize>()..asked {
            let open = (0..layers.len()).filter(|layer| counts[*layer] < bounds[*layer].most);
            let next = open.min_by(|a, b| sorted[*a][counts[*a]].total_cmp(&sorted[*b][counts[*b]])).unwrap();
            counts[next] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_masks(layers in layers(), fraction in 0.0..1.0f64) {
            let views: Vec<&[f32]> = layers.iter().map(Vec::as_slice).collect();
            let limits = vec![Limit::default(); views.len()];
            let Ok(counts) = global(&views, &limits, fraction) else { return Ok(()) };
            let asked: usize = counts.iter().sum();
            let tensors: Vec<Scores<'_>> =
                views.iter().map(|values| Scores { values, shape: [values.len(), 1, 1, 1] }).collect();
            let masks = masks(&tensors, Structure::Unstructured, asked).unwrap();
            let pruned: Vec<usize> = masks.iter().map(Mask::pruned).collect();
            // One weight of every layer stays, which masks do not know.
            if pruned.iter().zip(&views).all(|(pruned, view)| *pruned < view.len()) {
                prop_assert_eq!(counts, pruned);
            }
        }

        #[test]
        fn limits_hold_and_the_rest_competes(
            layers in layers(),
            (least, most) in (0.0..0.4f64, 0.4..=1.0f64),
            amounts in (0.0..1.0f64, 0.0..1.0f64),
        ) {
            let views: Vec<&[f32]> = layers.iter().map(Vec::as_slice).collect();
            let limits = vec![Limit { least, most }; views.len()];
            let weights: Vec<usize> = views.iter().map(|view| view.len()).collect();
            let bounds = bounds(&weights, &limits).unwrap();
            let mut results = Vec::new();
            for amount in [amounts.0.min(amounts.1), amounts.0.max(amounts.1)] {
                let asked = (amount * weights.iter().sum::<usize>() as f64).round_ties_even() as usize;
                let result = global(&views, &limits, amount);
                if let Ok(counts) = &result {
                    prop_assert_eq!(counts, &one_by_one(&layers, &bounds, asked));
                    prop_assert_eq!(counts.iter().sum::<usize>(), asked);
                }
                results.push(result);
            }
            if let [Ok(low), Ok(high)] = &results[..] {
                prop_assert!(low.iter().zip(high).all(|(low, high)| low <= high));
            }
        }

        #[test]
        fn ascending_is_a_stable_sort(
            scores in prop::collection::vec(prop_oneof![-1e-40..1e38f32, (0u8..5).prop_map(f32::from)], 0..60),
        ) {
            let mut expected: Vec<(f32, u32)> = scores.iter().map(|score| score.abs()).zip(0..).collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            let found = ascending(&scores).into_iter().map(|(key, index)| (f32::from_bits(key), index));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }

        #[test]
        fn lamp_keeps_the_order_within_a_layer(scores in prop::collection::vec(0.0..10.0f32, 0..50)) {
            let lamp = lamp(&scores);
            for (a, x) in scores.iter().enumerate() {
                for (b, y) in scores.iter().enumerate() {
                    prop_assert!(x > y || lamp[a] <= lamp[b] || (x == y && a > b));
                }
            }
        }
    }
}
