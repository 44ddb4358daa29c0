//! The way in and out: images to planes, planes to maps or boxes.

use yolo_model::LevelChannels;

use super::{Context, Place};
use crate::kernels::Span;
use crate::kernels::decode::{Decode, LaneRow};

/// Brings images into planes, without their borders.
#[derive(Debug)]
pub(crate) struct InputStep {
    pub(crate) place: Place,
    pub(crate) batch: usize,
}

/// Rows of a plane that a chunk of the input takes.
const ROWS: usize = 8;

impl InputStep {
    fn row_chunks(&self) -> usize {
        self.place.layout.tile[0].div_ceil(ROWS)
    }

    pub(crate) fn chunks(&self) -> usize {
        self.batch * self.place.channels * self.row_chunks()
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let (plane, row_chunk) = (chunk / self.row_chunks(), chunk % self.row_chunks());
        let (image, channel) = (plane / self.place.channels, plane % self.place.channels);
        let layout = &self.place.layout;
        let [height, width] = layout.size;
        // SAFETY: the place lies in the arena, the map in the input; this thread alone has these rows.
        unsafe {
            let to = self.place.span(context.arena, image).part(channel * layout.plane(), layout.plane());
            let from = context.input.part(plane * height * width, height * width);
            for y in row_chunk * ROWS..((row_chunk + 1) * ROWS).min(layout.tile[0]) {
                let to = to.part(layout.at(y as isize, 0), layout.tile[1] * layout.lanes);
                if let Some(starts) = self.whole_rows(y) {
                    (context.kernels.interleave)(from, &starts[..layout.lanes], layout.tile[1], to);
                } else {
                    self.fill(from, to, y);
                }
            }
        }
    }

    /// Where each tile's row `y` begins in the map, if all of them lie in it.
    fn whole_rows(&self, y: usize) -> Option<[usize; 16]> {
        let layout = &self.place.layout;
        let mut starts = [0; 16];
        for (lane, start) in starts.iter_mut().enumerate().take(layout.lanes) {
            let [row, column] = layout.corner(lane);
            if row + y >= layout.size[0] || column + layout.tile[1] > layout.size[1] {
                return None;
            }
            *start = (row + y) * layout.size[1] + column;
        }
        Some(starts)
    }

    /// Brings row `y` of the tiles in, number by number; zeros where they reach beyond the map.
    ///
    /// # Safety
    /// `from` is the map, `to` the tiles' row.
    unsafe fn fill(&self, from: Span, to: Span, y: usize) {
        let layout = &self.place.layout;
        let [height, width] = layout.size;
        for lane in 0..layout.lanes {
            let [row, column] = layout.corner(lane);
            for x in 0..layout.tile[1] {
                let is_inside = row + y < height && column + x < width;
                // SAFETY: by contract.
                unsafe {
                    let number = if is_inside { from.get((row + y) * width + column + x) } else { 0.0 };
                    to.set(x * layout.lanes + lane, number);
                }
            }
        }
    }
}

/// Where a value goes in the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet {
    /// Its first number.
    pub(crate) offset: usize,
    /// From an image to the next.
    pub(crate) image: usize,
}

/// Writes a value to the output as `[channels, height, width]` per image.
#[derive(Debug)]
pub(crate) struct MapStep {
    pub(crate) place: Place,
    pub(crate) outlet: Outlet,
    pub(crate) batch: usize,
}

impl MapStep {
    pub(crate) fn chunks(&self) -> usize {
        self.batch * self.place.channels
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let (image, channel) = (chunk / self.place.channels, chunk % self.place.channels);
        let layout = &self.place.layout;
        let [height, width] = layout.size;
        // SAFETY: the place lies in the arena, the map in the output; this thread alone has this channel.
        unsafe {
            let from = self.place.span(context.arena, image).part(channel * layout.plane(), layout.plane());
            let at = self.outlet.offset + image * self.outlet.image + channel * height * width;
            let to = context.output.part(at, height * width);
            for lane in 0..layout.lanes {
                let [row, column] = layout.corner(lane);
                for y in 0..layout.tile[0].min(height.saturating_sub(row)) {
                    for x in 0..layout.tile[1].min(width.saturating_sub(column)) {
                        let number = from.get(layout.at(y as isize, x as isize) + lane);
                        to.set((row + y) * width + column + x, number);
                    }
                }
            }
        }
    }
}

/// Decodes a level of the head.
#[derive(Debug)]
pub(crate) struct DecodeStep {
    pub(crate) place: Place,
    pub(crate) channels: LevelChannels,
    /// Of the level's first row; images are far apart.
    pub(crate) outlet: Outlet,
    pub(crate) batch: usize,
}

impl DecodeStep {
    pub(crate) fn chunks(&self) -> usize {
        self.batch * self.channels.groups.len() * self.place.layout.tile[0]
    }

    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        self.channels.row_width() * lanes
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let layout = &self.place.layout;
        let (groups, row_width) = (self.channels.groups.len(), self.channels.row_width());
        let (rest, y) = (chunk / layout.tile[0], chunk % layout.tile[0]);
        let (image, group) = (rest / groups, rest % groups);
        let channels = self.channels.groups[group].as_slice();
        let [height, width] = layout.size;
        let mut lanes = [LaneRow { first_row: 0, x: 0.0, y: 0.0, cells: 0 }; 16];
        let lanes = &mut lanes[..layout.lanes];
        for (lane, row) in lanes.iter_mut().enumerate() {
            let [corner_y, grid_x] = layout.corner(lane);
            let grid_y = corner_y + y;
            let is_inside = grid_y < height && grid_x < width;
            *row = LaneRow {
                first_row: (group * height + grid_y) * width + grid_x,
                x: grid_x as f32,
                y: grid_y as f32,
                cells: if is_inside { (width - grid_x).min(layout.tile[1]) } else { 0 },
            };
        }
        let rows = groups * height * width;
        // SAFETY: the place lies in the arena, the rows in the output; this thread alone has these cells.
        unsafe {
            let planes = self.place.span(context.arena, image);
            let rows = context.output.part(self.outlet.offset + image * self.outlet.image, rows * row_width);
            (context.kernels.decode)(&Decode {
                logits: planes.from(group * channels.len() * layout.plane() + layout.at(y as isize, 0)),
                plane: layout.plane(),
                channels,
                width: row_width,
                cells: layout.tile[1],
                lanes,
                stride: self.channels.stride,
                rows,
                scratch: context.scratch,
            });
        }
    }
}
