//! First and second moments of a convolution's input.

use burn::tensor::Tensor;
use rayon::prelude::*;
use yolo_model::architecture::ConvSpec;
use yolo_nn::host_values;

use super::columns::{Columns, columns, sample_positions};
use crate::error::Result;
use crate::matrix::{View, ViewMut, product};

/// Positions of the output that are sampled, over all images: enough for the widest kernels (1152 to 4608
/// inputs), and early maps have millions.
const MAX_POSITIONS: usize = 1 << 16;

/// Moments of the columns that a convolution sees, about their means: of the pruned network's columns `x̂`, and
/// between the dense network's `x` and those.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    /// Inputs of a kernel, `in_channels · taps`.
    pub(crate) k: usize,
    /// `E[(x̂ − μ̂)(x̂ − μ̂)ᵀ]`, `[k, k]`.
    pub(crate) gram: Vec<f64>,
    /// `E[(x − μ)(x̂ − μ̂)ᵀ]`, `[k, k]`; none if both see the same.
    pub(crate) cross: Option<Vec<f64>>,
    /// `μ = E[x]`, `[k]`.
    pub(crate) dense_mean: Vec<f64>,
    /// `μ̂ = E[x̂]`, `[k]`.
    pub(crate) mean: Vec<f64>,
}

impl Moments {
    /// Moments over batches `[n, C, H, W]`; `pruned` is none if both networks see the same.
    pub(crate) fn measure(
        spec: &ConvSpec,
        dense: &[Tensor<4>],
        pruned: Option<&[Tensor<4>]>,
    ) -> Result<Self> {
        let k = spec.in_channels * spec.kernel[0] * spec.kernel[1];
        let images: usize = dense.iter().map(|batch| batch.dims()[0]).sum();
        let mut sums = Sums::new(k, pruned.is_some());
        let mut salt = 0;
        for (index, batch) in dense.iter().enumerate() {
            let [n, channels, height, width] = batch.dims();
            let size = [height, width];
            let values = host_values(batch.clone())?;
            let other = pruned.map(|pruned| host_values(pruned[index].clone())).transpose()?;
            let per_image = MAX_POSITIONS.div_ceil(images.max(1));
            let side = channels * height * width;
            for image in 0..n {
                let positions = sample_positions(spec.output_size(size), per_image, salt);
                salt += 1;
                let at = |values: &[f32]| columns(&values[image * side..][..side], size, spec, &positions);
                sums.add(at(&values), other.as_deref().map(at));
            }
        }
        Ok(sums.moments())
    }

    /// The variance of the outputs of `weights` `[rows, k]`, summed over the rows: `tr(W G Wᵀ)`.
    pub(crate) fn output_variance(&self, weights: &[f32]) -> f64 {
        let gram: Vec<f32> = self.gram.iter().map(|v| *v as f32).collect();
        let right = View::new(&gram, self.k, self.k, self.k);
        let task = |rows: &[f32]| -> f64 {
            let count = rows.len() / self.k;
            let mut image = vec![0.0f32; rows.len()];
            let left = View::new(rows, count, self.k, self.k);
            product(ViewMut::new(&mut image, count, self.k, self.k), 0.0, 1.0, left, right);
            rows.iter().zip(&image).map(|(w, v)| f64::from(*w) * f64::from(*v)).sum()
        };
        let parts: Vec<f64> = weights.par_chunks(TASK_ROWS * self.k).map(task).collect();
        parts.iter().sum()
    }

    /// `E[x̂²]` of every input, about zero: the squared norm that Wanda weighs weights by. `[k]`.
    pub(crate) fn mean_squares(&self) -> Vec<f64> {
        (0..self.k).map(|i| self.gram[i * self.k + i] + self.mean[i] * self.mean[i]).collect()
    }
}

struct Sums {
    k: usize,
    count: usize,
    gram: Vec<f64>,
    cross: Option<Vec<f64>>,
    dense: Row,
    pruned: Row,
    product: Vec<f32>,
}

impl Sums {
    fn new(k: usize, has_cross: bool) -> Self {
        Self {
            k,
            count: 0,
            gram: vec![0.0; k * k],
            cross: has_cross.then(|| vec![0.0; k * k]),
            dense: Row::default(),
            pruned: Row::default(),
            product: vec![0.0; k * k],
        }
    }

    /// Adds an image: its columns in the dense network, and in the pruned one if they differ.
    fn add(&mut self, mut dense: Columns, mut pruned: Option<Columns>) {
        self.count += dense.positions;
        self.dense.take_origin_from(&mut dense);
        match &mut pruned {
            Some(pruned) => self.pruned.take_origin_from(pruned),
            None => self.pruned.clone_from(&self.dense),
        }
        let seen = pruned.as_ref().unwrap_or(&dense);
        add_product(&mut self.gram, &mut self.product, seen, seen);
        if let Some(cross) = &mut self.cross {
            add_product(cross, &mut self.product, &dense, seen);
        }
    }

    fn moments(self) -> Moments {
        let Self { k, count, mut gram, mut cross, dense, pruned, .. } = self;
        let n = count.max(1) as f64;
        let (dense_offset, offset) = (dense.offset(n), pruned.offset(n));
        centre(&mut gram, k, n, &offset, &offset);
        if let Some(cross) = &mut cross {
            centre(cross, k, n, &dense_offset, &offset);
        }
        let mean = pruned.mean(&offset);
        silence_constants(&mut gram, &mean);
        Moments { k, gram, cross, dense_mean: dense.mean(&dense_offset), mean }
    }
}

/// Sums of inputs about an origin near their means. Sums of products about zero would drown what little an input
/// varies in the rounding of what it always is.
#[derive(Clone, Default)]
struct Row {
    /// The means over the first image, `[k]`.
    origin: Vec<f32>,
    /// Sums of what is left, `[k]`.
    sums: Vec<f64>,
}

impl Row {
    /// Moves columns to the origin, which the first ones decide, and adds them up.
    fn take_origin_from(&mut self, columns: &mut Columns) {
        let positions = columns.positions.max(1);
        let sum = |row: &[f32]| row.iter().map(|value| f64::from(*value)).sum::<f64>();
        if self.origin.is_empty() {
            let rows = columns.values.par_chunks(positions);
            self.origin = rows.map(|row| (sum(row) / positions as f64) as f32).collect();
            self.sums = vec![0.0; self.origin.len()];
        }
        let rows = columns.values.par_chunks_mut(positions).zip(&self.origin).zip(&mut self.sums);
        rows.for_each(|((row, origin), total)| {
            row.iter_mut().for_each(|value| *value -= origin);
            *total += sum(row);
        });
    }

    /// Means about the origin.
    fn offset(&self, count: f64) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / count).collect()
    }

    /// Means about zero.
    fn mean(&self, offset: &[f64]) -> Vec<f64> {
        self.origin.iter().zip(offset).map(|(origin, offset)| f64::from(*origin) + offset).collect()
    }
}

/// Rows of a product that one task works on; fixed, so that sums do not depend on the number of threads.
const TASK_ROWS: usize = 64;

/// `total += a · bᵀ`, in f32 within an image and f64 over images.
fn add_product(total: &mut [f64], partial: &mut [f32], a: &Columns, b: &Columns) {
    let (k, p) = (a.rows, a.positions);
    if k == 0 || p == 0 {
        return;
    }
    let right = View::new(&b.values, k, p, p).transposed();
    let tasks = partial.par_chunks_mut(TASK_ROWS * k).zip(total.par_chunks_mut(TASK_ROWS * k));
    tasks.zip(a.values.par_chunks(TASK_ROWS * p)).for_each(|((partial, total), rows)| {
        let count = rows.len() / p;
        product(ViewMut::new(partial, count, k, k), 0.0, 1.0, View::new(rows, count, p, p), right);
        total.iter_mut().zip(&*partial).for_each(|(total, value)| *total += f64::from(*value));
    });
}

/// Takes the outer product of the means from the mean product: moments about the means.
fn centre(total: &mut [f64], k: usize, count: f64, left: &[f64], right: &[f64]) {
    total.par_chunks_mut(k.max(1)).zip(left).for_each(|(row, left)| {
        row.iter_mut().zip(right).for_each(|(value, right)| *value = *value / count - left * right);
    });
}

/// Variance, as a fraction of the mean square, below which an input is taken for constant: what is left of it is
/// rounding, which need not be positive.
const CONSTANT: f64 = 1e-9;

/// Inputs that do not vary get moments of exactly zero; their weights act on the bias alone.
fn silence_constants(gram: &mut [f64], mean: &[f64]) {
    let k = mean.len();
    for i in 0..k {
        if gram[i * k + i] <= CONSTANT * mean[i] * mean[i] {
            for j in 0..k {
                gram[i * k + j] = 0.0;
                gram[j * k + i] = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests;
