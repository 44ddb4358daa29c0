//! Convolutions of one channel each, plane by plane.

use super::conv::ConvPlaces;
use super::maps::{PlaneChunks, plane};
use super::{Context, Place};
use crate::kernels::border::Border;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::math::Activate;
use crate::network::Conv;
use crate::tiling::BorderTable;
use std::sync::Arc;

/// A depthwise convolution in a plan.
#[derive(Debug)]
pub(crate) struct DepthwiseStep {
    /// Name of the layer.
    pub(crate) name: String,
    input: Place,
    output: Place,
    residual: Option<Place>,
    /// Where the first tap of the first pixel lies in a plane.
    first_tap: usize,
    /// From a pixel's first tap to that of the pixel below and of the pixel to its right.
    steps: [usize; 2],
    /// Distances of the taps.
    taps: Vec<u32>,
    /// `[channels, taps]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    activate: Activate,
    border: Option<Arc<BorderTable>>,
    chunks: PlaneChunks,
}

/// Whether every output channel of `conv` is made of the input channel of its number alone.
pub(crate) fn depthwise_fits(conv: &Conv) -> bool {
    conv.groups == conv.out_channels && conv.in_channels() == conv.groups
}

impl DepthwiseStep {
    pub(crate) fn new(conv: &Conv, places: &ConvPlaces, batch: usize, threads: usize) -> Self {
        let layout = &places.input.layout;
        let [row, lanes] = [layout.row(), layout.lanes];
        let [height, width] = conv.kernel;
        let tap = |y: usize, x: usize| (y * conv.dilation[0] * row + x * conv.dilation[1] * lanes) as u32;
        Self {
            name: conv.name.clone(),
            first_tap: layout.at(-(conv.padding[0] as isize), -(conv.padding[1] as isize)),
            steps: [conv.stride[0] * row, conv.stride[1] * lanes],
            taps: (0..height).flat_map(|y| (0..width).map(move |x| tap(y, x))).collect(),
            weights: conv.weight.clone(),
            bias: conv.bias.clone(),
            activate: Activate::of(conv.activation),
            border: None,
            chunks: PlaneChunks::new(batch, conv.out_channels, threads),
            input: places.input.clone(),
            output: places.output.clone(),
            residual: places.residual.clone(),
        }
    }

    /// Has it fill the borders of its output: its chunks are whole planes.
    pub(crate) fn fills_border(&mut self, border: &Arc<BorderTable>) {
        self.border = Some(Arc::clone(border));
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.chunks()
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * size_of::<f32>()
    }

    pub(crate) fn index_bytes(&self) -> usize {
        self.taps.len() * size_of::<u32>()
    }

    /// Does one chunk.
    ///
    /// # Safety
    /// That of [`super::Step::run`].
    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        let taps = self.taps.len();
        for (image, channel) in self.chunks.planes(chunk) {
            let (input_plane, output_plane) = (self.input.layout.plane(), self.output.layout.plane());
            // SAFETY: by contract; the places lie in the arena, and this thread alone has this plane of the output.
            unsafe {
                let input = self.input.span(context.arena, image).part(channel * input_plane, input_plane);
                (context.kernels.depthwise)(&Depthwise {
                    input: input.from(self.first_tap),
                    steps: self.steps,
                    taps: &self.taps,
                    weights: &self.weights[channel * taps..][..taps],
                    bias: self.bias[channel],
                    output: plane(&self.output, context, image, channel),
                    residual: self.residual.as_ref().map(|place| plane(place, context, image, channel)),
                    tile: self.output.layout.tile,
                    activate: self.activate,
                });
                if let Some(border) = &self.border {
                    let output = self.output.span(context.arena, image);
                    (context.kernels.fill_border)(&Border {
                        plane: output.part(channel * output_plane, output_plane),
                        runs: &border.runs,
                        permutations: &border.permutations,
                    });
                }
            }
        }
    }
}
