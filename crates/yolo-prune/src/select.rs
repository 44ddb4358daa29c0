//! Selection of the smallest magnitudes, exact to the element and without sorting.

/// A threshold: every magnitude below `key` is removed, and the first `ties` that equal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    key: u32,
    ties: usize,
}

/// Bits of the magnitude that the first pass sorts by; the second sorts by the rest.
const HIGH_BITS: u32 = 16;
const LOW_BITS: u32 = 31 - HIGH_BITS;

/// The cut that takes exactly `count` of the elements of `tensors`, smallest magnitudes first. Among equal
/// magnitudes the first go, in the order of `tensors` and of their elements.
///
/// Magnitudes of `f32` order like their bits, so two histograms, over the high and then the low bits, find the
/// cut without a copy. NaN is larger than every number and therefore goes last.
pub(crate) fn cut<'a>(tensors: impl Iterator<Item = &'a [f32]> + Clone, count: usize) -> Cut {
    let mut high = vec![0usize; 1 << HIGH_BITS];
    for value in tensors.clone().flatten() {
        high[(magnitude(*value) >> LOW_BITS) as usize] += 1;
    }
    let (bucket, below) = bucket_of(&high, count);
    let mut low = vec![0usize; 1 << LOW_BITS];
    for key in tensors.flatten().map(|value| magnitude(*value)) {
        if key >> LOW_BITS == bucket as u32 {
            low[(key & ((1 << LOW_BITS) - 1)) as usize] += 1;
        }
    }
    let (low_bucket, below_low) = bucket_of(&low, count - below);
    Cut { key: (bucket as u32) << LOW_BITS | low_bucket as u32, ties: count - below - below_low }
}

/// Index of the bucket that holds the `count`-th element (counted from 0), and the elements before it.
fn bucket_of(histogram: &[usize], count: usize) -> (usize, usize) {
    let mut below = 0;
    for (bucket, n) in histogram.iter().enumerate() {
        if below + n > count {
            return (bucket, below);
        }
        below += n;
    }
    // Everything goes: the cut runs behind the last bucket that holds something.
    let last = histogram.iter().rposition(|n| *n > 0).unwrap_or(0);
    (last, below - histogram[last])
}

fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

impl Cut {
    /// Indices of the elements of `values` that go. Call it once per tensor, in the order given to [`cut`].
    pub(crate) fn take(&mut self, values: &[f32]) -> Vec<usize> {
        let goes = |(index, value): (usize, &f32)| {
            let key = magnitude(*value);
            let tie = key == self.key && self.ties > 0;
            self.ties -= usize::from(tie);
            (key < self.key || tie).then_some(index)
        };
        values.iter().enumerate().filter_map(goes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(tensors: &[Vec<f32>], count: usize) -> Vec<(usize, usize)> {
        let mut cut = cut(tensors.iter().map(Vec::as_slice), count);
        let each = tensors.iter().enumerate();
        each.flat_map(|(t, values)| cut.take(values).into_iter().map(move |index| (t, index))).collect()
    }

    #[test]
    fn ties_go_in_order() {
        let tensors = [vec![2.0, -1.0, 1.0], vec![1.0, 0.5, -1.0]];
        assert_eq!(taken(&tensors, 3), [(0, 1), (0, 2), (1, 1)]);
        assert_eq!(taken(&tensors, 0), []);
        assert_eq!(taken(&tensors, 6).len(), 6);
        assert_eq!(taken(&[vec![]], 0), []);
    }

    proptest! {
        /// Against a stable sort by magnitude.
        #[test]
        fn equals_a_stable_sort(
            tensors in prop::collection::vec(
                prop::collection::vec(prop_oneof![-2i8..3, Just(100)].prop_map(|v| f32::from(v) * 0.37), 0..40), 1..5),
            fraction in 0.0f64..=1.0,
        ) {
            let mut all: Vec<(usize, usize, f32)> = Vec::new();
            for (t, values) in tensors.iter().enumerate() {
                all.extend(values.iter().enumerate().map(|(i, v)| (t, i, v.abs())));
            }
            let count = (all.len() as f64 * fraction) as usize;
            all.sort_by(|a, b| a.2.total_cmp(&b.2));
            let mut expected: Vec<(usize, usize)> = all[..count].iter().map(|e| (e.0, e.1)).collect();
            expected.sort_unstable();
            prop_assert_eq!(taken(&tensors, count), expected);
        }
    }
}
