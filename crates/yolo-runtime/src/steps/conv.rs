//! Convolutions: how the pixels and channels of a layer are cut into tiles and chunks.

mod job;

use super::{Context, Place};
use crate::choice::{KernelId, Order};
use crate::kernels::Kernels;
use crate::kernels::math::Activate;
use crate::kernels::tile::{TileKernel, ZipKernel};
use crate::network::Conv;
use crate::pack::{Packed, Zipped};
use crate::tiling::BorderTable;
use job::Job;
use std::ops::Range;
use std::sync::Arc;

/// What the input of one chunk may take of the second cache.
const CHUNK_BYTES: usize = 512 << 10;
/// Chunks per thread, so that threads that are held up leave work to the others.
const CHUNKS_PER_THREAD: usize = 6;

/// A convolution in a plan.
pub(crate) struct ConvStep {
    /// Name of the layer.
    pub(crate) name: String,
    kernel: KernelId,
    entries: Entries,
    packed: Packed,
    zipped: Option<Zipped>,
    /// One per channel of every group, zeros behind the last.
    bias: Vec<f32>,
    out_channels: usize,
    activate: Activate,
    /// Whether the input of the next tile is asked for: not if every channel reads another part of it.
    fetches: bool,
    batch: usize,
    places: ConvPlaces,
    /// First tap of every pixel vector in an image of the input.
    input_pixels: Vec<u32>,
    output_pixels: Vec<u32>,
    twin_pixels: Vec<u32>,
    residual_pixels: Vec<u32>,
    /// Distances of the taps that the next pixel in a row of the output does not share with the one before.
    fresh_taps: Vec<u32>,
    /// The same for all input channels.
    next_taps: Vec<u32>,
    /// Where each tile begins among the pixel vectors, and where the last one ends.
    tile_starts: Vec<usize>,
    chunk_tiles: usize,
    chunk_groups: usize,
    /// Filled by the convolution itself where a chunk holds whole planes.
    border: Option<Arc<BorderTable>>,
}

/// Entry points of a kernel for every size of tile, up to the kernel's own.
#[derive(Clone, Copy)]
pub(crate) enum Entries {
    /// For 1.. pixel vectors.
    Tiles(&'static [TileKernel]),
    /// For 1.. rows of [`KernelId::row`] pixel vectors.
    Zips(&'static [ZipKernel]),
}

impl Entries {
    /// Those of `kernel`, if there is such a kernel and it can do `conv`.
    pub(crate) fn of(
        kernel: KernelId,
        conv: &Conv,
        places: &ConvPlaces,
        kernels: &'static Kernels,
    ) -> Option<Self> {
        if !places.output.layout.tile[1].is_multiple_of(kernel.row()) {
            return None;
        }
        match kernel.zips(kernels, conv.stride[1]) {
            Some(zips) => Some(Self::Zips(zips)),
            None => kernel.tiles(kernels).map(Self::Tiles),
        }
    }
}

/// Where a convolution reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct ConvPlaces {
    pub(crate) input: Place,
    pub(crate) output: Place,
    /// Where the channels behind those of `output` go.
    pub(crate) twin: Option<Place>,
    pub(crate) residual: Option<Place>,
}

impl std::fmt::Debug for ConvStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConvStep")
            .field("name", &self.name)
            .field("kernel", &self.kernel)
            .finish_non_exhaustive()
    }
}

impl ConvStep {
    /// The step for `conv` on `kernel`, for a team of `threads`.
    pub(crate) fn new(
        conv: &Conv,
        (kernel, entries): (KernelId, Entries),
        places: &ConvPlaces,
        batch: usize,
        threads: usize,
    ) -> Self {
        let input = &places.input.layout;
        let packed = Packed::new(conv, input, kernel.family, kernel.channels, kernel.block);
        let mut bias = conv.bias.clone();
        bias.resize(packed.groups * kernel.channels, 0.0);
        let (order, tile_starts) = cut_pixels(places.output.layout.tile, kernel);
        let ordered = |pixels: Vec<u32>| -> Vec<u32> { order.iter().map(|&at| pixels[at]).collect() };
        let pixels = |place: &Place| ordered(place.layout.pixels());
        let maybe = |place: &Option<Place>| place.as_ref().map(pixels).unwrap_or_default();
        let mut step = Self {
            name: conv.name.clone(),
            kernel,
            entries,
            packed,
            zipped: None,
            bias,
            out_channels: conv.out_channels,
            activate: Activate::of(conv.activation),
            fetches: conv.groups == 1,
            batch,
            input_pixels: ordered(first_taps(conv, places)),
            output_pixels: pixels(&places.output),
            twin_pixels: maybe(&places.twin),
            residual_pixels: maybe(&places.residual),
            places: places.clone(),
            fresh_taps: fresh_taps(conv, places),
            next_taps: Vec::new(),
            tile_starts,
            chunk_tiles: 0,
            chunk_groups: 0,
            border: None,
        };
        step.cut(conv, threads);
        if kernel.family.is_zipped() {
            let set = kernel.channels;
            step.zipped = Some(Zipped::new(conv, input, set, step.chunk_groups * set, kernel.block));
            step.next_taps = step.all_fresh_taps();
        }
        step
    }

    /// Has the convolution fill the borders of its output, if its chunks hold whole planes; whether they do.
    pub(crate) fn fills_border(&mut self, border: &Arc<BorderTable>) -> bool {
        let is_whole = self.chunk_tiles >= self.tiles();
        if is_whole {
            self.border = Some(Arc::clone(border));
        }
        is_whole
    }

    /// Cuts the work into chunks.
    fn cut(&mut self, conv: &Conv, threads: usize) {
        let tiles = self.tiles();
        let wanted = (threads * CHUNKS_PER_THREAD).div_ceil(self.batch);
        let per_channel = self.places.input.channels / conv.groups;
        let in_channels = (per_channel * self.kernel.channels).min(self.places.input.channels);
        let in_channels = if conv.groups == 1 { per_channel } else { in_channels };
        let lanes = self.places.input.layout.lanes;
        let vectors_per_pixel = conv.stride[0] * conv.stride[1] * in_channels;
        let tile_bytes = vectors_per_pixel * lanes * size_of::<f32>() * self.kernel.pixels;
        let mut chunks = tiles.div_ceil((CHUNK_BYTES / tile_bytes).max(4));
        if self.kernel.order == Order::Pixels {
            chunks = chunks.max(wanted.min(tiles.div_ceil(2)));
        }
        self.chunk_tiles = tiles.div_ceil(chunks);
        let group_chunks = wanted.div_ceil(self.pixel_chunks()).min(self.packed.groups);
        self.chunk_groups = self.packed.groups.div_ceil(group_chunks);
    }

    /// Tiles of an image.
    fn tiles(&self) -> usize {
        self.tile_starts.len() - 1
    }

    /// The pixel vectors of a tile; none behind the last tile.
    fn tile(&self, tile: usize) -> Range<usize> {
        let start = |at: usize| self.tile_starts[at.min(self.tiles())];
        start(tile)..start(tile + 1)
    }

    fn all_fresh_taps(&self) -> Vec<u32> {
        let input = &self.places.input;
        let of_channel = |channel| {
            let plane = (channel * input.layout.plane()) as u32;
            self.fresh_taps.iter().map(move |tap| plane + tap)
        };
        (0..input.channels).flat_map(of_channel).collect()
    }

    fn pixel_chunks(&self) -> usize {
        self.tiles().div_ceil(self.chunk_tiles)
    }

    fn group_chunks(&self) -> usize {
        self.packed.groups.div_ceil(self.chunk_groups)
    }

    pub(crate) fn chunks(&self) -> usize {
        self.batch * self.pixel_chunks() * self.group_chunks()
    }

    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        let groups = if self.packed.blocks > 1 || self.zipped.is_some() { self.chunk_groups } else { 1 };
        groups * self.kernel.channels * self.kernel.pixels * lanes
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        let zipped = self.zipped.as_ref().map_or(0, Zipped::weight_bytes);
        zipped + self.packed.weight_bytes() + self.bias.len() * size_of::<f32>()
    }

    pub(crate) fn index_bytes(&self) -> usize {
        let out = self.output_pixels.len() + self.twin_pixels.len() + self.residual_pixels.len();
        let pixels = self.input_pixels.len() + out;
        let zipped = self.zipped.as_ref().map_or(0, Zipped::index_bytes);
        zipped + self.packed.index_bytes() + (pixels + self.next_taps.len()) * size_of::<u32>()
    }

    /// Does one chunk.
    ///
    /// # Safety
    /// That of [`super::Step::run`].
    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let (rest, group_chunk) = (chunk / self.group_chunks(), chunk % self.group_chunks());
        let (image, pixel_chunk) = (rest / self.pixel_chunks(), rest % self.pixel_chunks());
        let part = |at: usize, size: usize, end: usize| at * size..((at + 1) * size).min(end);
        let tiles = part(pixel_chunk, self.chunk_tiles, self.tiles());
        let groups = part(group_chunk, self.chunk_groups, self.packed.groups);
        // SAFETY: by contract; the places lie in the arena.
        unsafe {
            let job = Job {
                step: self,
                kernels: context.kernels,
                scratch: context.scratch,
                input: self.places.input.span(context.arena, image),
                output: self.places.output.span(context.arena, image),
                twin: self.places.twin.as_ref().map(|place| place.span(context.arena, image)),
                residual: self.places.residual.as_ref().map(|place| place.span(context.arena, image)),
            };
            match (self.entries, &self.zipped, self.kernel.order) {
                (Entries::Zips(entries), Some(zipped), _) => {
                    job.by_zips(entries, zipped, tiles, groups.clone())
                }
                (Entries::Zips(_), None, _) => {}
                (Entries::Tiles(entries), _, Order::Groups) => job.by_groups(entries, tiles, groups.clone()),
                (Entries::Tiles(entries), _, Order::Pixels) => job.by_pixels(entries, tiles, groups.clone()),
            }
            if let Some(border) = &self.border {
                job.fill_border(border, groups);
            }
        }
    }
}

/// The order in which a kernel goes through the pixel vectors of a tile of lanes, and where in it each of its own
/// tiles begins.
///
/// A patch takes neighbouring rows, which read much the same input: it stays in the first cache.
fn cut_pixels([height, width]: [usize; 2], kernel: KernelId) -> (Vec<usize>, Vec<usize>) {
    let mut order = Vec::with_capacity(height * width);
    let mut starts = Vec::new();
    if kernel.row() == 1 {
        order.extend(0..height * width);
        starts.extend((0..height * width).step_by(kernel.pixels));
    } else {
        let rows = kernel.pixels / kernel.row();
        for top in (0..height).step_by(rows) {
            for left in (0..width).step_by(kernel.row()) {
                starts.push(order.len());
                let row = |y: usize| y * width + left..y * width + left + kernel.row();
                order.extend((top..(top + rows).min(height)).flat_map(row));
            }
        }
    }
    starts.push(order.len());
    (order, starts)
}

/// Where the first tap of every output pixel lies in an image of the input.
fn first_taps(conv: &Conv, places: &ConvPlaces) -> Vec<u32> {
    let [height, width] = places.output.layout.tile;
    let input = &places.input.layout;
    let place = |at: usize, axis: usize| (at * conv.stride[axis]) as isize - conv.padding[axis] as isize;
    let row = |y| (0..width).map(move |x| input.at(place(y, 0), place(x, 1)) as u32);
    (0..height).flat_map(row).collect()
}

/// Where in a window the taps lie that neither the pixel to the left nor the one above have read.
fn fresh_taps(conv: &Conv, places: &ConvPlaces) -> Vec<u32> {
    let layout = &places.input.layout;
    let fresh = |axis: usize| {
        let reach = (conv.kernel[axis] - 1) * conv.dilation[axis] + 1;
        reach.saturating_sub(conv.stride[axis])..reach
    };
    let row = |y: usize| fresh(1).map(move |x| (y * layout.row() + x * layout.lanes) as u32);
    fresh(0).flat_map(row).collect()
}
