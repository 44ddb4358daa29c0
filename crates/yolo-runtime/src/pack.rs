//! Weights in the order in which the kernels read them.

use crate::kernels::tile::{PAIR_MASKS, QUAD_MASKS, ZipRun};
use crate::network::Conv;
use crate::tiling::PlaneLayout;
use std::borrow::Cow;
use std::ops::Range;

/// How the weights of a group of output channels are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Every tap, zero or not; all groups share the list.
    Dense,
    /// The taps at which any channel of the group has a weight.
    Blocks,
    /// Two channels: the taps of both, of the first, of the second.
    Pair,
    /// Four channels: the taps of each of the 15 sets of channels.
    Quad,
    /// For every channel its own non-zero taps, channels of like numbers of them two by two.
    Zip,
    /// The same, or one channel at a time, for patches: rows of 5 vectors.
    Patch,
    /// Dense, by short convolutions of 2×2 outputs, for 3×3 windows of stride 1.
    Winograd2,
    /// Dense, by short convolutions of 4×4 outputs, for 3×3 windows of stride 1. Rounds about ten times as
    /// coarsely as the others.
    Winograd4,
    /// Dense, by short convolutions of 2×2 outputs, for 3×3 windows of stride 2.
    WinogradStrided,
    /// Every tap, for convolutions of one channel each.
    Depthwise,
}

/// A convolution's weights for one kernel.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Distances of the taps.
    pub(crate) taps: Vec<u32>,
    /// Weights.
    pub(crate) weights: Vec<f32>,
    /// Taps in each list, `lists` per segment.
    pub(crate) counts: Vec<u32>,
    /// Lists per segment.
    pub(crate) lists: usize,
    /// `[blocks, groups]`: the lists of one group of output channels in one block of input channels.
    pub(crate) segments: Vec<Segment>,
    /// Blocks of input channels.
    pub(crate) blocks: usize,
    /// Groups of output channels.
    pub(crate) groups: usize,
}

/// Where a segment's taps and weights lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) first_tap: usize,
    pub(crate) taps: usize,
    pub(crate) first_weight: usize,
    pub(crate) weights: usize,
}

/// Weights for the kernels of zipped lists.
#[derive(Debug, Default)]
pub(crate) struct Zipped {
    pub(crate) runs: Vec<ZipRun>,
    pub(crate) channels: Vec<u16>,
    pub(crate) taps: Vec<u32>,
    pub(crate) weights: Vec<f32>,
    /// `[parts, blocks]`: one part of the output channels in one block of input channels.
    pub(crate) parts: Vec<ZipPart>,
}

/// Where a part's lists lie.
#[derive(Clone, Debug)]
pub(crate) struct ZipPart {
    pub(crate) runs: Range<usize>,
    pub(crate) channels: Range<usize>,
    pub(crate) entries: Range<usize>,
}

impl Zipped {
    /// Packs `set` channels at a time, for parts of `part` output channels and blocks of `block` input channels.
    pub(crate) fn new(conv: &Conv, layout: &PlaneLayout, set: usize, part: usize, block: usize) -> Self {
        let in_channels = conv.in_channels();
        let block = if block == 0 { in_channels } else { block.min(in_channels) };
        let mut zipped = Self::default();
        for first in (0..conv.out_channels).step_by(part) {
            let channels = first..(first + part).min(conv.out_channels);
            let rows: Vec<Cow<'_, [f32]>> = channels.map(|channel| conv.row(channel)).collect();
            for first in (0..in_channels).step_by(block) {
                zipped.push(&taps(conv, layout, first..(first + block).min(in_channels)), &rows, set);
            }
        }
        zipped
    }

    fn push(&mut self, taps: &[Tap], rows: &[Cow<'_, [f32]>], set: usize) {
        let starts = [self.runs.len(), self.channels.len(), self.taps.len()];
        let list = |row: &Cow<'_, [f32]>| -> Vec<(u32, f32)> {
            let entry = |tap: &Tap| (tap.distance, row[tap.at]);
            taps.iter().map(entry).filter(|(_, weight)| *weight != 0.0).collect()
        };
        let mut lists: Vec<(u16, Vec<(u32, f32)>)> = (0..).zip(rows.iter().map(list)).collect();
        while !lists.len().is_multiple_of(set) {
            // The partner of the last channel has sums that nobody reads.
            lists.push((lists.len() as u16, Vec::new()));
        }
        lists.sort_by_key(|(_, list)| std::cmp::Reverse(list.len()));
        for lists in lists.chunks_exact(set) {
            let longest = &lists[0].1;
            match self.runs[starts[0]..].last_mut() {
                Some(run) if run.taps as usize == longest.len() => run.sets += 1,
                _ => self.runs.push(ZipRun { sets: 1, taps: longest.len() as u32 }),
            }
            self.channels.extend(lists.iter().map(|(channel, _)| channel));
            for (at, &(tap, _)) in longest.iter().enumerate() {
                for (_, list) in lists {
                    let (tap, weight) = list.get(at).copied().unwrap_or((tap, 0.0));
                    self.taps.push(tap);
                    self.weights.push(weight);
                }
            }
        }
        self.parts.push(ZipPart {
            runs: starts[0]..self.runs.len(),
            channels: starts[1]..self.channels.len(),
            entries: starts[2]..self.taps.len(),
        });
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        size_of_val(&self.weights[..])
    }

    pub(crate) fn index_bytes(&self) -> usize {
        size_of_val(&self.taps[..]) + size_of_val(&self.channels[..]) + size_of_val(&self.runs[..])
    }
}

/// One tap: its distance in the input and its place in a filter.
#[derive(Clone, Copy)]
struct Tap {
    distance: u32,
    at: usize,
}

impl Packed {
    /// Packs for groups of `channels` output channels and blocks of `block` input channels.
    pub(crate) fn new(
        conv: &Conv,
        layout: &PlaneLayout,
        family: Family,
        channels: usize,
        block: usize,
    ) -> Self {
        let in_channels = conv.in_channels();
        let block = if block == 0 { in_channels } else { block.min(in_channels) };
        let mut packed = Self {
            taps: Vec::new(),
            weights: Vec::new(),
            counts: Vec::new(),
            lists: family.masks().map_or(1, <[u32]>::len),
            segments: Vec::new(),
            blocks: in_channels.div_ceil(block),
            groups: conv.out_channels.div_ceil(channels),
        };
        if family.is_zipped() {
            // Its lists are made when it is known which channels a chunk has: see `Zipped`.
            return packed;
        }
        for first in (0..in_channels).step_by(block) {
            let taps = taps(conv, layout, first..(first + block).min(in_channels));
            let shared = packed.taps.len();
            if family == Family::Dense {
                packed.taps.extend(taps.iter().map(|tap| tap.distance));
            }
            for group in 0..packed.groups {
                let first_channel = group * channels;
                let of_group = first_channel..(first_channel + channels).min(conv.out_channels);
                let rows: Vec<Cow<'_, [f32]>> = of_group.map(|channel| conv.row(channel)).collect();
                packed.push(family, channels, &taps, &rows, shared);
            }
        }
        packed.taps.shrink_to_fit();
        packed.weights.shrink_to_fit();
        packed
    }

    fn push(
        &mut self,
        family: Family,
        channels: usize,
        taps: &[Tap],
        rows: &[Cow<'_, [f32]>],
        shared: usize,
    ) {
        let first_weight = self.weights.len();
        let weight = |channel: usize, tap: &Tap| rows.get(channel).map_or(0.0, |row| row[tap.at]);
        let mut first_tap = self.taps.len();
        match family.masks() {
            None => {
                let mut count = 0;
                for tap in taps {
                    if family == Family::Dense || (0..channels).any(|channel| weight(channel, tap) != 0.0) {
                        self.weights.extend((0..channels).map(|channel| weight(channel, tap)));
                        count += 1;
                        if family != Family::Dense {
                            self.taps.push(tap.distance);
                        }
                    }
                }
                self.counts.push(count);
                if family == Family::Dense {
                    first_tap = shared;
                }
            }
            Some(masks) => {
                let set = |tap: &Tap| {
                    (0..channels)
                        .fold(0, |set, channel| set | u32::from(weight(channel, tap) != 0.0) << channel)
                };
                let sets: Vec<u32> = taps.iter().map(set).collect();
                for &mask in masks {
                    let before = self.taps.len();
                    for (tap, _) in taps.iter().zip(&sets).filter(|&(_, &set)| set == mask) {
                        let of_mask = (0..channels).filter(|channel| mask >> channel & 1 == 1);
                        self.weights.extend(of_mask.map(|channel| weight(channel, tap)));
                        self.taps.push(tap.distance);
                    }
                    self.counts.push((self.taps.len() - before) as u32);
                }
            }
        }
        let taps = if family == Family::Dense { taps.len() } else { self.taps.len() - first_tap };
        let weights = self.weights.len() - first_weight;
        self.segments.push(Segment { first_tap, taps, first_weight, weights });
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.weights.len() * size_of::<f32>()
    }

    pub(crate) fn index_bytes(&self) -> usize {
        (self.taps.len() + self.counts.len()) * size_of::<u32>() + self.segments.len() * size_of::<Segment>()
    }
}

impl Family {
    /// Whether zeros take no time.
    pub fn skips_zeros(self) -> bool {
        matches!(self, Self::Blocks | Self::Pair | Self::Quad | Self::Zip | Self::Patch)
    }

    /// Whether the taps of channels are zipped.
    pub(crate) fn is_zipped(self) -> bool {
        matches!(self, Self::Zip | Self::Patch)
    }

    /// The sets of channels that have a list each; `None` for one list of all channels.
    fn masks(self) -> Option<&'static [u32]> {
        match self {
            Self::Pair => Some(&PAIR_MASKS),
            Self::Quad => Some(&QUAD_MASKS),
            _ => None,
        }
    }
}

fn taps(conv: &Conv, layout: &PlaneLayout, channels: Range<usize>) -> Vec<Tap> {
    let [height, width] = conv.kernel;
    let mut taps = Vec::with_capacity(channels.len() * height * width);
    for channel in channels {
        for y in 0..height {
            for x in 0..width {
                let in_plane = y * conv.dilation[0] * layout.row() + x * conv.dilation[1] * layout.lanes;
                let distance = (channel * layout.plane() + in_plane) as u32;
                taps.push(Tap { distance, at: (channel * height + y) * width + x });
            }
        }
    }
    taps
}
