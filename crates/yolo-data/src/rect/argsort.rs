//! The order in which `numpy.argsort` puts equal keys.
//!
//! [`numpy_argsort`] returns the permutation that numpy's `argsort` (default kind, `float64`, numpy 2.3 and
//! later) returns on x86-64 with AVX-512, where numpy sorts with Intel's x86-simd-sort. That sort is not
//! stable: which of two equal keys comes first follows from its bitonic network and its vectorised partition.
//! This module reproduces the order with scalar code; it takes O(n log n) time, like the original.
//!
//! The original in three steps, each a function here:
//! 1. up to 256 keys go through one bitonic network;
//! 2. more keys are partitioned around the median of eight samples and both sides are sorted in turn;
//! 3. a range that stays large after too many partitions goes to the C++ library's `std::sort`
//!    (an introsort). Ties make this reachable: a range whose smallest key fills most of it is hardly split.
//!
//! An input that contains a NaN goes to `std::sort` as a whole, NaNs last, in numpy and here.
//!
//! With AVX2 but not AVX-512, numpy gives this order up to 256 keys and another one beyond; with neither, always
//! another one. Numpy 2.0 to 2.2 differ only if more than 256 keys are already sorted.

use std::cmp::Ordering;

/// Ranges up to this length are sorted by the network alone.
const NETWORK_LIMIT: usize = 256;

/// Keys in one AVX-512 register; the partition writes the keys of one register at a time.
const LANES: usize = 8;

/// Keys the partition reads at a time: four registers.
const BLOCK: usize = 4 * LANES;

/// Ranges up to this length are left to the final insertion sort by `std::sort` of GNU's C++ library.
const INTROSORT_THRESHOLD: usize = 16;

/// The indices that sort `values` ascending, equal values in the order that `numpy.argsort` leaves them in.
///
/// NaNs come last, as they do there; the module's documentation says which numpy is meant.
pub(super) fn numpy_argsort(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    if values.iter().any(|value| value.is_nan()) {
        introsort(values, &mut order);
    } else if !values.is_sorted() {
        // Sorted values keep their order; without this check, the steps below could still reorder ties.
        let partitions_left = 2 * values.len().ilog2();
        sort_by_partition(values, &mut order, partitions_left);
    }
    order
}

/// Sorts `order` by quicksort down to ranges that the network can take.
///
/// `partitions_left` is how many more times this range may be split before `std::sort` takes over.
fn sort_by_partition(values: &[f64], order: &mut [usize], partitions_left: u32) {
    if partitions_left == 0 {
        introsort(values, order);
    } else if order.len() <= NETWORK_LIMIT {
        sort_with_network(values, order);
    } else {
        let pivot = sampled_median(values, order);
        let split = partition(values, order, pivot);
        let (below, rest) = order.split_at_mut(split);
        if !below.is_empty() {
            sort_by_partition(values, below, partitions_left - 1);
        }
        // A side in which every key is the pivot stays as the partition left it.
        if rest.iter().any(|&index| values[index] > pivot) {
            sort_by_partition(values, rest, partitions_left - 1);
        }
    }
}

/// Sorts `order` with a bitonic network whose comparators all point the same way.
///
/// Sorted runs double in length: a run's upper half is compared with its lower half mirrored, then ever
/// closer pairs are. The original fills the last registers up with infinities. They never move, so leaving
/// out the comparators that reach past the end does the same.
fn sort_with_network(values: &[f64], order: &mut [usize]) {
    let mut run = 2;
    while run / 2 < order.len() {
        compare_pairs(values, order, run, |lane| run - 1 - lane);
        let mut span = run / 2;
        while span > 1 {
            compare_pairs(values, order, span, |lane| lane + span / 2);
            span /= 2;
        }
        run *= 2;
    }
}

/// Within each chunk of `span`, swaps every lane of the lower half with its `partner` if their keys descend.
///
/// Equal keys are never swapped: the vector code moves an index only if its key moves.
fn compare_pairs(values: &[f64], order: &mut [usize], span: usize, partner: impl Fn(usize) -> usize) {
    for chunk in order.chunks_mut(span) {
        for low in 0..span / 2 {
            let high = partner(low);
            if high < chunk.len() && values[chunk[low]] > values[chunk[high]] {
                chunk.swap(low, high);
            }
        }
    }
}

/// The pivot: the fifth smallest of eight keys spread evenly over the range.
fn sampled_median(values: &[f64], order: &[usize]) -> f64 {
    let step = (order.len() - 1) / LANES;
    let mut samples: [f64; LANES] = std::array::from_fn(|lane| values[order[(lane + 1) * step]]);
    samples.sort_by(f64::total_cmp);
    samples[LANES / 2]
}

/// Moves the indices of keys below `pivot` to the front and returns how many there are.
///
/// The range is longer than [`NETWORK_LIMIT`]. Scalar steps first cut it to whole blocks. Then the outermost
/// two blocks are set aside, which frees room at both ends; the other blocks are read from whichever end has
/// less room and written out to both, and the two set aside go last.
fn partition(values: &[f64], order: &mut [usize], pivot: f64) -> usize {
    let (mut left, mut right) = (0, order.len());
    for _ in 0..order.len() % BLOCK {
        if values[order[left]] < pivot {
            left += 1;
        } else {
            right -= 1;
            order.swap(left, right);
        }
    }

    let mut gap = Gap { start: left, end: right };
    let first = read_block(order, left);
    let last = read_block(order, right - BLOCK);
    left += BLOCK;
    right -= BLOCK;
    while left < right {
        let block = if gap.end - right < left - gap.start {
            right -= BLOCK;
            read_block(order, right)
        } else {
            left += BLOCK;
            read_block(order, left - BLOCK)
        };
        gap.write(values, order, &block, pivot);
    }
    gap.write(values, order, &first, pivot);
    gap.write(values, order, &last, pivot);
    gap.start
}

fn read_block(order: &[usize], start: usize) -> [usize; BLOCK] {
    std::array::from_fn(|offset| order[start + offset])
}

/// The part of the range whose final content [`partition`] has not written yet.
struct Gap {
    start: usize,
    end: usize,
}

impl Gap {
    /// Writes a block, register by register: keys below `pivot` to the gap's start, the others to its end.
    ///
    /// Either group keeps its order within the register, but registers pile up at the end back to front.
    fn write(&mut self, values: &[f64], order: &mut [usize], block: &[usize; BLOCK], pivot: f64) {
        for register in block.chunks_exact(LANES) {
            self.end -= register.iter().filter(|&&index| values[index] >= pivot).count();
            let mut above = self.end;
            for &index in register {
                let slot = if values[index] >= pivot { &mut above } else { &mut self.start };
                order[*slot] = index;
                *slot += 1;
            }
        }
    }
}

/// The `std::sort` of GNU's C++ library, with which numpy's Linux builds are made.
fn introsort(values: &[f64], order: &mut [usize]) {
    if let Some(log2) = order.len().checked_ilog2() {
        introsort_coarsely(values, order, 2 * log2);
    }
    // The original ends with an insertion sort, which is stable: any stable sort gives its result.
    order.sort_by(|&a, &b| nan_last(values[a], values[b]));
}

/// Sorts all but ranges of up to [`INTROSORT_THRESHOLD`], which it leaves in place relative to each other.
fn introsort_coarsely(values: &[f64], mut order: &mut [usize], mut partitions_left: u32) {
    while order.len() > INTROSORT_THRESHOLD {
        if partitions_left == 0 {
            heapsort(values, order);
            return;
        }
        partitions_left -= 1;
        let split = partition_by_median_of_three(values, order);
        let (lower, upper) = order.split_at_mut(split);
        introsort_coarsely(values, upper, partitions_left);
        order = lower;
    }
}

/// Hoare's partition; the pivot, the median of the second, middle and last key, waits in the first place.
fn partition_by_median_of_three(values: &[f64], order: &mut [usize]) -> usize {
    let (second, middle, last) = (1, order.len() / 2, order.len() - 1);
    let is_less = |order: &[usize], a: usize, b: usize| less(values[order[a]], values[order[b]]);
    let (low, high) = if is_less(order, second, middle) { (second, middle) } else { (middle, second) };
    let median = if is_less(order, high, last) {
        high
    } else if is_less(order, low, last) {
        last
    } else {
        low
    };
    order.swap(0, median);

    let (mut left, mut right) = (1, order.len());
    loop {
        while is_less(order, left, 0) {
            left += 1;
        }
        right -= 1;
        while is_less(order, 0, right) {
            right -= 1;
        }
        if left >= right {
            return left;
        }
        order.swap(left, right);
        left += 1;
    }
}

/// Sorts with a binary heap, largest key on top.
fn heapsort(values: &[f64], order: &mut [usize]) {
    for root in (0..order.len() / 2).rev() {
        let index = order[root];
        sift(values, order, root, index);
    }
    for end in (1..order.len()).rev() {
        let index = order[end];
        order[end] = order[0];
        sift(values, &mut order[..end], 0, index);
    }
}

/// Puts `index` into the heap below `root`: the hole sinks to a leaf first, then `index` rises from there.
fn sift(values: &[f64], heap: &mut [usize], root: usize, index: usize) {
    let mut hole = root;
    while 2 * hole + 1 < heap.len() {
        let (left, right) = (2 * hole + 1, 2 * hole + 2);
        // The right child wins ties.
        let child =
            if right < heap.len() && !less(values[heap[right]], values[heap[left]]) { right } else { left };
        heap[hole] = heap[child];
        hole = child;
    }
    while hole > root && less(values[heap[(hole - 1) / 2]], values[index]) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = index;
}

fn less(a: f64, b: f64) -> bool {
    nan_last(a, b).is_lt()
}

/// Compares two keys; a NaN is greater than every number and equal to other NaNs.
fn nan_last(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `common` of 16 draws are 0.75, the smallest value; the others are one of 24 values from there upwards.
    fn tied_values(count: usize, common: u64) -> Vec<f64> {
        let mut state = count as u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let draw = state >> 33;
            if draw % 16 < common { 0.75 } else { 0.75 + (draw / 16 % 24) as f64 / 64.0 }
        };
        (0..count).map(|_| next()).collect()
    }

    /// FNV-1a over the indices as little-endian 64-bit integers.
    fn digest(order: &[usize]) -> u64 {
        order
            .iter()
            .flat_map(|&index| (index as u64).to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Digests of `numpy.argsort` by numpy 2.4.6 on an AMD EPYC with AVX-512.
    #[test]
    fn equal_values_come_in_the_order_of_numpy() {
        let golden = [
            (7, 4, 0x9e2c_2250_210b_9442),
            (40, 4, 0x40ab_f0f4_0ef7_3d65),
            (80, 4, 0xc11a_16ef_6f29_2785),
            (128, 4, 0xed0b_4fff_9f00_0905),
            (200, 4, 0x127e_4cf1_7daf_1aa5),
            (300, 4, 0xe4ea_37b2_82da_d9b9),
            (1000, 4, 0x7294_0234_5255_c361),
            (5000, 4, 0xb94f_3d10_1535_9299),
            (300, 15, 0xd7a9_117f_54b8_ca6d),
            (1000, 15, 0xc9f2_94fe_4896_11a1),
            (5000, 15, 0x1e50_df6d_dfcd_7b59),
        ];
        for (count, common, expected) in golden {
            let order = numpy_argsort(&tied_values(count, common));
            assert_eq!(digest(&order), expected, "{count} values, {common} of 16 alike");
        }
    }

    #[test]
    fn a_network_does_not_keep_ties_in_input_order() {
        assert_eq!(numpy_argsort(&[1.0, 1.0, 0.75, 0.75]), [3, 2, 1, 0]);
    }

    #[test]
    fn sorted_and_equal_values_keep_their_order() {
        for count in [0, 1, 2, 300, 5000] {
            let identity: Vec<usize> = (0..count).collect();
            let ascending: Vec<f64> = (0..count).map(|index| (index / 7) as f64).collect();
            assert_eq!(numpy_argsort(&ascending), identity);
            assert_eq!(numpy_argsort(&vec![0.75; count]), identity);
        }
    }

    #[test]
    fn nans_come_last() {
        assert_eq!(numpy_argsort(&[f64::NAN, 2.0, f64::INFINITY, f64::NAN, -1.0]), [4, 1, 2, 0, 3]);
    }
}
