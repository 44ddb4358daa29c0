//! Which kernel a convolution runs on: names, what there is to choose from, what was measured.

use crate::error::{Result, RuntimeError};
use crate::kernels::Kernels;
use crate::kernels::tile::{BatchKernel, PATCH_WIDTH, TileKernel, ZipKernel};
use crate::network::Conv;
pub use crate::pack::Family;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What the outer loop of a convolution goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Order {
    /// Groups of output channels: a group's weights stay in the first cache.
    Groups,
    /// Pixels: what the tile reads of the input stays in the first cache.
    Pixels,
}

/// A kernel with its sizes. As text: `dense-8x3-g`, `pair-2x10-p16`: family, output channels × pixel vectors of
/// the tile, order, and input channels per block where they are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId {
    /// How the weights are listed.
    pub family: Family,
    /// Output channels of a tile.
    pub channels: usize,
    /// Pixel vectors of a tile.
    pub pixels: usize,
    /// The outer loop.
    pub order: Order,
    /// Input channels per block, 0 for all at once. Blocks need [`Order::Pixels`].
    pub block: usize,
}

/// The kernel of each convolution by its name.
pub type Choices = BTreeMap<String, KernelId>;

/// What is known of a convolution and its kernels, for `explain` tables.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvReport {
    /// Name of the convolution.
    pub name: String,
    /// Output channels, the input channels that each of them reads, height and width of the window.
    pub weight: [usize; 4],
    /// Step down and across.
    pub stride: [usize; 2],
    /// Height and width of the output.
    pub size: [usize; 2],
    /// Share of the weights that are zero.
    pub sparsity: f64,
    /// 10⁹ floating-point operations per run if no zero is skipped, a multiplication and an addition each one.
    pub gflop: f64,
    /// The kernels that were timed, with milliseconds per run of the whole batch. Empty where nothing was.
    pub candidates: Vec<(KernelId, f64)>,
    /// The kernel that runs.
    pub chosen: KernelId,
}

const FAMILIES: [(Family, &str); 10] = [
    (Family::Dense, "dense"),
    (Family::Blocks, "blocks"),
    (Family::Pair, "pair"),
    (Family::Quad, "quad"),
    (Family::Zip, "zip"),
    (Family::Patch, "patch"),
    (Family::Winograd2, "winograd2"),
    (Family::Winograd4, "winograd4"),
    (Family::WinogradStrided, "winograds2"),
    (Family::Depthwise, "depthwise"),
];

impl fmt::Display for KernelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FAMILIES.iter().find(|(family, _)| *family == self.family).map_or("", |(_, name)| name);
        let order = if self.order == Order::Groups { 'g' } else { 'p' };
        write!(f, "{name}-{}x{}-{order}", self.channels, self.pixels)?;
        if self.block > 0 { write!(f, "{}", self.block) } else { Ok(()) }
    }
}

impl FromStr for KernelId {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| RuntimeError::Parse {
            text: text.to_owned(),
            expected: "a kernel such as dense-8x3-g or pair-2x10-p16",
        })
    }
}

fn parse(text: &str) -> Option<KernelId> {
    let mut parts = text.split('-');
    let name = parts.next()?;
    let (family, _) = FAMILIES.iter().find(|(_, known)| *known == name)?;
    let (channels, pixels) = parts.next()?.split_once('x')?;
    let last = parts.next()?;
    let (order, block) = match last.split_at_checked(1)? {
        ("g", "") => (Order::Groups, 0),
        ("p", "") => (Order::Pixels, 0),
        ("p", block) => (Order::Pixels, block.parse().ok()?),
        _ => return None,
    };
    let (channels, pixels) = (channels.parse().ok()?, pixels.parse().ok()?);
    parts.next().is_none().then_some(KernelId { family: *family, channels, pixels, order, block })
}

impl KernelId {
    pub(crate) const fn new(
        family: Family,
        [channels, pixels]: [usize; 2],
        order: Order,
        block: usize,
    ) -> Self {
        Self { family, channels, pixels, order, block }
    }

    /// The kernel of depthwise convolutions.
    pub(crate) const DEPTHWISE: Self = Self::new(Family::Depthwise, [1, 1], Order::Groups, 0);

    /// Whether it computes by short convolutions.
    pub(crate) fn is_winograd(self) -> bool {
        matches!(self.family, Family::Winograd2 | Family::Winograd4 | Family::WinogradStrided)
    }

    /// Whether it computes with zeros as with other numbers.
    pub(crate) fn is_dense(self) -> bool {
        self.is_winograd() || matches!(self.family, Family::Dense | Family::Depthwise)
    }

    /// As [`KernelId::tiles`] for the families of short convolutions.
    pub(crate) fn batches(self, kernels: &'static Kernels) -> Option<&'static [BatchKernel]> {
        let batches = match self.channels {
            4 => kernels.batch_4,
            6 => kernels.batch_6,
            8 => kernels.batch_8,
            _ => return None,
        };
        let fits = self.is_winograd() && self.block == 0 && self.order == Order::Pixels && self.pixels > 0;
        if fits { batches.get(..self.pixels) } else { None }
    }

    /// Bytes by which the transformed weights of short convolutions exceed those of `conv`.
    pub(crate) fn extra_bytes(self, conv: &Conv) -> usize {
        let places = match self.family {
            Family::Winograd2 => 16,
            Family::Winograd4 => 36,
            Family::WinogradStrided => 25,
            _ => return 0,
        };
        conv.weight.len() * size_of::<f32>() * (places - 9) / 9
    }

    /// The entry points for 1.. pixel vectors up to this kernel's, or 1.. rows of a patch, of a convolution whose
    /// columns are `stride` apart; `None` if there is no such kernel with zipped lists.
    pub(crate) fn zips(self, kernels: &'static Kernels, stride: usize) -> Option<&'static [ZipKernel]> {
        if self.order != Order::Pixels || self.pixels == 0 {
            return None;
        }
        match self.family {
            Family::Zip if self.channels == 2 => kernels.zip.get(..self.pixels),
            Family::Patch if self.pixels.is_multiple_of(PATCH_WIDTH) => {
                let of_stride = kernels.patch.get(self.channels.checked_sub(1)?)?;
                of_stride.get(stride.checked_sub(1)?)?.get(..self.pixels / PATCH_WIDTH)
            }
            _ => None,
        }
    }

    /// Pixel vectors in a row of a tile whose rows are evenly spaced; 1 where any vectors make a tile.
    pub(crate) fn row(self) -> usize {
        if self.family == Family::Patch { PATCH_WIDTH } else { 1 }
    }

    /// The entry points for 1.. pixel vectors up to this kernel's; `None` if there is no such kernel.
    pub(crate) fn tiles(self, kernels: &'static Kernels) -> Option<&'static [TileKernel]> {
        let tiles = match (self.family, self.channels) {
            (Family::Dense | Family::Blocks, 4) => kernels.full_4,
            (Family::Dense | Family::Blocks, 6) => kernels.full_6,
            (Family::Dense | Family::Blocks, 8) => kernels.full_8,
            (Family::Pair, 2) => kernels.pair,
            (Family::Quad, 4) => kernels.quad,
            _ => return None,
        };
        let fits = self.block == 0 || self.order == Order::Pixels;
        if self.pixels == 0 || !fits { None } else { tiles.get(..self.pixels) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kernels_have_names_that_can_be_read_back() {
        for text in [
            "dense-8x3-g",
            "dense-4x6-p",
            "depthwise-1x1-g",
            "blocks-4x6-g",
            "patch-1x10-p64",
            "pair-2x10-p",
            "quad-4x6-p16",
        ] {
            assert_eq!(text.parse::<KernelId>().unwrap().to_string(), text);
        }
        for text in ["", "dense", "dense-8x3", "dense-8-g", "dense-8x3-g4", "dense-8x3-g-", "spam-8x3-g"] {
            assert!(text.parse::<KernelId>().is_err(), "{text}");
        }
    }
}
