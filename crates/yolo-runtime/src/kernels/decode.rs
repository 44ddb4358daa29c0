//! From the head's logits to boxes.

use yolo_model::Channel;

use super::math::sigmoid;
use super::span::Span;
use yolo_simd::Simd;

/// One line of cells of one group of channels.
pub(crate) struct Decode<'a> {
    /// First pixel vector of this line of the tile, in the plane of the group's first channel.
    pub(crate) logits: Span,
    /// Numbers from one plane to the next.
    pub(crate) plane: usize,
    /// The meaning of the group's channels.
    pub(crate) channels: &'a [Channel],
    /// Numbers per row of predictions: 4 + classes.
    pub(crate) width: usize,
    /// Cells in this line of the tile.
    pub(crate) cells: usize,
    /// For every lane, the number of its line's first cell in `rows`, and the cell's place in the grid.
    pub(crate) lanes: &'a [LaneRow],
    /// Pixels per cell.
    pub(crate) stride: f32,
    /// The rows of predictions of this image.
    pub(crate) rows: Span,
    /// Room for `width` vectors.
    pub(crate) scratch: Span,
}

/// Where a lane's part of a line of cells lies.
#[derive(Clone, Copy)]
pub(crate) struct LaneRow {
    /// Number of the row of predictions of its first cell.
    pub(crate) first_row: usize,
    /// Its first cell.
    pub(crate) x: f32,
    /// Its row in the grid.
    pub(crate) y: f32,
    /// How many of its cells lie in the image.
    pub(crate) cells: usize,
}

/// Decodes the line.
///
/// # Safety
/// The processor has the instructions; there are `LANES` lanes; everything lies inside its span; nobody else
/// uses these rows and the scratch.
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
            let (mut objectness, mut output) = (s.splat(1.0), 0);
            for (index, channel) in d.channels.iter().enumerate() {
                let logit = d.logits.load(s, index * d.plane + cell * S::LANES);
                // Every plane is another page, which the processor does not foresee.
                d.logits.prefetch(index * d.plane + (cell + 2) * S::LANES);
                let score = sigmoid(s, logit);
                let v = match *channel {
                    Channel::Class => s.mul(score, objectness),
                    Channel::CentreX => centre(s, score, s.load(corners[0].as_ptr()), d.stride),
                    Channel::CentreY => centre(s, score, s.load(corners[1].as_ptr()), d.stride),
                    Channel::Width(side) | Channel::Height(side) => {
                        let double = s.add(score, score);
                        s.mul(s.mul(double, double), s.splat(side))
                    }
                    Channel::Objectness => {
                        objectness = score;
                        continue;
                    }
                };
                d.scratch.store(s, output * S::LANES, v);
                output += 1;
            }
            if d.width >= S::LANES && d.lanes.iter().all(|row| cell < row.cells) {
                write_rows(s, d, cell);
                continue;
            }
            for (lane, row) in d.lanes.iter().enumerate() {
                if cell < row.cells {
                    let to = d.rows.part((row.first_row + cell) * d.width, d.width);
                    for channel in 0..d.width {
                        to.set(channel, d.scratch.get(channel * S::LANES + lane));
                    }
                }
            }
        }
    }
}

/// `(2σ − ½ + cell) · stride`.
#[inline(always)]
fn centre<S: Simd>(s: S, score: S::V, cell: S::V, stride: f32) -> S::V {
    s.mul(s.add(s.mul_add(score, s.splat(2.0), s.splat(-0.5)), cell), s.splat(stride))
}

/// Writes the row of every lane from the scratch, as many numbers of each at a time as there are lanes.
#[inline(always)]
unsafe fn write_rows<S: Simd>(s: S, d: &Decode<'_>, cell: usize) {
    let mut channel = 0;
    while channel < d.width {
        // The last block begins where it ends with the row.
        channel = channel.min(d.width - S::LANES);
        let mut rows = [s.splat(0.0); 16];
        // SAFETY: by the contract of `decode`.
        unsafe {
            for i in 0..S::LANES {
                rows[i] = d.scratch.load(s, (channel + i) * S::LANES);
            }
            s.transpose(&mut rows);
            for (lane, row) in d.lanes.iter().enumerate() {
                let at = (row.first_row + cell) * d.width + channel;
                d.rows.store(s, at, rows[lane]);
                // Stores that wait for their lines hold up loads from the same place of other pages.
                d.rows.prefetch_to_write(at + 2 * d.width);
            }
        }
        channel += S::LANES;
    }
}
