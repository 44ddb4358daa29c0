//! The convolution itself.
#![allow(unsafe_code, reason = "bands write to disjoint parts of the output")]

use std::ops::Range;

use rayon::prelude::*;
use yolo_simd::Unit;

use super::super::buffer::{Output, Target};
use super::grid::{Axis, Buffer, CopyPlane, Phases, with_scratch};
use super::rows::{Rows, Sink, pack};
use super::shape::{ConvShape, Planes};

/// Numbers of a band's grid; with the weights beside it, it stays in a unit-two cache.
const GRID_BUDGET: usize = 80 * 1024;

/// `y[n][o] = bias[o] + Σ x[n][c] ⋆ w[o][c]`, then SiLU if asked: `[N, C, H, W]`, `[O, C / groups, kh, kw]`
/// → `[N, O, H', W']`.
///
/// # Panics
/// If a length does not fit `shape`.
pub(crate) fn forward(
    unit: Unit,
    shape: &ConvShape,
    x: Planes<'_>,
    weight: &[f32],
    bias: Option<&[f32]>,
    silu: bool,
) -> Vec<f32> {
    assert_eq!(weight.len(), shape.out_channels * shape.depth());
    assert!(bias.is_none_or(|bias| bias.len() == shape.out_channels));
    let depth = shape.depth();
    let packed: Vec<Vec<f32>> = (0..shape.groups)
        .map(|group| {
            let weight = &weight[group * shape.group_out() * depth..];
            pack(unit, shape.group_out(), depth, |o| weight[o * depth..][..depth].iter().copied())
        })
        .collect();
    let len = shape.batch * shape.out_channels * shape.out_pixels();
    let mut output = Output::new(len);
    let taps = GridPlan::new(shape);
    let layer = Layer { unit, shape, plan: &taps, x, bias, silu, packed: &packed, target: output.target() };
    let bands = bands(shape, &taps);
    let tasks = shape.batch * shape.groups * bands.len();
    (0..tasks).into_par_iter().for_each(|task| {
        let (task, band) = (task / bands.len(), bands[task % bands.len()].clone());
        layer.band(task / shape.groups, task % shape.groups, band);
    });
    // SAFETY: the bands of all groups of all images cover the output.
    unsafe { output.finish(len) }
}

/// The band of an output as a range of rows, or of pixels for a pointwise convolution.
pub(super) type Band = Range<usize>;

/// Ranges that cover `0 .. total` in steps of `size`.
pub(super) fn split(total: usize, size: usize) -> Vec<Band> {
    (0..total).step_by(size).map(|start| start..total.min(start + size)).collect()
}

/// Bands whose grid fits the cache, and enough of them for every thread. What a sum is made of does not depend
/// on the bands, so neither does the result.
fn bands(shape: &ConvShape, plan: &GridPlan) -> Vec<Band> {
    let wanted = (4 * rayon::current_num_threads()).div_ceil((shape.batch * shape.groups).max(1));
    if shape.is_pointwise() {
        let pixels = shape.out_pixels();
        // Whole tiles of 48 pixels.
        let fitting = (GRID_BUDGET / shape.group_in().max(shape.group_out())).max(192);
        return split(pixels, fitting.min(pixels.div_ceil(wanted)).next_multiple_of(48));
    }
    let [height, _] = shape.out_size();
    split(height, plan.fitting_rows(shape).min(height.div_ceil(wanted)))
}

/// How a band of the input is laid out for the taps of the kernel.
pub(super) struct GridPlan {
    vertical: Phases,
    horizontal: Phases,
    /// Columns of a plane of the grid.
    pub(super) pitch: usize,
}

impl GridPlan {
    pub(super) fn new(shape: &ConvShape) -> Self {
        let axis = |i: usize| Phases::new(shape.kernel[i], shape.stride[i], shape.dilation[i]);
        let (vertical, horizontal) = (axis(0), axis(1));
        let pitch = shape.out_size()[1] + horizontal.reach;
        Self { vertical, horizontal, pitch }
    }

    fn planes(&self, shape: &ConvShape) -> usize {
        shape.group_in() * self.vertical.used.len() * self.horizontal.used.len()
    }

    /// How many output rows a grid of [`GRID_BUDGET`] serves, at least four lest the halo weigh too much.
    pub(super) fn fitting_rows(&self, shape: &ConvShape) -> usize {
        let rows = GRID_BUDGET / (self.planes(shape) * self.pitch).max(1);
        rows.saturating_sub(self.vertical.reach).max(4)
    }

    /// The grid for output rows `band`, from the planes of a group.
    pub(super) fn fill<'b>(
        &self,
        unit: Unit,
        shape: &ConvShape,
        planes: &[f32],
        band: &Band,
        buffer: &'b mut Buffer,
    ) -> &'b [f32] {
        let area = (band.len() + self.vertical.reach) * self.pitch;
        let grid = buffer.take(self.planes(shape) * area);
        let phases =
            self.vertical.used.iter().flat_map(|py| self.horizontal.used.iter().map(move |px| [py, px]));
        let sources =
            planes.chunks_exact(shape.in_pixels()).flat_map(|plane| phases.clone().map(move |p| (plane, p)));
        for ((plane, [py, px]), grid) in sources.zip(grid.chunks_exact_mut(area)) {
            let first = band.start * shape.stride[0] + py;
            let axes = [
                Axis { first: first as isize - shape.padding[0] as isize, step: shape.stride[0] },
                Axis { first: *px as isize - shape.padding[1] as isize, step: shape.stride[1] },
            ];
            unit.run(CopyPlane { plane, size: shape.in_size, axes, columns: self.pitch, grid });
        }
        grid
    }

    /// Per weight of an output channel, where its tap starts on the grid of a band of `rows` output rows.
    pub(super) fn offsets(&self, shape: &ConvShape, rows: usize) -> Vec<usize> {
        let plane = (rows + self.vertical.reach) * self.pitch;
        let mut offsets = Vec::with_capacity(shape.depth());
        for channel in 0..shape.group_in() {
            for &(py, dy) in &self.vertical.taps {
                for &(px, dx) in &self.horizontal.taps {
                    let index = (channel * self.vertical.used.len() + py) * self.horizontal.used.len() + px;
                    offsets.push(index * plane + dy * self.pitch + dx);
                }
            }
        }
        offsets
    }
}

struct Layer<'a> {
    unit: Unit,
    shape: &'a ConvShape,
    plan: &'a GridPlan,
    x: Planes<'a>,
    bias: Option<&'a [f32]>,
    silu: bool,
    packed: &'a [Vec<f32>],
    target: Target<'a>,
}

impl Layer<'_> {
    fn band(&self, image: usize, group: usize, band: Band) {
        let (shape, plan) = (self.shape, self.plan);
        let (channels, pixels) = (shape.group_out(), shape.out_pixels());
        let planes = self.x.channels(image, group * shape.group_in(), shape.group_in());
        let base = (image * shape.out_channels + group * channels) * pixels;
        let sink = |start: usize, row_stride, pitch, rows, columns| Sink {
            target: self.target,
            base: (base + start) as isize,
            channel_stride: pixels,
            row_stride,
            column_stride: 1,
            pitch,
            rows: 0..rows,
            columns: 0..columns,
        };
        if shape.is_pointwise() {
            let count = band.len();
            let offsets: Vec<usize> = (0..shape.group_in()).map(|c| c * pixels + band.start).collect();
            let sink = sink(band.start, 0, count, 1, count);
            return self.unit.run(self.rows(group, planes, &offsets, count, sink));
        }
        let width = shape.out_size()[1];
        let offsets = plan.offsets(shape, band.len());
        let positions = (band.len() - 1) * plan.pitch + width;
        with_scratch(|scratch| {
            let grid = plan.fill(self.unit, shape, planes, &band, &mut scratch.grid);
            let sink = sink(band.start * width, width, plan.pitch, band.len(), width);
            self.unit.run(self.rows(group, grid, &offsets, positions, sink));
        });
    }

    fn rows<'b>(
        &self,
        group: usize,
        grid: &'b [f32],
        offsets: &'b [usize],
        positions: usize,
        sink: Sink<'b>,
    ) -> Rows<'b>
    where
        Self: 'b,
    {
        let channels = self.shape.group_out();
        let bias = self.bias.map(|bias| &bias[group * channels..][..channels]);
        let weights = &self.packed[group];
        Rows { grid, offsets, weights, bias, silu: self.silu, channels, positions, sink }
    }
}
