//! Attention between the pixels of a map.

use yolo_model::program::{AttentionPart, AttentionSpec};

use super::{Context, Place};
use crate::kernels::Kernels;
use crate::kernels::attention::{Attend, padded, pixels_at_once};

/// Attention in a plan.
#[derive(Debug)]
pub(crate) struct AttentionStep {
    /// Queries, keys and values.
    input: Place,
    output: Place,
    spec: AttentionSpec,
    batch: usize,
    /// Vectors of pixels per chunk; the last has what is left.
    per_chunk: usize,
    /// Where the vectors of a tile lie in a plane of the input and of the output.
    input_vectors: Vec<u32>,
    output_vectors: Vec<u32>,
    /// Where the pixels of the map lie in a plane of the input.
    places: Vec<u32>,
}

impl AttentionStep {
    pub(crate) fn new(
        [input, output]: [Place; 2],
        spec: AttentionSpec,
        batch: usize,
        kernels: &Kernels,
    ) -> Self {
        let (input_vectors, output_vectors) = (input.layout.pixels(), output.layout.pixels());
        let mut places = input.layout.numbers();
        // The order of the keys does not matter; in memory's they are neighbours.
        places.sort_unstable();
        let per_chunk = pixels_at_once(kernels.many_registers);
        Self { input, output, spec, batch, per_chunk, input_vectors, output_vectors, places }
    }

    fn blocks(&self) -> usize {
        self.input_vectors.len().div_ceil(self.per_chunk)
    }

    pub(crate) fn chunks(&self) -> usize {
        self.batch * self.spec.heads * self.blocks()
    }

    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        self.per_chunk * (padded(self.places.len()) + self.spec.value(self.input.channels)) * lanes
    }

    pub(crate) fn index_bytes(&self) -> usize {
        (self.input_vectors.len() + self.output_vectors.len() + self.places.len()) * size_of::<u32>()
    }

    /// Does one chunk: some pixels of a head of an image.
    ///
    /// # Safety
    /// That of [`super::Step::run`].
    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let (rest, block) = (chunk / self.blocks(), chunk % self.blocks());
        let (image, head) = (rest / self.spec.heads, rest % self.spec.heads);
        let range = block * self.per_chunk..((block + 1) * self.per_chunk).min(self.input_vectors.len());
        let (channels, width) = (self.input.channels, self.spec.value(self.input.channels));
        let [plane, output_plane] = [&self.input, &self.output].map(|place| place.layout.plane());
        // SAFETY: by contract; the places lie in the arena, and the scratch is as large as `scratch` says.
        unsafe {
            let input = self.input.span(context.arena, image);
            let output = self.output.span(context.arena, image);
            let part = |part| input.from(self.spec.channels_of(part, head, channels).start * plane);
            (context.kernels.attend)(&Attend {
                queries: part(AttentionPart::Query),
                keys: part(AttentionPart::Key),
                values: part(AttentionPart::Value),
                plane,
                depth: self.spec.key,
                width,
                pixels: &self.input_vectors[range.clone()],
                places: &self.places,
                output: output.from(head * width * output_plane),
                output_plane,
                output_pixels: &self.output_vectors[range],
                scratch: context.scratch,
            });
        }
    }
}
