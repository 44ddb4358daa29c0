//! An order of input channels under which n:m loses less.
//!
//! n:m keeps the best `n` of every `m` consecutive input channels. Where the channels come in another order,
//! other weights compete, so an order that spreads the important ones keeps more of the total score (Pool and
//! Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021). The search is theirs in spirit: swaps of two
//! channels of different groups, best first, until no swap gains.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::error::PatternError;
use super::selection::{Scores, check_shapes};
use super::structure::{Structure, kept_of};

/// Rows of the score matrix that the search uses, times the square of the channels. A larger matrix is sampled, so that
/// one pass over all swaps costs about 0.1 s.
const LOOK: usize = 200_000_000;
/// Rows that are always used, if there are as many.
const MIN_ROWS: usize = 256;
/// Work of a whole search, in the same unit.
const WORK: usize = 1_600_000_000;
/// Orders that the search starts from: the given one, then shuffled ones while a quarter of the work lasts.
const STARTS: u64 = 16;

/// Finds an order of the input channels that all of `consumers` read, under which n:m keeps a larger total
/// score.
///
/// `order[position]` is the channel that comes to that position: reorder the input channels of every consumer
/// and the output channels of whatever produces them in this way. Channels ascend within a group and groups
/// ascend by their first channel (a short last group stays the last), so the identity comes back where
/// nothing is gained.
///
/// The total of the scores kept ([`kept_score`]) is never below that of the identity. The result depends on
/// the input alone. Work is bounded: half a second to a second on one core for 512 channels; of large tensors the search
/// samples the rows `(out, kh, kw)` and judges the result on all of them.
///
/// # Errors
/// n:m out of range, scores that do not fill their shape, consumers of different numbers of channels.
pub fn search_permutation(consumers: &[Scores<'_>], n: usize, m: usize) -> Result<Vec<usize>, PatternError> {
    let channels = check(consumers, n, m)?;
    let identity: Vec<usize> = (0..channels).collect();
    let rows = sampled_rows(consumers, channels);
    let columns = gather(consumers, channels, &rows);
    let look = channels * channels * rows.len();
    // A few looks in any case.
    let mut work = WORK.max(6 * look);
    let (mut best, mut most) = (identity.clone(), total_kept(consumers, &identity, n, m));
    for start in 0..STARTS {
        if start > 0 && work < WORK - WORK / 4 {
            break;
        }
        let mut search = Search::new(&columns, rows.len(), shuffled(channels, start), n, m);
        let mut round = search.refresh();
        while round <= work {
            work -= round;
            if !search.swap_best() {
                break;
            }
            round = search.refresh();
        }
        let kept = total_kept(consumers, &search.order, n, m);
        // More than what sums in another order differ by.
        if kept > most * (1.0 + 1e-9) {
            (best, most) = (search.order, kept);
        }
    }
    Ok(ascending(best, m))
}

/// Total of the scores that n:m keeps over all consumers when their input channels come in `order`.
///
/// # Errors
/// As [`search_permutation`].
///
/// # Panics
/// If `order` names a channel that there is not.
pub fn kept_score(
    consumers: &[Scores<'_>],
    order: &[usize],
    n: usize,
    m: usize,
) -> Result<f64, PatternError> {
    check(consumers, n, m)?;
    Ok(total_kept(consumers, order, n, m))
}

/// Number of channels that all consumers read.
fn check(consumers: &[Scores<'_>], n: usize, m: usize) -> Result<usize, PatternError> {
    Structure::NofM { n, m }.check()?;
    check_shapes(consumers)?;
    let expected = consumers.first().map_or(0, |first| first.shape[1]);
    match consumers.iter().position(|consumer| consumer.shape[1] != expected) {
        Some(tensor) => Err(PatternError::Channels { tensor, found: consumers[tensor].shape[1], expected }),
        None => Ok(expected),
    }
}

fn total_kept(consumers: &[Scores<'_>], order: &[usize], n: usize, m: usize) -> f64 {
    let mut total = 0.0;
    let mut group = Vec::with_capacity(m);
    for Scores { values, shape: [_, inp, kh, kw] } in consumers {
        let taps = kh * kw;
        for out in values.chunks((inp * taps).max(1)) {
            for members in order.chunks(m) {
                for tap in 0..taps {
                    group.clear();
                    group.extend(members.iter().map(|channel| out[channel * taps + tap]));
                    group.sort_unstable_by(|a, b| b.total_cmp(a));
                    let kept = &group[..kept_of(n, m, group.len())];
                    total += kept.iter().map(|score| f64::from(*score)).sum::<f64>();
                }
            }
        }
    }
    total
}

/// Which rows `(consumer, out, kh, kw)` the search uses: all, or one at random from each of equal
/// stretches.
fn sampled_rows(consumers: &[Scores<'_>], channels: usize) -> Vec<usize> {
    let all: usize = consumers.iter().map(|Scores { shape: [out, _, kh, kw], .. }| out * kh * kw).sum();
    let most = (LOOK / (channels * channels).max(1)).max(MIN_ROWS);
    if all <= most {
        return (0..all).collect();
    }
    let mut random = SplitMix64::seed_from_u64(1);
    let stretch = |i: usize| i * all / most;
    (0..most).map(|i| stretch(i) + below(&mut random, stretch(i + 1) - stretch(i))).collect()
}

/// The scores of `rows`, channel by channel.
fn gather(consumers: &[Scores<'_>], channels: usize, rows: &[usize]) -> Vec<f32> {
    let mut columns = vec![0.0; channels * rows.len()];
    let mut first = 0;
    for Scores { values, shape: [out, inp, kh, kw] } in consumers {
        let (taps, behind) = (kh * kw, first + out * kh * kw);
        let here = rows.partition_point(|row| *row < first)..rows.partition_point(|row| *row < behind);
        for index in here {
            let (o, tap) = ((rows[index] - first) / taps, (rows[index] - first) % taps);
            for channel in 0..channels {
                columns[channel * rows.len() + index] = values[(o * inp + channel) * taps + tap];
            }
        }
        first = behind;
    }
    columns
}

/// The `start`-th order to search from.
fn shuffled(channels: usize, start: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..channels).collect();
    if start > 0 {
        let mut random = SplitMix64::seed_from_u64(start);
        for last in (1..channels).rev() {
            order.swap(last, below(&mut random, last + 1));
        }
    }
    order
}

/// The same groups, channels and groups in ascending order.
fn ascending(mut order: Vec<usize>, m: usize) -> Vec<usize> {
    order.chunks_mut(m).for_each(<[usize]>::sort_unstable);
    let full = order.len() / m * m;
    let mut groups: Vec<&[usize]> = order[..full].chunks(m).collect();
    groups.sort_unstable();
    let last = &order[full..];
    groups.into_iter().chain([last]).flatten().copied().collect()
}

/// A number below `bound`. The generator starts from a constant: a search must not depend on anything but its input.
fn below(random: &mut SplitMix64, bound: usize) -> usize {
    (random.next_u64() % bound as u64) as usize
}

/// An order, and what every group would keep with any channel in any of its places.
struct Search<'a> {
    /// `[channels][rows]`.
    columns: &'a [f32],
    rows: usize,
    n: usize,
    m: usize,
    order: Vec<usize>,
    /// `[position][channel]`: score that the group of `position` keeps with `channel` there.
    placed: Vec<f64>,
    /// Whether the row of `placed` of a group is out of date.
    stale: Vec<bool>,
}

/// A swap of two positions, and the score it adds.
struct Swap {
    gain: f64,
    a: usize,
    b: usize,
}

impl<'a> Search<'a> {
    fn new(columns: &'a [f32], rows: usize, order: Vec<usize>, n: usize, m: usize) -> Self {
        let channels = order.len();
        let placed = vec![0.0; channels * channels];
        Self { columns, rows, n, m, order, placed, stale: vec![true; channels.div_ceil(m)] }
    }

    /// Brings `placed` up to date; returns the work done.
    ///
    /// With `k` places to keep, a group without one member keeps its best `k` scores of a row; a channel that
    /// joins adds what its score exceeds the `k`-th of them by.
    fn refresh(&mut self) -> usize {
        let channels = self.order.len();
        let mut work = 0;
        let mut threshold = vec![0.0; self.rows];
        for group in 0..self.stale.len() {
            if !std::mem::take(&mut self.stale[group]) {
                continue;
            }
            for position in group * self.m..channels.min((group + 1) * self.m) {
                let base = self.without(position, &mut threshold);
                for channel in 0..channels {
                    let gain = excess(self.column(channel), &threshold);
                    self.placed[position * channels + channel] = base + gain;
                }
                work += channels * self.rows;
            }
        }
        work
    }

    /// What the group of `position` keeps without it; sets `threshold` to the last score kept in each row.
    fn without(&self, position: usize, threshold: &mut [f32]) -> f64 {
        let group = position / self.m * self.m;
        let members = group..self.order.len().min(group + self.m);
        let keep = kept_of(self.n, self.m, members.len());
        let others: Vec<&[f32]> =
            members.filter(|other| *other != position).map(|other| self.column(self.order[other])).collect();
        let mut best = vec![0.0f32; keep];
        let mut base = 0.0;
        for (row, last) in threshold.iter_mut().enumerate() {
            best.fill(0.0);
            for other in &others {
                let mut score = other[row];
                for place in &mut best {
                    (*place, score) = if score > *place { (score, *place) } else { (*place, score) };
                }
            }
            base += best.iter().map(|score| f64::from(*score)).sum::<f64>();
            *last = best[keep - 1];
        }
        base
    }

    fn column(&self, channel: usize) -> &'a [f32] {
        &self.columns[channel * self.rows..(channel + 1) * self.rows]
    }

    /// Makes the swaps that gain most, at most one in each group, whose gains therefore add up. False if none
    /// gains.
    fn swap_best(&mut self) -> bool {
        let channels = self.order.len();
        let mut swaps = Vec::new();
        for a in 0..channels {
            for b in (a / self.m + 1) * self.m..channels {
                let placed = |position: usize, of: usize| self.placed[position * channels + self.order[of]];
                let before = placed(a, a) + placed(b, b);
                let gain = placed(a, b) + placed(b, a) - before;
                // More than rounding, or two orders could swap for ever.
                if gain > 1e-5 * before {
                    swaps.push(Swap { gain, a, b });
                }
            }
        }
        swaps.sort_by(|x, y| y.gain.total_cmp(&x.gain));
        for Swap { a, b, .. } in &swaps {
            let (group_a, group_b) = (a / self.m, b / self.m);
            if !self.stale[group_a] && !self.stale[group_b] {
                self.order.swap(*a, *b);
                self.stale[group_a] = true;
                self.stale[group_b] = true;
            }
        }
        !swaps.is_empty()
    }
}

/// Sum of what `scores` exceed `threshold` by.
fn excess(scores: &[f32], threshold: &[f32]) -> f64 {
    // Independent sums, so that the loop is vectorised.
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (blocks, tail) = scores.as_chunks::<LANES>();
    let (threshold_blocks, threshold_tail) = threshold.as_chunks::<LANES>();
    for (block, limits) in blocks.iter().zip(threshold_blocks) {
        for lane in 0..LANES {
            let over = block[lane] - limits[lane];
            sums[lane] += if over > 0.0 { over } else { 0.0 };
        }
    }
    let tail = tail.iter().zip(threshold_tail).map(|(score, limit)| f64::from((score - limit).max(0.0)));
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + tail.sum::<f64>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn random_scores(len: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::seed_from_u64(seed);
        (0..len).map(|_| below(&mut random, 1_000_000) as f32 / 1e6).collect()
    }

    /// Every order that differs in its groups.
    fn best_by_force(
        consumers: &[Scores<'_>],
        left: &[usize],
        order: &mut Vec<usize>,
        n: usize,
        m: usize,
    ) -> f64 {
        if left.is_empty() {
            return kept_score(consumers, order, n, m).unwrap();
        }
        let mut best = 0.0f64;
        for (index, channel) in left.iter().enumerate() {
            if order.len().is_multiple_of(m) || order[order.len() - 1] < *channel {
                let mut rest = left.to_vec();
                rest.remove(index);
                order.push(*channel);
                best = best.max(best_by_force(consumers, &rest, order, n, m));
                order.pop();
            }
        }
        best
    }

    #[test]
    fn eight_channels_find_the_best_order() {
        for seed in 0..60 {
            let channels = 5 + seed as usize % 4;
            let (a, b) = (random_scores(6 * channels, seed), random_scores(8 * channels, seed + 1000));
            let consumers = [
                Scores { values: &a, shape: [6, channels, 1, 1] },
                Scores { values: &b, shape: [2, channels, 2, 2] },
            ];
            let (n, m) = [(2, 4), (1, 4), (1, 2)][seed as usize % 3];
            let order = search_permutation(&consumers, n, m).unwrap();
            let found = kept_score(&consumers, &order, n, m).unwrap();
            let best = best_by_force(&consumers, &(0..channels).collect::<Vec<_>>(), &mut Vec::new(), n, m);
            assert!((found - best).abs() < 1e-5 * best, "seed {seed}: {found} of {best}");
        }
    }

    #[test]
    fn important_channels_are_spread() {
        // Channels 0 to 3 outweigh the rest: one belongs in each group of 1:4.
        let values: Vec<f32> = (0..16).map(|c| if c < 4 { 10.0 } else { 1.0 }).collect();
        let consumers = [Scores { values: &values, shape: [1, 16, 1, 1] }];
        let order = search_permutation(&consumers, 1, 4).unwrap();
        assert_eq!(kept_score(&consumers, &order, 1, 4).unwrap(), 40.0);
        assert!(order.chunks(4).all(|group| group.iter().filter(|c| **c < 4).count() == 1));
    }

    #[test]
    fn nothing_to_gain_leaves_the_order() {
        let consumers = [Scores { values: &[1.0; 90], shape: [10, 9, 1, 1] }];
        assert_eq!(search_permutation(&consumers, 2, 4).unwrap(), (0..9).collect::<Vec<_>>());
        assert!(search_permutation(&[], 2, 4).unwrap().is_empty());
        let empty = Scores { values: &[], shape: [3, 0, 1, 1] };
        assert!(search_permutation(&[empty], 2, 4).unwrap().is_empty());
        let no_rows = Scores { values: &[], shape: [0, 5, 1, 1] };
        assert_eq!(search_permutation(&[no_rows], 2, 4).unwrap(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_sampled_matrix_is_judged_as_a_whole() {
        let (channels, outs) = (1024, 300);
        let values = random_scores(channels * outs, 3);
        let consumers = [Scores { values: &values, shape: [outs, channels, 1, 1] }];
        assert_eq!(sampled_rows(&consumers, channels).len(), MIN_ROWS);
        let order = search_permutation(&consumers, 2, 4).unwrap();
        let kept = |order: &[usize]| kept_score(&consumers, order, 2, 4).unwrap();
        assert!(kept(&order) > kept(&(0..channels).collect::<Vec<_>>()));
    }

    #[test]
    fn bad_input_is_named() {
        let a = Scores { values: &[1.0; 8], shape: [1, 8, 1, 1] };
        let b = Scores { values: &[1.0; 8], shape: [2, 4, 1, 1] };
        let channels = PatternError::Channels { tensor: 1, found: 4, expected: 8 };
        assert_eq!(search_permutation(&[a, b], 2, 4), Err(channels));
        assert_eq!(search_permutation(&[a], 4, 4), Err(PatternError::NofM { n: 4, m: 4 }));
    }

    proptest! {
        #[test]
        fn never_worse_than_the_given_order(
            (channels, outs) in (1usize..30, 1usize..12), n in 1usize..4, seed in any::<u64>(),
        ) {
            let values = random_scores(channels * outs, seed);
            let consumers = [Scores { values: &values, shape: [outs, channels, 1, 1] }];
            let order = search_permutation(&consumers, n, 4).unwrap();
            let identity: Vec<usize> = (0..channels).collect();
            let kept = |order: &[usize]| kept_score(&consumers, order, n, 4).unwrap();
            prop_assert!(kept(&order) >= kept(&identity) * (1.0 - 1e-12));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, identity);
            prop_assert_eq!(search_permutation(&consumers, n, 4).unwrap(), order);
        }
    }
}
