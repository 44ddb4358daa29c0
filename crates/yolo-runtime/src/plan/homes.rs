//! Which values are parts of others, so that nothing has to be copied.
//!
//! What a concatenation joins is written into it by whatever makes it. A slice lies in the value that it is taken from. The two
//! together put a value that is cut into slices into the concatenation of these, and even into one that takes only some of
//! them, if what it takes instead of the others is made when nobody needs them any more.

use super::values::{pool_chains, twins};
use crate::network::{Network, Op, ValueId};

/// A value's part of a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) whole: ValueId,
    pub(super) first_channel: usize,
}

/// The buffer that a value lies in, itself or another value's, and where.
pub(super) fn root(value: ValueId, homes: &[Option<Home>]) -> Home {
    let mut at = Home { whole: value, first_channel: 0 };
    while let Some(home) = homes[at.whole] {
        at = Home { whole: home.whole, first_channel: at.first_channel + home.first_channel };
    }
    at
}

/// For every value the one that it is a part of, if any.
pub(super) fn homes(network: &Network, shapes: &[[usize; 3]]) -> Vec<Option<Home>> {
    let mut search = Search { network, shapes, times: Times::of(network), homes: vec![None; shapes.len()] };
    for (index, op) in network.ops.iter().enumerate() {
        if let Some((whole, range)) = op.slice() {
            search.homes[index + 1] = Some(Home { whole, first_channel: range.start });
        }
    }
    for (index, op) in network.ops.iter().enumerate() {
        if let Op::Concat { inputs } = op {
            search.join(index, inputs);
        }
    }
    search.homes
}

struct Search<'a> {
    network: &'a Network,
    shapes: &'a [[usize; 3]],
    times: Times,
    homes: Vec<Option<Home>>,
}

/// When values are made. Time 0 is the input, `i + 1` operation `i`.
struct Times {
    made: Vec<usize>,
    end: usize,
}

impl Times {
    fn of(network: &Network) -> Self {
        let mut made: Vec<usize> = (0..=network.ops.len()).collect();
        for [first, second] in twins(network) {
            made[second + 1] = made[second + 1].min(first + 1);
        }
        for chain in pool_chains(network) {
            chain.iter().for_each(|&index| made[index + 1] = chain[0] + 1);
        }
        for (index, op) in network.ops.iter().enumerate() {
            // The first part of a concatenation makes the whole begin; a slice begins with what it is taken from.
            if matches!(op, Op::Concat { .. }) || op.slice().is_some() {
                let parts = op.inputs().into_iter().map(|input| made[input]);
                made[index + 1] = parts.min().unwrap_or(index + 1);
            }
        }
        Self { made, end: network.ops.len() + 1 }
    }
}

impl Search<'_> {
    /// Gives what the concatenation of operation `index` joins a place in it, if it has none yet.
    fn join(&mut self, index: usize, inputs: &[ValueId]) {
        let mut first_channel = 0_usize;
        for &input in inputs {
            let (source, offset) = self.sliced(input);
            // What lies in another concatenation already is copied into this one.
            if self.homes[source].is_none()
                && let Some(first_channel) = first_channel.checked_sub(offset)
            {
                let home = Home { whole: index + 1, first_channel };
                if source == input || self.fits(source, home, inputs) {
                    self.homes[source] = Some(home);
                }
            }
            first_channel += self.shapes[input][0];
        }
    }

    /// The value that `value` is a slice of, itself if it is not a slice, and the first channel of the slice.
    fn sliced(&self, value: ValueId) -> (ValueId, usize) {
        let (mut source, mut offset) = (value, 0);
        while let Some((whole, range)) = source.checked_sub(1).and_then(|op| self.network.ops[op].slice()) {
            (source, offset) = (whole, offset + range.start);
        }
        (source, offset)
    }

    /// Whether `source` can lie in a concatenation of `inputs` that takes slices of it.
    fn fits(&self, source: ValueId, home: Home, inputs: &[ValueId]) -> bool {
        let range = home.first_channel..home.first_channel + self.shapes[source][0];
        let channels: usize = inputs.iter().map(|&input| self.shapes[input][0]).sum();
        if range.end > channels {
            return false;
        }
        let mut first_channel = 0;
        let (mut others, mut is_split) = (Vec::new(), false);
        for &input in inputs {
            let end = first_channel + self.shapes[input][0];
            let (of, offset) = self.sliced(input);
            let is_in_place = of == source && home.first_channel + offset == first_channel;
            is_split |= of == source && !is_in_place;
            if !is_in_place && first_channel < range.end && range.start < end {
                others.push(input);
            }
            first_channel = end;
        }
        let last_read = if is_split { home.whole } else { self.last_read(source, home.whole) };
        others.iter().all(|&other| self.times.made[other] > last_read)
    }

    /// When somebody other than the operation that makes `but` reads `source` or a part of it for the last time.
    fn last_read(&self, source: ValueId, but: ValueId) -> usize {
        let is_part = |&value: &ValueId| {
            let mut wholes =
                std::iter::successors(Some(value), |&value| self.homes[value].map(|home| home.whole));
            wholes.any(|whole| whole == source)
        };
        let mut last = self.times.made[source];
        for (index, op) in self.network.ops.iter().enumerate() {
            if index + 1 != but && op.slice().is_none() && op.inputs().iter().any(is_part) {
                last = last.max(index + 1);
            }
        }
        if self.network.output.values().iter().any(is_part) { self.times.end } else { last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Conv, Output};

    fn conv(input: ValueId, channels: [usize; 2]) -> Op {
        let [in_channels, out_channels] = channels;
        Op::Conv(Conv {
            name: format!("conv of {input}"),
            input,
            weight: vec![0.5; in_channels * out_channels],
            bias: vec![0.0; out_channels],
            out_channels,
            groups: 1,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            activation: Activation::None,
            residual: None,
        })
    }

    fn slice(input: ValueId, range: std::ops::Range<usize>) -> Op {
        Op::Pick { input, channels: range.collect() }
    }

    fn homes_of(ops: Vec<Op>) -> Vec<Option<(ValueId, usize)>> {
        let outputs = vec![ops.len()];
        let network = Network { batch: 1, input: [3, 4, 5], ops, output: Output::Maps(outputs) };
        let shapes = network.shapes().unwrap_or_default();
        homes(&network, &shapes)
            .into_iter()
            .map(|home| home.map(|home| (home.whole, home.first_channel)))
            .collect()
    }

    /// `concat [a, b, m(b)]`: the whole that is split lies in the concatenation.
    #[test]
    fn what_is_joined_whole_lies_in_the_concatenation() {
        let ops = vec![
            conv(0, [3, 8]),
            slice(1, 0..4),
            slice(1, 4..8),
            conv(3, [4, 4]),
            Op::Concat { inputs: vec![2, 3, 4] },
        ];
        let expected = [None, Some((5, 0)), Some((1, 0)), Some((1, 4)), Some((5, 8)), None];
        assert_eq!(homes_of(ops), expected);
    }

    /// `concat [a, m(b)]` and `concat [m(a), b]`: what is made of a half takes its place, once the half is not needed.
    #[test]
    fn a_half_gives_its_place_to_what_is_made_of_it() {
        let ops = |first: bool| {
            let (left, right) = if first { (0..4, 4..8) } else { (4..8, 0..4) };
            let inputs = if first { vec![2, 5] } else { vec![5, 2] };
            vec![
                conv(0, [3, 8]),
                slice(1, left),
                slice(1, right),
                conv(3, [4, 6]),
                conv(4, [6, 4]),
                Op::Concat { inputs },
            ]
        };
        assert_eq!(
            homes_of(ops(true))[1..],
            [Some((6, 0)), Some((1, 0)), Some((1, 4)), None, Some((6, 4)), None]
        );
        assert_eq!(
            homes_of(ops(false))[1..],
            [Some((6, 0)), Some((1, 4)), Some((1, 0)), None, Some((6, 0)), None]
        );
    }

    /// If the half is read by what takes its place, or later, it has to be kept elsewhere.
    #[test]
    fn a_half_that_is_still_needed_keeps_its_place() {
        let direct = vec![
            conv(0, [3, 8]),
            slice(1, 0..4),
            slice(1, 4..8),
            conv(3, [4, 4]),
            Op::Concat { inputs: vec![2, 4] },
        ];
        assert_eq!(homes_of(direct)[1], None);
        let later = vec![
            conv(0, [3, 8]),
            slice(1, 0..4),
            slice(1, 4..8),
            conv(3, [4, 6]),
            conv(4, [6, 4]),
            Op::Concat { inputs: vec![2, 5] },
            conv(3, [4, 8]),
            Op::Add { inputs: [6, 7] },
        ];
        assert_eq!(homes_of(later)[1], None);
        let swapped =
            vec![conv(0, [3, 8]), slice(1, 0..4), slice(1, 4..8), Op::Concat { inputs: vec![3, 2] }];
        assert_eq!(homes_of(swapped)[1], None);
    }
}
