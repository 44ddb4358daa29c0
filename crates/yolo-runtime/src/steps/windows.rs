//! Pools over any windows and zeros around maps, pixel by pixel, and rearrangements of squares, vector by vector.

use super::maps::{PlaneChunks, plane};
use super::{Context, Place};
use crate::kernels::planes::Lattice;
use crate::tiling::PlaneLayout;
use yolo_model::program::{PixelOrder, PoolSpec};

/// The largest of some pixels, or zero where there are none.
#[derive(Debug)]
pub(crate) struct WindowStep {
    input: Place,
    output: Place,
    /// Where the pixels of the output lie in a plane.
    pixels: Vec<u32>,
    /// Where the sources of each begin in `sources`, and where the last ones end.
    starts: Vec<u32>,
    sources: Vec<u32>,
    chunks: PlaneChunks,
}

impl WindowStep {
    /// A pool, whose padding counts as −∞.
    pub(crate) fn pool(input: Place, output: Place, pool: &PoolSpec, batch: usize, threads: usize) -> Self {
        let size = input.layout.size;
        let window = |[y, x]: [usize; 2]| {
            let range = |at: usize, axis: usize| {
                let first = at * pool.stride[axis];
                let end = (first + pool.kernel[axis]).saturating_sub(pool.padding[axis]);
                first.saturating_sub(pool.padding[axis])..end.min(size[axis])
            };
            let (rows, columns) = (range(y, 0), range(x, 1));
            rows.flat_map(move |row| columns.clone().map(move |column| [row, column])).collect()
        };
        Self::new(input, output, window, batch, threads)
    }

    /// Zeros on the left, on the right, above and below.
    pub(crate) fn zero_pad(
        input: Place,
        output: Place,
        [left, _, above, _]: [usize; 4],
        batch: usize,
        threads: usize,
    ) -> Self {
        let size = input.layout.size;
        let source = |[y, x]: [usize; 2]| match (y.checked_sub(above), x.checked_sub(left)) {
            (Some(row), Some(column)) if row < size[0] && column < size[1] => vec![[row, column]],
            _ => Vec::new(),
        };
        Self::new(input, output, source, batch, threads)
    }

    fn new(
        input: Place,
        output: Place,
        sources_of: impl Fn([usize; 2]) -> Vec<[usize; 2]>,
        batch: usize,
        threads: usize,
    ) -> Self {
        let [height, width] = output.layout.size;
        let (mut starts, mut sources) = (vec![0], Vec::new());
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            sources.extend(sources_of([y, x]).into_iter().map(|pixel| input.layout.number(pixel)));
            starts.push(sources.len() as u32);
        }
        let chunks = PlaneChunks::new(batch, output.channels, threads);
        Self { pixels: output.layout.numbers(), input, output, starts, sources, chunks }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.chunks()
    }

    pub(crate) fn index_bytes(&self) -> usize {
        (self.pixels.len() + self.starts.len() + self.sources.len()) * size_of::<u32>()
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let [input_plane, output_plane] = [&self.input, &self.output].map(|place| place.layout.plane());
        for (image, channel) in self.chunks.planes(chunk) {
            // SAFETY: the places lie in the arena; this thread alone has these planes.
            unsafe {
                let input = self.input.span(context.arena, image).from(channel * input_plane);
                let output = self.output.span(context.arena, image).from(channel * output_plane);
                for (&pixel, range) in self.pixels.iter().zip(self.starts.windows(2)) {
                    let sources = &self.sources[range[0] as usize..range[1] as usize];
                    let values = sources.iter().map(|&source| input.get(source as usize));
                    output.set(pixel as usize, values.reduce(f32::max).unwrap_or(0.0));
                }
            }
        }
    }
}

/// Squares of pixels that become channels, the other way, or their maximum.
#[derive(Debug)]
pub(crate) struct SquaresStep {
    input: Place,
    output: Place,
    size: [usize; 2],
    what: Squares,
    chunks: PlaneChunks,
}

/// What becomes of squares.
#[derive(Clone, Debug)]
pub(crate) enum Squares {
    /// One plane per pixel.
    ToDepth(PixelOrder),
    /// One pixel per plane; whether the planes of a square follow each other.
    ToSpace(bool),
    /// The maximum.
    Pool,
    /// Squares of one pixel, of these planes.
    Pick(Vec<usize>),
}

impl SquaresStep {
    /// For squares of `size` rows and columns.
    pub(crate) fn new(
        [input, output]: [Place; 2],
        size: [usize; 2],
        what: Squares,
        batch: usize,
        threads: usize,
    ) -> Self {
        let chunks = PlaneChunks::new(batch, output.channels, threads);
        Self { input, output, size, what, chunks }
    }

    /// Whether the squares of a map of that layout lie in one tile each, so that the other map's tile has a pixel for each.
    pub(crate) fn fits(large: &PlaneLayout, small: &PlaneLayout, size: [usize; 2]) -> bool {
        (0..2).all(|axis| large.tile[axis] == small.tile[axis] * size[axis])
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.chunks()
    }

    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let lanes = context.kernels.lanes;
        let [height, width] = self.size;
        for (image, channel) in self.chunks.planes(chunk) {
            // SAFETY: the places lie in the arena; this thread alone has these planes.
            unsafe {
                let output = plane(&self.output, context, image, channel);
                match self.what {
                    Squares::Pick(ref channels) => {
                        let input = plane(&self.input, context, image, channels[channel]);
                        let lattice = Lattice { tile: self.output.layout.tile, from: [1, 1], to: [1, 1] };
                        (context.kernels.spread)(input, output, &lattice);
                    }
                    Squares::Pool => {
                        let input = plane(&self.input, context, image, channel);
                        (context.kernels.pool_squares)(input, output, self.output.layout.tile, self.size);
                    }
                    Squares::ToDepth(order) => {
                        let [row, column] = order.pixel(channel / self.input.channels, height);
                        let input = plane(&self.input, context, image, channel % self.input.channels);
                        let lattice = Lattice { tile: self.output.layout.tile, from: self.size, to: [1, 1] };
                        (context.kernels.spread)(input.shifted(row, column, lanes), output, &lattice);
                    }
                    Squares::ToSpace(interleaved) => {
                        let lattice = Lattice { tile: self.input.layout.tile, from: [1, 1], to: self.size };
                        for pixel in 0..height * width {
                            let from = match interleaved {
                                true => channel * height * width + pixel,
                                false => pixel * self.output.channels + channel,
                            };
                            let input = plane(&self.input, context, image, from);
                            let output = output.shifted(pixel / width, pixel % width, lanes);
                            (context.kernels.spread)(input, output, &lattice);
                        }
                    }
                }
            }
        }
    }
}
