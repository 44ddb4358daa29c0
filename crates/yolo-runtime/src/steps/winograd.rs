//! Convolutions of 3×3 windows by Winograd's short convolutions.

use super::{Context, ConvPlaces};
use crate::choice::{Family, KernelId};
use crate::kernels::Span;
use crate::kernels::epilogue::Residual;
use crate::kernels::math::Activate;
use crate::kernels::table::WinogradKernels;
use crate::kernels::tile::{Batch, BatchKernel};
use crate::kernels::winograd::{Four, Patches, Products, Scheme, Strided, Two};
use crate::network::Conv;
use std::ops::Range;

/// What the transformed patches of one chunk may take of the second cache.
const CHUNK_BYTES: usize = 900 << 10;
/// Chunks per thread.
const CHUNKS_PER_THREAD: usize = 4;

/// A convolution by short convolutions.
pub(crate) struct WinogradStep {
    pub(crate) name: String,
    kernel: KernelId,
    batches: &'static [BatchKernel],
    sizes: Sizes,
    /// Transformed: `[groups, IN · IN, in_channels, group]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    activate: Activate,
    batch: usize,
    places: ConvPlaces,
    patches: Vec<[u16; 2]>,
    /// Where the plane of each channel begins; with phases, each channel counts several times.
    channels: Vec<u32>,
    rows: Vec<u32>,
    columns: Vec<u32>,
    chunk_patches: usize,
    chunk_groups: usize,
    groups: usize,
}

/// `IN` and `OUT` of a scheme.
#[derive(Clone, Copy)]
struct Sizes {
    inputs: usize,
    outputs: usize,
    weight: fn([f64; 3]) -> [f64; 6],
}

impl Sizes {
    fn of<W: Scheme>() -> Self {
        Self { inputs: W::IN, outputs: W::OUT, weight: W::weight }
    }
}

/// Whether short convolutions of this family compute the convolution: one of 3×3 or, with stride 2, of 6×6, which
/// is one of 3×3 with stride 1 on the four sets of every other row and column.
pub(crate) fn fits(family: Family, conv: &Conv) -> bool {
    let is = |kernel: usize, stride: usize| {
        conv.kernel == [kernel; 2] && conv.stride == [stride; 2] && conv.dilation == [1, 1]
    };
    if conv.groups > 1 {
        return false;
    }
    if family == Family::WinogradStrided { is(3, 2) } else { is(3, 1) || is(6, 2) }
}

/// Rows and columns that make up one of the sets that a window of 3×3 goes over: every `phases`-th.
pub(crate) fn phases(conv: &Conv) -> usize {
    conv.kernel[0] / 3
}

impl std::fmt::Debug for WinogradStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WinogradStep")
            .field("name", &self.name)
            .field("kernel", &self.kernel)
            .finish_non_exhaustive()
    }
}

impl WinogradStep {
    /// The step for `conv`, which [`fits`] the kernel's family.
    pub(crate) fn new(
        conv: &Conv,
        kernel: KernelId,
        batches: &'static [BatchKernel],
        places: &ConvPlaces,
        batch: usize,
        threads: usize,
    ) -> Self {
        let sizes = match kernel.family {
            Family::WinogradStrided => Sizes::of::<Strided>(),
            Family::Winograd4 => Sizes::of::<Four>(),
            _ => Sizes::of::<Two>(),
        };
        let groups = conv.out_channels.div_ceil(kernel.channels);
        let mut step = Self {
            name: conv.name.clone(),
            kernel,
            batches,
            sizes,
            weights: transformed(conv, kernel.channels, groups, sizes),
            bias: conv.bias.clone(),
            activate: Activate::of(conv.activation),
            batch,
            places: places.clone(),
            patches: Vec::new(),
            channels: Vec::new(),
            rows: Vec::new(),
            columns: Vec::new(),
            chunk_patches: 0,
            chunk_groups: 0,
            groups,
        };
        step.lay_out(conv);
        step.cut(threads);
        step
    }

    fn lay_out(&mut self, conv: &Conv) {
        let Sizes { inputs, outputs, .. } = self.sizes;
        let counts = self.places.output.layout.tile.map(|side| side.div_ceil(outputs));
        let row = |y| (0..counts[1]).map(move |x| [y as u16, x as u16]);
        self.patches = (0..counts[0]).flat_map(row).collect();
        let layout = &self.places.input.layout;
        let phases = phases(conv);
        let offset = |y: usize, x: usize| y * layout.row() + x * layout.lanes;
        let phase = |channel| (0..phases * phases).map(move |at| (channel, at / phases, at % phases));
        self.channels = (0..self.places.input.channels)
            .flat_map(phase)
            .map(|(channel, y, x)| (channel * layout.plane() + offset(y, x)) as u32)
            .collect();
        let halo = [[layout.halo.top, layout.halo.bottom], [layout.halo.left, layout.halo.right]];
        let [rows, columns] = [0, 1].map(|axis| {
            let unit = if axis == 0 { layout.row() } else { layout.lanes };
            let last = halo[axis][0] + layout.tile[axis] + halo[axis][1] - phases;
            let first =
                |patch: usize| halo[axis][0] + patch * outputs * conv.stride[axis] - conv.padding[axis];
            // What the last patches read beyond the plane reaches no pixel that is written.
            let place = move |patch: usize| {
                (0..inputs).map(move |i| ((first(patch) + i * phases).min(last) * unit) as u32)
            };
            (0..counts[axis]).flat_map(place).collect::<Vec<u32>>()
        });
        (self.rows, self.columns) = (rows, columns);
    }

    fn cut(&mut self, threads: usize) {
        let lanes = self.places.input.layout.lanes;
        let channels = self.channels.len();
        let places = self.sizes.inputs * self.sizes.inputs;
        let tile = self.kernel.pixels;
        let most = CHUNK_BYTES / (places * channels * lanes * size_of::<f32>());
        let wanted = (threads * CHUNKS_PER_THREAD).div_ceil(self.batch);
        let chunks =
            self.patches.len().div_ceil(most.max(tile)).max(wanted.min(self.patches.len().div_ceil(tile)));
        self.chunk_patches = self.patches.len().div_ceil(chunks).next_multiple_of(tile);
        let patch_chunks = self.patches.len().div_ceil(self.chunk_patches);
        let group_chunks = wanted.div_ceil(patch_chunks).min(self.groups);
        self.chunk_groups = self.groups.div_ceil(group_chunks);
    }

    fn patch_chunks(&self) -> usize {
        self.patches.len().div_ceil(self.chunk_patches)
    }

    fn group_chunks(&self) -> usize {
        self.groups.div_ceil(self.chunk_groups)
    }

    pub(crate) fn chunks(&self) -> usize {
        self.batch * self.patch_chunks() * self.group_chunks()
    }

    /// Vectors of transformed patches of a chunk.
    fn transformed_vectors(&self) -> usize {
        self.sizes.inputs * self.sizes.inputs * self.channels.len() * self.chunk_patches
    }

    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        let products = self.sizes.inputs * self.sizes.inputs * self.kernel.channels * self.kernel.pixels;
        (self.transformed_vectors() + products) * lanes
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * size_of::<f32>()
    }

    pub(crate) fn index_bytes(&self) -> usize {
        (self.rows.len() + self.columns.len() + self.patches.len() + self.channels.len()) * size_of::<u32>()
    }

    /// Does one chunk.
    ///
    /// # Safety
    /// That of [`super::Step::run`].
    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let (rest, group_chunk) = (chunk / self.group_chunks(), chunk % self.group_chunks());
        let (image, patch_chunk) = (rest / self.patch_chunks(), rest % self.patch_chunks());
        let part = |at: usize, size: usize, end: usize| at * size..((at + 1) * size).min(end);
        let patches = &self.patches[part(patch_chunk, self.chunk_patches, self.patches.len())];
        let groups = part(group_chunk, self.chunk_groups, self.groups);
        let kernels = match self.kernel.family {
            Family::WinogradStrided => &context.kernels.winograd_strided,
            Family::Winograd4 => &context.kernels.winograd_4,
            _ => &context.kernels.winograd_2,
        };
        // SAFETY: by contract; the places lie in the arena, and scratch has the room that was asked for.
        unsafe {
            let input = self.places.input.span(context.arena, image);
            let transformed = self.transformed_vectors() * context.kernels.lanes;
            (kernels.transform)(&Patches {
                input,
                channels: &self.channels,
                patches,
                rows: &self.rows,
                columns: &self.columns,
                transformed: context.scratch,
                room: self.chunk_patches,
            });
            let products = context.scratch.from(transformed);
            for group in groups {
                for first in (0..patches.len()).step_by(self.kernel.pixels) {
                    let range = first..(first + self.kernel.pixels).min(patches.len());
                    self.multiply(context, group, range.clone(), products);
                    self.finish(context, kernels, image, group, &patches[range], products);
                }
            }
        }
    }

    /// The products of a group of channels and a few patches, place by place.
    unsafe fn multiply(&self, context: &Context, group: usize, patches: Range<usize>, products: Span) {
        let places = self.sizes.inputs * self.sizes.inputs;
        let lanes = context.kernels.lanes;
        let share = places * self.channels.len() * self.kernel.channels;
        // SAFETY: by the contract of the step.
        unsafe {
            (self.batches[patches.len() - 1])(&Batch {
                input: context.scratch.from(patches.start * lanes),
                places,
                room: self.chunk_patches * lanes,
                weights: &self.weights[group * share..][..share],
                sums: products,
            });
        }
    }

    unsafe fn finish(
        &self,
        context: &Context,
        kernels: &WinogradKernels,
        image: usize,
        group: usize,
        patches: &[[u16; 2]],
        products: Span,
    ) {
        let first = group * self.kernel.channels;
        let end = (first + self.kernel.channels).min(self.bias.len());
        let layout = &self.places.output.layout;
        // SAFETY: by the contract of the step.
        unsafe {
            let residual = self.places.residual.as_ref().map(|place| {
                let plane = place.layout.plane();
                let map = place.span(context.arena, image).from(first * plane + place.layout.at(0, 0));
                (Residual { map, plane, pixels: &[] }, place.layout.row())
            });
            (kernels.finish)(&Products {
                products,
                group: self.kernel.channels,
                patches,
                bias: &self.bias[first..end],
                output: self
                    .places
                    .output
                    .span(context.arena, image)
                    .from(first * layout.plane() + layout.at(0, 0)),
                output_strides: [layout.plane(), layout.row()],
                residual: residual.map(|(residual, _)| residual),
                residual_row: residual.map_or(0, |(_, row)| row),
                tile: layout.tile,
                activate: self.activate,
            });
        }
    }
}

/// The weights of every group of channels, transformed in both dimensions.
fn transformed(conv: &Conv, channels: usize, groups: usize, sizes: Sizes) -> Vec<f32> {
    let inputs = sizes.inputs;
    let phases = phases(conv);
    let side = 3 * phases;
    let in_channels = conv.weight.len() / (conv.out_channels * side * side);
    let all_channels = in_channels * phases * phases;
    let mut weights = vec![0.0; groups * inputs * inputs * all_channels * channels];
    for out in 0..conv.out_channels {
        for channel in 0..all_channels {
            let (in_channel, phase) = (channel / (phases * phases), channel % (phases * phases));
            let window = &conv.weight[(out * in_channels + in_channel) * side * side..][..side * side];
            let tap = |y: usize, x: usize| {
                f64::from(window[(y * phases + phase / phases) * side + x * phases + phase % phases])
            };
            let rows = [0, 1, 2].map(|y| (sizes.weight)([tap(y, 0), tap(y, 1), tap(y, 2)]));
            for (j, ((&a, &b), &c)) in rows[0].iter().zip(&rows[1]).zip(&rows[2]).enumerate().take(inputs) {
                for (i, &weight) in (sizes.weight)([a, b, c]).iter().enumerate().take(inputs) {
                    let place = (out / channels * inputs + i) * inputs + j;
                    weights[(place * all_channels + channel) * channels + out % channels] = weight as f32;
                }
            }
        }
    }
    weights
}
