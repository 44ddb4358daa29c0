//! Attention between the pixels of a map.

use super::{Context, Place};
use crate::kernels::attention::Attend;

/// Attention in a plan.
#[derive(Debug)]
pub(crate) struct AttentionStep {
    /// Queries, keys and values.
    input: Place,
    output: Place,
    heads: usize,
    batch: usize,
    /// Where the pixels lie in a plane of the input, row by row.
    input_pixels: Vec<u32>,
    output_pixels: Vec<u32>,
}

impl AttentionStep {
    pub(crate) fn new(input: Place, output: Place, heads: usize, batch: usize) -> Self {
        let (input_pixels, output_pixels) = (input.layout.numbers(), output.layout.numbers());
        Self { input, output, heads, batch, input_pixels, output_pixels }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.batch * self.heads
    }

    fn depth(&self) -> usize {
        self.output.channels / self.heads
    }

    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        let room = self.input_pixels.len().next_multiple_of(lanes);
        3 * self.depth() * room + room + lanes
    }

    pub(crate) fn index_bytes(&self) -> usize {
        (self.input_pixels.len() + self.output_pixels.len()) * size_of::<u32>()
    }

    /// Does one chunk: a head of an image.
    ///
    /// # Safety
    /// That of [`super::Step::run`].
    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let (image, head) = (chunk / self.heads, chunk % self.heads);
        let (depth, pixels) = (self.depth(), self.input_pixels.len());
        let room = pixels.next_multiple_of(context.kernels.lanes);
        let [input_plane, output_plane] = [&self.input, &self.output].map(|place| place.layout.plane());
        // SAFETY: by contract; the places lie in the arena, and the scratch is as large as `scratch` says.
        unsafe {
            let input = self.input.span(context.arena, image);
            let output = self.output.span(context.arena, image);
            let matrix = |at: usize| context.scratch.part(at * depth * room, depth * room);
            for part in 0..3 {
                let to = matrix(part);
                for i in 0..depth {
                    let channel = part * self.output.channels + head * depth + i;
                    let from = input.from(channel * input_plane);
                    for (at, &pixel) in self.input_pixels.iter().enumerate() {
                        to.set(i * room + at, from.get(pixel as usize));
                    }
                    (pixels..room).for_each(|at| to.set(i * room + at, 0.0));
                }
            }
            (context.kernels.attend)(&Attend {
                queries: matrix(0),
                keys: matrix(1),
                values: matrix(2),
                scores: context.scratch.from(3 * depth * room),
                depth,
                pixels,
                room,
            });
            let results = matrix(0);
            for i in 0..depth {
                let to = output.from((head * depth + i) * output_plane);
                for (at, &pixel) in self.output_pixels.iter().enumerate() {
                    to.set(pixel as usize, results.get(i * room + at));
                }
            }
        }
    }
}
