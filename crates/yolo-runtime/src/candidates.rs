//! Which kernels are worth a trial for a convolution.

use crate::choice::{Family, KernelId, Order};
use crate::kernels::Kernels;
use crate::network::Conv;
use crate::steps::{depthwise_fits, winograd_fits};
use Family::{Blocks, Dense, Depthwise, Pair, Patch, Quad, Winograd2, Winograd4, WinogradStrided, Zip};
use Order::{Groups, Pixels};

/// What the choice depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Density {
    /// Weights that are not zero, in thousandths.
    pub(crate) weights: u32,
    /// Taps that any channel of a group of four uses, in thousandths.
    pub(crate) taps_of_four: u32,
}

impl Density {
    pub(crate) fn of(conv: &Conv) -> Self {
        let filter = conv.in_channels() * conv.kernel[0] * conv.kernel[1];
        let mut weights = 0;
        let mut taps_of_four = 0;
        let mut is_used = vec![false; filter];
        for first in (0..conv.out_channels).step_by(4) {
            is_used.fill(false);
            for channel in first..(first + 4).min(conv.out_channels) {
                for (used, &weight) in is_used.iter_mut().zip(conv.row(channel).iter()) {
                    *used |= weight != 0.0;
                    weights += usize::from(weight != 0.0);
                }
            }
            taps_of_four += is_used.iter().filter(|&&used| used).count();
        }
        let groups = conv.out_channels.div_ceil(4);
        let share = |part: usize, whole: usize| (part * 1000).div_ceil(whole.max(1)) as u32;
        Self {
            weights: share(weights, conv.out_channels * filter),
            taps_of_four: share(taps_of_four, groups * filter),
        }
    }

    /// Whether the zeros of four neighbouring channels mostly coincide.
    fn is_in_blocks(self) -> bool {
        self.taps_of_four < 900 && self.taps_of_four * 4 < self.weights * 5
    }
}

/// Tile shapes of the dense kernels, the best first.
fn dense_tiles(kernels: &Kernels) -> &'static [[usize; 2]] {
    // A tile of 4×3 would need all 16 registers, and one accumulator would go through memory.
    if kernels.many_registers { &[[8, 3], [6, 4], [4, 6], [4, 5]] } else { &[[6, 2], [4, 2]] }
}

/// The tile for blocks of four channels.
fn blocks_tile(kernels: &Kernels) -> [usize; 2] {
    if kernels.many_registers { [4, 6] } else { [4, 2] }
}

/// Pixel vectors of the tiles of pairs and fours of channels.
fn sparse_pixels(kernels: &Kernels) -> [usize; 2] {
    if kernels.many_registers { [10, 6] } else { [6, 3] }
}

/// Output channels and pixel vectors of the tiles of patches.
fn patches(kernels: &Kernels) -> impl Iterator<Item = [usize; 2]> {
    let tiles: &[[usize; 2]] =
        if kernels.many_registers { &[[2, 10], [2, 15], [1, 20]] } else { &[[2, 5], [1, 10], [1, 15]] };
    tiles.iter().copied()
}

/// Input channels whose part of a tile fits into the first cache.
fn sparse_block(conv: &Conv) -> usize {
    if conv.kernel == [1, 1] { 64 } else { (144 / (conv.kernel[0] * conv.kernel[1])).max(4) }
}

/// One kernel of each family that may be best, the likeliest first.
pub(crate) fn families(conv: &Conv, density: Density, kernels: &Kernels) -> Vec<KernelId> {
    if conv.groups > 1 {
        return grouped_families(conv, kernels);
    }
    let tile = dense_tiles(kernels)[0];
    let mut list = vec![KernelId::new(Dense, tile, Pixels, 0)];
    let short = [Winograd2, Winograd4, WinogradStrided];
    let short = short.into_iter().filter(|&family| winograd_fits(family, conv));
    list.extend(short.map(|family| KernelId::new(family, tile, Pixels, 0)));
    let [pair, quad] = sparse_pixels(kernels);
    if density.taps_of_four < 970 {
        list.push(KernelId::new(Blocks, blocks_tile(kernels), Pixels, 0));
    }
    if density.weights < 950 {
        let block = sparse_block(conv);
        list.push(KernelId::new(Pair, [2, pair], Pixels, block));
        list.push(KernelId::new(Zip, [2, pair], Pixels, block));
        list.extend(patches(kernels).map(|tile| KernelId::new(Patch, tile, Pixels, block)));
        if density.weights > 400 {
            list.push(KernelId::new(Quad, [4, quad], Pixels, block));
        }
    }
    list
}

/// The same for a convolution with groups: kernels that know the taps of every channel, for all of them at once.
fn grouped_families(conv: &Conv, kernels: &Kernels) -> Vec<KernelId> {
    let [pair, _] = sparse_pixels(kernels);
    let mut list: Vec<KernelId> = depthwise_fits(conv).then_some(KernelId::DEPTHWISE).into_iter().collect();
    list.extend([
        KernelId::new(Pair, [2, pair], Groups, 0),
        KernelId::new(Pair, [2, pair], Pixels, 0),
        KernelId::new(Zip, [2, pair], Pixels, 0),
    ]);
    list.extend(patches(kernels).map(|tile| KernelId::new(Patch, tile, Pixels, 0)));
    list
}

/// Other sizes of a kernel.
pub(crate) fn variants(of: KernelId, conv: &Conv, kernels: &Kernels) -> Vec<KernelId> {
    let channels = of.channels;
    let with = |pixels: usize, block: usize| KernelId::new(of.family, [channels, pixels], Pixels, block);
    let block = of.block;
    match of.family {
        Dense => {
            let both =
                |&tile: &[usize; 2]| [Groups, Pixels].map(|order| KernelId::new(Dense, tile, order, 0));
            dense_tiles(kernels).iter().flat_map(both).filter(|&kernel| kernel != of).collect()
        }
        Winograd2 | Winograd4 | WinogradStrided => dense_tiles(kernels)
            .iter()
            .skip(1)
            .take(2)
            .map(|&tile| KernelId::new(of.family, tile, Pixels, 0))
            .collect(),
        Blocks if kernels.many_registers => {
            vec![
                KernelId::new(Blocks, [4, 6], Groups, 0),
                with(5, 0),
                KernelId::new(Blocks, [4, 5], Groups, 0),
            ]
        }
        Depthwise => Vec::new(),
        Blocks => vec![KernelId::new(Blocks, [4, 2], Groups, 0)],
        Pair | Patch | Quad | Zip => {
            let in_channels = conv.in_channels();
            if conv.groups > 1 {
                return vec![KernelId::new(of.family, [channels, of.pixels / 2], of.order, 0)];
            }
            let mut list = vec![with(of.pixels, block / 2)];
            if of.family != Patch {
                list.push(with(of.pixels * 4 / 5, block));
            }
            if block < in_channels {
                list.push(with(of.pixels, block * 2));
            }
            if of.family == Pair && kernels.many_registers {
                list.push(with(of.pixels / 2, block));
            }
            list
        }
    }
}

/// The kernel for a convolution of this density where nothing is timed; its weights may take `spare` bytes more
/// than they have.
pub(crate) fn heuristic(conv: &Conv, density: Density, kernels: &Kernels, spare: usize) -> KernelId {
    let [pair, _] = sparse_pixels(kernels);
    if conv.groups > 1 && depthwise_fits(conv) {
        return KernelId::DEPTHWISE;
    }
    if conv.groups > 1 {
        return KernelId::new(Pair, [2, pair], Groups, 0);
    }
    if density.is_in_blocks() {
        return KernelId::new(Blocks, blocks_tile(kernels), Groups, 0);
    }
    let tile = dense_tiles(kernels)[0];
    let short = KernelId::new(Winograd2, tile, Pixels, 0);
    if winograd_fits(Winograd2, conv) && density.weights > 400 && short.extra_bytes(conv) <= spare {
        return short;
    }
    if density.weights < 850 {
        return KernelId::new(Pair, [2, pair], Pixels, sparse_block(conv));
    }
    let filter = conv.weight.len() / conv.out_channels;
    KernelId::new(Dense, tile, if filter <= 256 { Pixels } else { Groups }, 0)
}
