//! The gradients of the weights and of the bias.

use rayon::prelude::*;
use yolo_simd::Unit;

use super::forward::{Band, GridPlan, split};
use super::grid::with_scratch;
use super::outer::{OUT_MULTIPLE, Outer, Transpose};
use super::shape::{ConvShape, Planes};

/// Tasks per group that the work is cut into at most; a constant, since the cut decides the order of the sums.
const TASKS: usize = 16;
/// Pixels that a part must have, or adding up the parts costs more than making them.
const PIXELS_PER_PART: usize = 512;
/// Output channels of a task, unless there are fewer.
const CHANNELS_PER_TASK: usize = 64;
/// Numbers of a band's output gradient.
const BAND_BUDGET: usize = 48 * 1024;

/// `dw[o][c] = Σₙ x[n][c] ⋆ dy[n][o]`: `[N, C, H, W]`, `[N, O, H', W']` → `[O, C / groups, kh, kw]`.
///
/// # Panics
/// If a size does not fit `shape`.
pub(crate) fn weight_gradient(unit: Unit, shape: &ConvShape, x: Planes<'_>, dy: Planes<'_>) -> Vec<f32> {
    assert_eq!((x.size(), dy.size()), (shape.in_size, shape.out_size()));
    let plan = GridPlan::new(shape);
    let cut = Cut::new(shape, &plan);
    let layer = Layer { unit, shape, plan: &plan, x, dy };
    let tasks = shape.groups * cut.chunks.len() * cut.parts.len();
    let parts: Vec<Vec<f32>> = (0..tasks)
        .into_par_iter()
        .map(|task| {
            let (task, part) = (task / cut.parts.len(), task % cut.parts.len());
            layer.sums(task / cut.chunks.len(), &cut.chunks[task % cut.chunks.len()], &cut.parts[part])
        })
        .collect();
    let depth = shape.depth();
    let mut gradient = vec![0.0; shape.out_channels * depth];
    for (task, parts) in parts.chunks_exact(cut.parts.len().max(1)).enumerate() {
        let chunk = &cut.chunks[task % cut.chunks.len()];
        let first = task / cut.chunks.len() * shape.group_out() + chunk.start;
        let rows = &mut gradient[first * depth..][..chunk.len() * depth];
        let planes = &add_parts(parts);
        let (stride, channels, pixels) = (padded(chunk.len()), depth, chunk.len());
        unit.run(Transpose { planes, stride, channels, pixels, outs: depth, into: rows });
    }
    gradient
}

/// Adds up `parts` in their order.
fn add_parts(parts: &[Vec<f32>]) -> Vec<f32> {
    let [first, rest @ ..] = parts else { return Vec::new() };
    let mut sums = first.clone();
    for part in rest {
        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
    sums
}

fn padded(channels: usize) -> usize {
    channels.next_multiple_of(OUT_MULTIPLE)
}

/// How the sums are cut into tasks: by the shape alone.
struct Cut {
    /// Ranges of output channels of a group.
    chunks: Vec<Band>,
    /// Per part, its images and bands in order.
    parts: Vec<Vec<(usize, Band)>>,
}

impl Cut {
    fn new(shape: &ConvShape, plan: &GridPlan) -> Self {
        let bands = weight_bands(shape, plan);
        let units: Vec<(usize, Band)> =
            (0..shape.batch).flat_map(|image| bands.iter().map(move |band| (image, band.clone()))).collect();
        let pixels = shape.batch * shape.out_pixels();
        let n_parts = (pixels / PIXELS_PER_PART).clamp(1, TASKS).min(units.len().max(1));
        let n_chunks = TASKS.div_ceil(n_parts).min(shape.group_out().div_ceil(CHANNELS_PER_TASK));
        let chunk = padded(shape.group_out().div_ceil(n_chunks.max(1)));
        let parts = (0..n_parts)
            .map(|part| units[part * units.len() / n_parts..(part + 1) * units.len() / n_parts].to_vec())
            .collect();
        Self { chunks: split(shape.group_out(), chunk), parts }
    }
}

/// Bands whose operands fit the cache.
fn weight_bands(shape: &ConvShape, plan: &GridPlan) -> Vec<Band> {
    let outs = padded(shape.group_out().min(CHANNELS_PER_TASK));
    if shape.is_pointwise() {
        let channels = outs.max(shape.group_in());
        return split(shape.out_pixels(), (BAND_BUDGET / channels).max(64));
    }
    let [height, width] = shape.out_size();
    let rows = (BAND_BUDGET / (outs * width)).min(plan.fitting_rows(shape)).max(1);
    split(height, rows)
}

struct Layer<'a> {
    unit: Unit,
    shape: &'a ConvShape,
    plan: &'a GridPlan,
    x: Planes<'a>,
    dy: Planes<'a>,
}

impl Layer<'_> {
    /// The sums of one part for the output channels `chunk` of `group`, `[depth, padded(chunk)]`.
    fn sums(&self, group: usize, chunk: &Band, part: &[(usize, Band)]) -> Vec<f32> {
        let outs = padded(chunk.len());
        let mut sums = vec![0.0; self.shape.depth() * outs];
        for (image, band) in part {
            self.add_band(group, chunk, *image, band, &mut sums);
        }
        sums
    }

    fn add_band(&self, group: usize, chunk: &Band, image: usize, band: &Band, sums: &mut [f32]) {
        let (shape, plan) = (self.shape, self.plan);
        let outs = padded(chunk.len());
        let stride = shape.out_pixels();
        let planes = self.x.channels(image, group * shape.group_in(), shape.group_in());
        let dy = self.dy.channels(image, group * shape.group_out() + chunk.start, chunk.len());
        let width = if shape.is_pointwise() { 1 } else { shape.out_size()[1] };
        let pixels = band.len() * width;
        with_scratch(|scratch| {
            let transposed = scratch.transposed.take(pixels * outs);
            let (dy, channels) = (&dy[band.start * width..], chunk.len());
            self.unit.run(Transpose { planes: dy, stride, channels, pixels, outs, into: transposed });
            if shape.is_pointwise() {
                let offsets: Vec<usize> = (0..shape.group_in()).map(|c| c * stride + band.start).collect();
                let (grid, offsets, rows, width) = (planes, &offsets, 1, pixels);
                self.unit.run(Outer { grid, offsets, pitch: 0, rows, width, transposed, outs, sums });
            } else {
                let grid = plan.fill(self.unit, shape, planes, band, &mut scratch.grid);
                let offsets = &plan.offsets(shape, band.len());
                let (pitch, rows) = (plan.pitch, band.len());
                self.unit.run(Outer { grid, offsets, pitch, rows, width, transposed, outs, sums });
            }
        });
    }
}

/// `db[o] = Σ dy[n][o]` over all images and pixels of `[N, O, H', W']`.
pub(crate) fn bias_gradient(dy: Planes<'_>, [batch, channels]: [usize; 2]) -> Vec<f32> {
    let plane = |image: usize, o: usize| dy.channels(image, o, 1).iter().map(|&d| f64::from(d)).sum::<f64>();
    let channel = |o: usize| (0..batch).map(|image| plane(image, o)).sum::<f64>() as f32;
    (0..channels).into_par_iter().map(channel).collect()
}
