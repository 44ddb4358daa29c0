//! From the head's logits to boxes.

use yolo_model::{Channel, Side};

use super::math::{exp, sigmoid};
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
            let grid = [s.load(corners[0].as_ptr()), s.load(corners[1].as_ptr())];
            let first_score = distances(s, d, cell, grid);
            scores(s, d, cell, grid, first_score);
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

/// The logits of channel `index`, and a request for those of the cells to come.
#[inline(always)]
unsafe fn logit<S: Simd>(s: S, d: &Decode<'_>, cell: usize, index: usize) -> S::V {
    // Every plane is another page, which the processor does not foresee.
    d.logits.prefetch(index * d.plane + (cell + 2) * S::LANES);
    // SAFETY: by the contract of `decode`.
    unsafe { d.logits.load(s, index * d.plane + cell * S::LANES) }
}

/// Makes boxes of the distances to their sides, which come before all other channels if there are any. Returns the number of
/// channels that they took.
#[inline(always)]
unsafe fn distances<S: Simd>(s: S, d: &Decode<'_>, cell: usize, grid: [S::V; 2]) -> usize {
    let mut sides = [s.splat(0.0); 4];
    let mut index = 0;
    // SAFETY: by the contract of `decode`.
    unsafe {
        while index < d.channels.len() {
            match d.channels[index] {
                Channel::Bin { side, .. } => {
                    let bins = d.channels[index..].iter().take_while(|channel| is_bin(channel, side)).count();
                    sides[side as usize] = expectation(s, d, cell, index, bins);
                    index += bins;
                }
                Channel::Distance(side) => {
                    sides[side as usize] = logit(s, d, cell, index);
                    index += 1;
                }
                _ => break,
            }
        }
        if index > 0 {
            for axis in 0..2 {
                let anchor = s.add(grid[axis], s.splat(0.5));
                let (low, high) = (s.sub(anchor, sides[axis]), s.add(anchor, sides[2 + axis]));
                let centre = s.mul(s.mul(s.add(low, high), s.splat(0.5)), s.splat(d.stride));
                d.scratch.store(s, axis * S::LANES, centre);
                d.scratch.store(s, (2 + axis) * S::LANES, s.mul(s.sub(high, low), s.splat(d.stride)));
            }
        }
    }
    index
}

fn is_bin(channel: &Channel, of: Side) -> bool {
    matches!(channel, Channel::Bin { side, .. } if *side == of)
}

/// The expectation of the numbers of `bins` bins, whose logits begin at channel `first`, over their softmax.
#[inline(always)]
unsafe fn expectation<S: Simd>(s: S, d: &Decode<'_>, cell: usize, first: usize, bins: usize) -> S::V {
    // SAFETY: by the contract of `decode`.
    unsafe {
        let mut largest = logit(s, d, cell, first);
        for i in 1..bins {
            largest = s.max(largest, logit(s, d, cell, first + i));
        }
        let (mut total, mut weighted) = (s.splat(0.0), s.splat(0.0));
        for i in 0..bins {
            let Channel::Bin { bin, .. } = d.channels[first + i] else { break };
            let logit = d.logits.load(s, (first + i) * d.plane + cell * S::LANES);
            let share = exp(s, s.sub(logit, largest));
            total = s.add(total, share);
            weighted = s.mul_add(share, s.splat(bin as f32), weighted);
        }
        s.mul(weighted, s.reciprocal(total))
    }
}

/// Decodes the channels from `first` on, whose boxes and scores are functions of one logit each.
#[inline(always)]
unsafe fn scores<S: Simd>(s: S, d: &Decode<'_>, cell: usize, grid: [S::V; 2], first: usize) {
    let (mut objectness, mut output) = (s.splat(1.0), if first > 0 { 4 } else { 0 });
    for index in first..d.channels.len() {
        // SAFETY: by the contract of `decode`.
        unsafe {
            let score = sigmoid(s, logit(s, d, cell, index));
            let v = match d.channels[index] {
                Channel::Class => s.mul(score, objectness),
                Channel::CentreX => centre(s, score, grid[0], d.stride),
                Channel::CentreY => centre(s, score, grid[1], d.stride),
                Channel::Width(side) | Channel::Height(side) => {
                    let double = s.add(score, score);
                    s.mul(s.mul(double, double), s.splat(side))
                }
                Channel::Objectness => {
                    objectness = score;
                    continue;
                }
                // They come first.
                Channel::Bin { .. } | Channel::Distance(_) => continue,
            };
            d.scratch.store(s, output * S::LANES, v);
        }
        output += 1;
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
