//! The gradient of the input.
//!
//! Padded input row `iy + padding = stride · u + phase` receives from output row `u − m` through the tap with
//! `tap · dilation = stride · m + phase`. So the input falls apart into `stride²` phases, and each is a
//! correlation of stride 1 of the zero-padded output gradient with the taps of its phase.
#![allow(unsafe_code, reason = "bands and phases write to disjoint parts of the output")]

use std::ops::Range;

use rayon::prelude::*;
use yolo_simd::Unit;

use super::super::buffer::{Output, Target};
use super::forward::{Band, split};
use super::grid::{Axis, CopyPlane, Phases, with_scratch};
use super::rows::{Rows, Sink, pack};
use super::shape::{ConvShape, Planes};

/// Numbers of a band's grid.
const GRID_BUDGET: usize = 80 * 1024;

/// `dx[n][c] = Σ dy[n][o] ∗ w[o][c]`: `[N, O, H', W']` → `[N, C, H, W]`.
///
/// # Panics
/// If a length does not fit `shape`.
pub(crate) fn input_gradient(unit: Unit, shape: &ConvShape, dy: Planes<'_>, weight: &[f32]) -> Vec<f32> {
    assert_eq!(weight.len(), shape.out_channels * shape.depth());
    assert_eq!(dy.size(), shape.out_size());
    let axes = [0, 1].map(|i| InputAxis::new(shape, i));
    let phases: Vec<Vec<PhaseWeights>> =
        (0..shape.groups).map(|group| phases(unit, shape, &axes, weight, group)).collect();
    let len = shape.batch * shape.in_channels * shape.in_pixels();
    let mut output = Output::new(len);
    let layer = Layer { unit, shape, axes: &axes, dy, phases: &phases, target: output.target() };
    let bands = layer.bands();
    (0..shape.batch * shape.groups * bands.len()).into_par_iter().for_each(|task| {
        let (task, band) = (task / bands.len(), bands[task % bands.len()].clone());
        layer.band(task / shape.groups, task % shape.groups, band);
    });
    // SAFETY: all phases of the bands of all groups and images cover the output.
    unsafe { output.finish(len) }
}

/// One axis of the input as `stride` interleaved phases.
struct InputAxis {
    phases: Phases,
    size: usize,
    stride: usize,
    padding: usize,
    /// The smallest and one past the largest `u` of any phase.
    units: Range<usize>,
}

impl InputAxis {
    fn new(shape: &ConvShape, i: usize) -> Self {
        let (size, stride, padding) = (shape.in_size[i], shape.stride[i], shape.padding[i]);
        Self {
            phases: Phases::new(shape.kernel[i], stride, shape.dilation[i]),
            size,
            stride,
            padding,
            units: padding / stride..(size - 1 + padding) / stride + 1,
        }
    }

    /// The input position of `unit` in `phase`; it may lie outside.
    fn position(&self, unit: usize, phase: usize) -> isize {
        (self.stride * unit + phase) as isize - self.padding as isize
    }

    /// Which of `units` lie on the input in `phase`, counted from their start.
    fn valid(&self, units: &Range<usize>, phase: usize) -> Range<usize> {
        let inside = |unit: &usize| (0..self.size as isize).contains(&self.position(*unit, phase));
        let start = units.clone().position(|unit| inside(&unit)).unwrap_or(0);
        start..start + units.clone().filter(inside).count()
    }

    /// The taps of a phase with their `m`.
    fn taps(&self, phase: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let index = self.phases.used.iter().position(|&used| used == phase);
        let taps = self.phases.taps.iter().enumerate();
        taps.filter(move |(_, (of, _))| Some(*of) == index).map(|(tap, (_, m))| (tap, *m))
    }
}

/// The weights that one phase of the input sees.
struct PhaseWeights {
    phase: [usize; 2],
    /// `[in channels, out channels · taps]`, packed.
    packed: Vec<f32>,
    /// Per tap, `m` of both axes.
    taps: Vec<[usize; 2]>,
}

fn phases(
    unit: Unit,
    shape: &ConvShape,
    [vertical, horizontal]: &[InputAxis; 2],
    weight: &[f32],
    group: usize,
) -> Vec<PhaseWeights> {
    let depth = shape.depth();
    let area = shape.kernel[0] * shape.kernel[1];
    let weight = &weight[group * shape.group_out() * depth..];
    let mut phases = Vec::new();
    for py in 0..shape.stride[0] {
        for px in 0..shape.stride[1] {
            let taps: Vec<(usize, [usize; 2])> = vertical
                .taps(py)
                .flat_map(|(ky, my)| {
                    horizontal.taps(px).map(move |(kx, mx)| (ky * shape.kernel[1] + kx, [my, mx]))
                })
                .collect();
            let packed = pack(unit, shape.group_in(), shape.group_out() * taps.len(), |c| {
                let kernels = weight.chunks_exact(depth).map(move |weight| &weight[c * area..][..area]);
                kernels.take(shape.group_out()).flat_map(|kernel| taps.iter().map(|(tap, _)| kernel[*tap]))
            });
            phases.push(PhaseWeights { phase: [py, px], packed, taps: taps.iter().map(|t| t.1).collect() });
        }
    }
    phases
}

struct Layer<'a> {
    unit: Unit,
    shape: &'a ConvShape,
    axes: &'a [InputAxis; 2],
    dy: Planes<'a>,
    phases: &'a [Vec<PhaseWeights>],
    target: Target<'a>,
}

impl Layer<'_> {
    /// Bands of units, or of pixels for a pointwise convolution. No sum depends on them.
    fn bands(&self) -> Vec<Band> {
        let shape = self.shape;
        let wanted = (4 * rayon::current_num_threads()).div_ceil((shape.batch * shape.groups).max(1));
        if shape.is_pointwise() {
            let pixels = shape.in_pixels();
            let fitting = (GRID_BUDGET / shape.group_in().max(shape.group_out())).max(192);
            return split(pixels, fitting.min(pixels.div_ceil(wanted)).next_multiple_of(48));
        }
        let [vertical, _] = self.axes;
        let count = vertical.units.len();
        let fitting = (GRID_BUDGET / (shape.group_out() * self.pitch()).max(1))
            .saturating_sub(vertical.phases.reach)
            .max(4);
        split(count, fitting.min(count.div_ceil(wanted)))
    }

    fn pitch(&self) -> usize {
        self.axes[1].units.len() + self.axes[1].phases.reach
    }

    fn band(&self, image: usize, group: usize, band: Band) {
        let (shape, [vertical, horizontal]) = (self.shape, self.axes);
        let planes = self.dy.channels(image, group * shape.group_out(), shape.group_out());
        let pixels = shape.in_pixels();
        let base = (image * shape.in_channels + group * shape.group_in()) * pixels;
        if shape.is_pointwise() {
            let offsets: Vec<usize> = (0..shape.group_out()).map(|o| o * pixels + band.start).collect();
            let sink = Sink {
                target: self.target,
                base: (base + band.start) as isize,
                channel_stride: pixels,
                row_stride: 0,
                column_stride: 1,
                pitch: band.len(),
                rows: 0..1,
                columns: 0..band.len(),
            };
            let weights = &self.phases[group][0].packed;
            return self.unit.run(self.rows(planes, &offsets, weights, band.len(), sink));
        }
        let reach = [vertical.phases.reach, horizontal.phases.reach];
        let units = vertical.units.start + band.start..vertical.units.start + band.end;
        let pitch = self.pitch();
        let rows = band.len() + reach[0];
        let axes = [
            Axis { first: units.start as isize - reach[0] as isize, step: 1 },
            Axis { first: horizontal.units.start as isize - reach[1] as isize, step: 1 },
        ];
        with_scratch(|scratch| {
            let grid = scratch.grid.take(shape.group_out() * rows * pitch);
            let sources = planes.chunks_exact(shape.out_pixels());
            for (plane, grid) in sources.zip(grid.chunks_exact_mut(rows * pitch)) {
                self.unit.run(CopyPlane { plane, size: shape.out_size(), axes, columns: pitch, grid });
            }
            let positions = (band.len() - 1) * pitch + horizontal.units.len();
            for PhaseWeights { phase: [py, px], packed, taps } in &self.phases[group] {
                let shift = |[my, mx]: &[usize; 2]| (reach[0] - my) * pitch + reach[1] - mx;
                let offsets: Vec<usize> = (0..shape.group_out())
                    .flat_map(|o| taps.iter().map(move |m| o * rows * pitch + shift(m)))
                    .collect();
                let (y, x) =
                    (vertical.position(units.start, *py), horizontal.position(horizontal.units.start, *px));
                let sink = Sink {
                    target: self.target,
                    base: base as isize + y * shape.in_size[1] as isize + x,
                    channel_stride: pixels,
                    row_stride: shape.stride[0] * shape.in_size[1],
                    column_stride: shape.stride[1],
                    pitch,
                    rows: vertical.valid(&units, *py),
                    columns: horizontal.valid(&horizontal.units, *px),
                };
                self.unit.run(self.rows(grid, &offsets, packed, positions, sink));
            }
        });
    }

    fn rows<'b>(
        &self,
        grid: &'b [f32],
        offsets: &'b [usize],
        weights: &'b [f32],
        positions: usize,
        sink: Sink<'b>,
    ) -> Rows<'b> {
        let channels = self.shape.group_in();
        Rows { grid, offsets, weights, bias: None, silu: false, channels, positions, sink }
    }
}
