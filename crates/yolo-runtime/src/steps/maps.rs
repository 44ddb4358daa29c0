//! Steps on whole planes.

use super::{Context, Place};
use crate::kernels::border::Border;
use crate::kernels::planes::Plane;
use crate::kernels::pool::{Pool, scratch_vectors};
use crate::tiling::{BorderTable, PoolTable};
use std::ops::Range;
use std::sync::Arc;

/// The planes of a batch cut into chunks of neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaneChunks {
    channels: usize,
    planes: usize,
    per_chunk: usize,
}

impl PlaneChunks {
    /// For `batch` images of `channels`, about eight chunks per thread.
    pub(super) fn new(batch: usize, channels: usize, threads: usize) -> Self {
        let planes = batch * channels;
        Self { channels, planes, per_chunk: planes.div_ceil(threads * 8).max(1) }
    }

    pub(super) fn chunks(self) -> usize {
        self.planes.div_ceil(self.per_chunk)
    }

    /// Image and channel of the planes of a chunk.
    pub(super) fn planes(self, chunk: usize) -> impl Iterator<Item = (usize, usize)> {
        let range: Range<usize> = chunk * self.per_chunk..((chunk + 1) * self.per_chunk).min(self.planes);
        range.map(move |plane| (plane / self.channels, plane % self.channels))
    }
}

/// The tile of one channel.
///
/// # Safety
/// The place lies in the arena and has the channel.
pub(super) unsafe fn plane(place: &Place, context: &Context, image: usize, channel: usize) -> Plane {
    let layout = &place.layout;
    // SAFETY: by contract.
    let pixels = unsafe {
        place.span(context.arena, image).part(channel * layout.plane(), layout.plane()).from(layout.at(0, 0))
    };
    Plane { pixels, row: layout.row() }
}

/// Fills the borders of a value.
#[derive(Debug)]
pub(crate) struct BorderStep {
    place: Place,
    table: Arc<BorderTable>,
    chunks: PlaneChunks,
}

impl BorderStep {
    pub(crate) fn new(place: Place, table: Arc<BorderTable>, batch: usize, threads: usize) -> Self {
        let chunks = PlaneChunks::new(batch, place.channels, threads);
        Self { place, table, chunks }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.chunks()
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let size = self.place.layout.plane();
        for (image, channel) in self.chunks.planes(chunk) {
            // SAFETY: the place lies in the arena; this thread alone has these planes.
            unsafe {
                (context.kernels.fill_border)(&Border {
                    plane: self.place.span(context.arena, image).part(channel * size, size),
                    runs: &self.table.runs,
                    permutations: &self.table.permutations,
                });
            }
        }
    }
}

/// Max-pools one after the other, each of what the one before it made.
#[derive(Debug)]
pub(crate) struct PoolStep {
    /// The input, then the output of each pool.
    places: Vec<Place>,
    reach: usize,
    table: PoolTable,
    chunks: PlaneChunks,
}

impl PoolStep {
    pub(crate) fn new(places: Vec<Place>, size: usize, batch: usize, threads: usize) -> Self {
        let chunks = PlaneChunks::new(batch, places[0].channels, threads);
        let table = PoolTable::new(&places[0].layout, size / 2);
        Self { places, reach: size / 2, table, chunks }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.chunks()
    }

    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        scratch_vectors(self.places[0].layout.tile, self.reach) * lanes
    }

    pub(crate) fn index_bytes(&self) -> usize {
        self.table.bytes()
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        for (image, channel) in self.chunks.planes(chunk) {
            for pair in self.places.windows(2) {
                // SAFETY: the places lie in the arena; this thread alone has these planes.
                unsafe {
                    let [input, output] = [0, 1].map(|i| plane(&pair[i], context, image, channel));
                    (context.kernels.pool)(&Pool {
                        input: input.pixels,
                        input_row: input.row,
                        output: output.pixels,
                        output_row: output.row,
                        tile: pair[0].layout.tile,
                        reach: self.reach,
                        sources: &self.table.sources,
                        permutations: &self.table.permutations,
                        scratch: context.scratch,
                    });
                }
            }
        }
    }
}

/// Copies a value, enlarged by a factor.
#[derive(Debug)]
pub(crate) struct CopyStep {
    input: Place,
    output: Place,
    scale: usize,
    chunks: PlaneChunks,
}

impl CopyStep {
    pub(crate) fn new(input: Place, output: Place, scale: usize, batch: usize, threads: usize) -> Self {
        let chunks = PlaneChunks::new(batch, input.channels, threads);
        Self { input, output, scale, chunks }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.chunks()
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        for (image, channel) in self.chunks.planes(chunk) {
            // SAFETY: the places lie in the arena; this thread alone has these planes.
            unsafe {
                let input = plane(&self.input, context, image, channel);
                let output = plane(&self.output, context, image, channel);
                (context.kernels.upsample)(input, output, self.output.layout.tile, self.scale);
            }
        }
    }
}

/// Adds two values.
#[derive(Debug)]
pub(crate) struct AddStep {
    inputs: [Place; 2],
    output: Place,
    chunks: PlaneChunks,
}

impl AddStep {
    pub(crate) fn new(inputs: [Place; 2], output: Place, batch: usize, threads: usize) -> Self {
        let chunks = PlaneChunks::new(batch, output.channels, threads);
        Self { inputs, output, chunks }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.chunks()
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        for (image, channel) in self.chunks.planes(chunk) {
            // SAFETY: the places lie in the arena; this thread alone has these planes.
            unsafe {
                let [a, b] = [0, 1].map(|i| plane(&self.inputs[i], context, image, channel));
                let output = plane(&self.output, context, image, channel);
                (context.kernels.add)(a, b, output, self.output.layout.tile);
            }
        }
    }
}
