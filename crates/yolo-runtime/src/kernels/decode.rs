//! From the head's logits to boxes.

use super::math::sigmoid;
use super::span::Span;
use yolo_simd::Simd;

/// One row of cells of one anchor.
pub(crate) struct Decode<'a> {
    /// First pixel vector of this row of the tile, in the plane of the anchor's first channel.
    pub(crate) logits: Span,
    /// Numbers from one plane to the next.
    pub(crate) plane: usize,
    /// Numbers per box: 5 + classes.
    pub(crate) width: usize,
    /// Cells in this row of the tile.
    pub(crate) cells: usize,
    /// For every lane, the number of its row's first cell in `boxes`, and the cell's place in the grid.
    pub(crate) lanes: &'a [LaneRow],
    /// Pixels per cell.
    pub(crate) stride: f32,
    /// Width and height of the anchor in pixels.
    pub(crate) anchor: [f32; 2],
    /// The boxes of this image.
    pub(crate) boxes: Span,
    /// Room for `width` vectors.
    pub(crate) scratch: Span,
}

/// Where a lane's part of a row of cells lies.
#[derive(Clone, Copy)]
pub(crate) struct LaneRow {
    /// Number of the box of its first cell.
    pub(crate) first_box: usize,
    /// Its first cell.
    pub(crate) x: f32,
    /// Its row in the grid.
    pub(crate) y: f32,
    /// How many of its cells lie in the image.
    pub(crate) cells: usize,
}

/// Decodes the row.
///
/// # Safety
/// The processor has the instructions; there are `LANES` lanes; everything lies inside its span; nobody else
/// uses these boxes and the scratch.
#[inline(always)]
pub(crate) unsafe fn decode<S: Simd>(s: S, d: &Decode<'_>) {
    let mut corners = [[0.0; 16]; 2];
    for cell in 0..d.cells {
        for (lane, row) in d.lanes.iter().enumerate() {
            corners[0][lane] = row.x + cell as f32;
            corners[1][lane] = row.y;
        }
        // SAFETY: by the contract of this function; a vector has at most 16 lanes.
        unsafe {
            for channel in 0..d.width {
                let logit = d.logits.load(s, channel * d.plane + cell * S::LANES);
                // Every plane is another page, which the processor does not foresee.
                d.logits.prefetch(channel * d.plane + (cell + 2) * S::LANES);
                let mut v = sigmoid(s, logit);
                if channel < 2 {
                    let corner = s.load(corners[channel].as_ptr());
                    let offset = s.add(s.mul_add(v, s.splat(2.0), s.splat(-0.5)), corner);
                    v = s.mul(offset, s.splat(d.stride));
                } else if channel < 4 {
                    let double = s.add(v, v);
                    v = s.mul(s.mul(double, double), s.splat(d.anchor[channel - 2]));
                }
                d.scratch.store(s, channel * S::LANES, v);
            }
            if d.width >= S::LANES && d.lanes.iter().all(|row| cell < row.cells) {
                write_boxes(s, d, cell);
                continue;
            }
            for (lane, row) in d.lanes.iter().enumerate() {
                if cell < row.cells {
                    let to = d.boxes.part((row.first_box + cell) * d.width, d.width);
                    for channel in 0..d.width {
                        to.set(channel, d.scratch.get(channel * S::LANES + lane));
                    }
                }
            }
        }
    }
}

/// Writes the box of every lane from the scratch, as many numbers of each at a time as there are lanes.
#[inline(always)]
unsafe fn write_boxes<S: Simd>(s: S, d: &Decode<'_>, cell: usize) {
    let mut channel = 0;
    while channel < d.width {
        // The last block begins where it ends with the box.
        channel = channel.min(d.width - S::LANES);
        let mut rows = [s.splat(0.0); 16];
        // SAFETY: by the contract of `decode`.
        unsafe {
            for i in 0..S::LANES {
                rows[i] = d.scratch.load(s, (channel + i) * S::LANES);
            }
            s.transpose(&mut rows);
            for (lane, row) in d.lanes.iter().enumerate() {
                let at = (row.first_box + cell) * d.width + channel;
                d.boxes.store(s, at, rows[lane]);
                // Stores that wait for their lines hold up loads from the same place of other pages.
                d.boxes.prefetch_to_write(at + 2 * d.width);
            }
        }
        channel += S::LANES;
    }
}
