//! Where values live: in which buffer, how wide their borders are, how long they are needed.

use super::homes::{Home, homes, root};
use crate::network::{Conv, Network, Op, ValueId};
use crate::steps::Place;
use crate::tiling::{Halo, PlaneLayout, Tiling};

/// Every value of a network.
#[derive(Debug)]
pub(crate) struct Values {
    /// Place of each.
    pub(crate) places: Vec<Place>,
    /// Whether a window reads beyond the tiles of a value, so that its border has to be filled.
    pub(crate) needs_border: Vec<bool>,
    /// Numbers in the arena.
    pub(crate) arena: usize,
    /// Numbers in the largest set of buffers that are needed at one time.
    pub(crate) live: usize,
}

/// A stretch of the arena and the time for which it is needed.
struct Buffer {
    numbers: usize,
    first: usize,
    last: usize,
    offset: usize,
}

impl Values {
    /// Lays the values of `network` out for tiles of `tiling`.
    pub(crate) fn new(network: &Network, shapes: &[[usize; 3]], tiling: &Tiling) -> Self {
        let homes = homes(network, shapes);
        let roots: Vec<Home> = (0..shapes.len()).map(|value| root(value, &homes)).collect();
        let windows = windows(network, shapes.len());
        let mut halos = vec![Halo::default(); shapes.len()];
        for value in 0..shapes.len() {
            let whole = roots[value].whole;
            halos[whole] = halos[whole].max(windows[value]);
        }
        let layout = |value: ValueId| PlaneLayout {
            lanes: tiling.grid[0] * tiling.grid[1],
            grid: tiling.grid,
            size: [shapes[value][1], shapes[value][2]],
            tile: tiling.tiles[value],
            halo: halos[roots[value].whole],
        };
        let mut buffers = buffers(network, shapes, &roots, &layout);
        let arena = allocate(&mut buffers);
        let place = |value: ValueId| {
            let Home { whole, first_channel } = roots[value];
            let layout = layout(value);
            Place {
                offset: buffers[whole].offset + first_channel * layout.plane(),
                image: shapes[whole][0] * layout.plane(),
                channels: shapes[value][0],
                layout,
            }
        };
        let live_at = |time: usize| {
            buffers.iter().filter(|b| (b.first..=b.last).contains(&time)).map(|b| b.numbers).sum()
        };
        Self {
            places: (0..shapes.len()).map(place).collect(),
            needs_border: seen_by_windows(network, &homes, &windows),
            arena,
            live: (0..=network.ops.len() + 1).map(live_at).max().unwrap_or(0),
        }
    }
}

/// How far the convolutions that read a value reach beyond its tiles.
fn windows(network: &Network, values: usize) -> Vec<Halo> {
    let mut windows = vec![Halo::default(); values];
    for op in &network.ops {
        let Op::Conv(conv) = op else { continue };
        let before = conv.padding;
        let behind = [0, 1].map(|axis| {
            let reach = (conv.kernel[axis] - 1) * conv.dilation[axis] + 1;
            reach.saturating_sub(before[axis] + conv.stride[axis])
        });
        let halo = Halo { top: before[0], left: before[1], bottom: behind[0], right: behind[1] };
        windows[conv.input] = windows[conv.input].max(halo);
    }
    windows
}

/// Whether the border of each value is read: by itself, as a part of a concatenation, or that of a slice of it.
fn seen_by_windows(network: &Network, homes: &[Option<Home>], windows: &[Halo]) -> Vec<bool> {
    let mut is_read: Vec<bool> = windows.iter().map(|window| !window.is_empty()).collect();
    for (index, op) in network.ops.iter().enumerate().rev() {
        if let Some((source, _)) = op.slice() {
            is_read[source] |= is_read[index + 1];
        }
    }
    let is_seen = |value: usize| {
        let mut wholes = std::iter::successors(Some(value), |&value| homes[value].map(|home| home.whole));
        wholes.any(|whole| is_read[whole])
    };
    (0..windows.len()).map(is_seen).collect()
}

/// One buffer per value, empty for those that lie in another one. Time 0 is the input, `i + 1` operation `i`, and
/// then the output.
fn buffers(
    network: &Network,
    shapes: &[[usize; 3]],
    roots: &[Home],
    layout: &impl Fn(ValueId) -> PlaneLayout,
) -> Vec<Buffer> {
    let mut buffers: Vec<Buffer> = (0..shapes.len())
        .map(|value| {
            let is_root = roots[value].whole == value;
            let numbers = network.batch * shapes[value][0] * layout(value).plane();
            Buffer { numbers: if is_root { numbers } else { 0 }, first: usize::MAX, last: 0, offset: 0 }
        })
        .collect();
    let mut use_at = |value: ValueId, time: usize| {
        let buffer = &mut buffers[roots[value].whole];
        buffer.first = buffer.first.min(time);
        buffer.last = buffer.last.max(time);
    };
    use_at(0, 0);
    let twins = twins(network);
    for (index, op) in network.ops.iter().enumerate() {
        // Of twins both are made by the first.
        let first = twins.iter().find(|pair| pair[1] == index).map_or(index, |pair| pair[0]);
        use_at(index + 1, first + 1);
        op.inputs().into_iter().for_each(|input| use_at(input, first + 1));
    }
    for chain in pool_chains(network) {
        // All pools of a chain write when the first of them runs.
        chain.iter().for_each(|&index| use_at(index + 1, chain[0] + 1));
    }
    network.output.values().into_iter().for_each(|value| use_at(value, network.ops.len() + 1));
    buffers
}

/// Pairs of pointwise convolutions that read the same value and end in the same way, by the index of their
/// operations: they run as one, which reads the value once. The two at the start of a C3 are such.
pub(crate) fn twins(network: &Network) -> Vec<[usize; 2]> {
    let mut twins: Vec<[usize; 2]> = Vec::new();
    for (index, op) in network.ops.iter().enumerate() {
        let Op::Conv(conv) = op else { continue };
        let is_twin = |&other: &usize| {
            let Op::Conv(before) = &network.ops[other] else { return false };
            let form = |conv: &Conv| (conv.input, conv.kernel, conv.stride, conv.padding, conv.dilation);
            let is_free = twins.iter().all(|pair| !pair.contains(&other));
            form(before) == form(conv)
                && before.groups == 1
                && before.activation == conv.activation
                && before.residual.is_none()
                && is_free
        };
        if conv.kernel == [1, 1]
            && conv.groups == 1
            && conv.residual.is_none()
            && let Some(first) = (0..index).find(is_twin)
        {
            twins.push([first, index]);
        }
    }
    twins
}

/// Max-pools of one size that follow each other directly, by the index of their operations.
pub(crate) fn pool_chains(network: &Network) -> Vec<Vec<usize>> {
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for (index, op) in network.ops.iter().enumerate() {
        let Op::MaxPool { input, size } = op else { continue };
        let follows = |chain: &&mut Vec<usize>| {
            let last = chain[chain.len() - 1];
            *input == last + 1
                && matches!(&network.ops[last], Op::MaxPool { size: before, .. } if before == size)
        };
        match chains.iter_mut().find(follows) {
            Some(chain) => chain.push(index),
            None => chains.push(vec![index]),
        }
    }
    chains
}

/// Rounds of the search for a smaller arena.
const ROUNDS: usize = 200;

/// Finds room for every buffer; how much all of them take. The largest come first, and then, round after round,
/// those that reached highest, as long as that helps.
fn allocate(buffers: &mut [Buffer]) -> usize {
    let mut order: Vec<usize> = (0..buffers.len()).filter(|&at| buffers[at].numbers > 0).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(buffers[at].numbers));
    let mut best = usize::MAX;
    let mut best_offsets = Vec::new();
    for _ in 0..ROUNDS {
        let arena = place_in_order(buffers, &order);
        if arena < best {
            best = arena;
            best_offsets = buffers.iter().map(|buffer| buffer.offset).collect();
        }
        let highest = |&(_, &at): &(usize, &usize)| buffers[at].offset + buffers[at].numbers;
        let Some((position, _)) = order.iter().enumerate().max_by_key(highest) else { return 0 };
        if position == 0 {
            break;
        }
        let highest = order.remove(position);
        order.insert(position / 2, highest);
    }
    buffers.iter_mut().zip(best_offsets).for_each(|(buffer, offset)| buffer.offset = offset);
    best
}

/// Gives each buffer the lowest place that is free while it is needed.
fn place_in_order(buffers: &mut [Buffer], order: &[usize]) -> usize {
    let mut arena = 0;
    for (position, &at) in order.iter().enumerate() {
        let (first, last, numbers) = (buffers[at].first, buffers[at].last, buffers[at].numbers);
        let mut taken: Vec<[usize; 2]> = order[..position]
            .iter()
            .map(|&other| &buffers[other])
            .filter(|other| other.first <= last && first <= other.last)
            .map(|other| [other.offset, other.offset + other.numbers])
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for [start, end] in taken {
            if offset + numbers <= start {
                break;
            }
            offset = offset.max(end);
        }
        buffers[at].offset = offset;
        arena = arena.max(offset + numbers);
    }
    arena
}
