//! Pools with strides, padding, and pixels that become channels or the other way.

use serde::{Deserialize, Serialize};

use crate::architecture::MAX_KERNEL;

/// Maximum over windows; padding counts as −∞.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Height and width of the window.
    #[serde(rename = "k")]
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    #[serde(rename = "s")]
    pub stride: [usize; 2],
    /// Rows added above and below, columns added left and right.
    #[serde(rename = "p")]
    pub padding: [usize; 2],
    /// Whether a window that reaches beyond the padding below or on the right counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ceil: bool,
}

/// The order in which the pixels of a square become groups of channels. All channels of one pixel stay together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PixelOrder {
    /// (0, 0), (0, 1), (1, 0), (1, 1) as row and column, as YOLOv5's `Contract` and `Expand` have it.
    Rows,
    /// (0, 0), (1, 0), (0, 1), (1, 1), as its `Focus` has it.
    Columns,
}

impl PoolSpec {
    /// Height and width of the output for an input of `[height, width]`.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let room = (size[axis] + 2 * self.padding[axis]).saturating_sub(self.kernel[axis]);
            let stride = self.stride[axis];
            if !self.ceil {
                return room / stride + 1;
            }
            let windows = room.div_ceil(stride) + 1;
            // A window that begins behind the map would see nothing but padding.
            if (windows - 1) * stride >= size[axis] + self.padding[axis] { windows - 1 } else { windows }
        })
    }

    /// The pool that keeps a map's size: windows of an odd side, stride 1, half of it as padding.
    pub fn same(side: usize) -> Self {
        Self { kernel: [side; 2], stride: [1, 1], padding: [side / 2; 2], ceil: false }
    }

    /// The side of the window, if the map keeps its size: an odd square, stride 1, half of it as padding.
    pub fn same_size(&self) -> Option<usize> {
        let side = self.kernel[0];
        // An odd window meets the map exactly, so rounding up changes nothing.
        let is_same = Self { ceil: false, ..*self } == Self::same(side);
        (is_same && side % 2 == 1).then_some(side)
    }

    /// Checks the numbers; the error says what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let small = |pair: [usize; 2]| pair.iter().all(|n| (1..=MAX_KERNEL).contains(n));
        if !small(self.kernel) || !small(self.stride) {
            return Err(format!("has a window or stride that is not between 1 and {MAX_KERNEL}"));
        }
        if (0..2).any(|axis| 2 * self.padding[axis] > self.kernel[axis]) {
            return Err("has a padding of more than half of its window".to_owned());
        }
        Ok(())
    }
}

impl PixelOrder {
    /// Row and column of the pixel that makes group `group`, in squares of `size`×`size`.
    pub fn pixel(self, group: usize, size: usize) -> [usize; 2] {
        match self {
            Self::Rows => [group / size, group % size],
            Self::Columns => [group % size, group / size],
        }
    }
}
