//! First and second moments of a convolution's input.

use burn::tensor::Tensor;
use rayon::prelude::*;
use yolo_model::architecture::ConvSpec;
use yolo_model::host_values;

use super::columns::{Columns, columns, sample_positions};
use crate::error::Result;
use crate::matrix::{View, ViewMut, product};

/// Positions of the output that are looked at, over all images: plenty for the widest kernels (1152 to 4608
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
    /// `E[(x − μ)(x̂ − μ̂)ᵀ]`, `[k, k]`; none where both see the same.
    pub(crate) cross: Option<Vec<f64>>,
    /// `μ = E[x]`, `[k]`.
    pub(crate) dense_mean: Vec<f64>,
    /// `μ̂ = E[x̂]`, `[k]`.
    pub(crate) mean: Vec<f64>,
}

impl Moments {
    /// Moments over batches `[n, C, H, W]`; `pruned` is none where both networks see the same.
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
                sums.add(&at(&values), other.as_deref().map(at).as_ref());
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
    dense: Vec<f64>,
    pruned: Vec<f64>,
    product: Vec<f32>,
}

impl Sums {
    fn new(k: usize, has_cross: bool) -> Self {
        Self {
            k,
            count: 0,
            gram: vec![0.0; k * k],
            cross: has_cross.then(|| vec![0.0; k * k]),
            dense: vec![0.0; k],
            pruned: vec![0.0; k],
            product: vec![0.0; k * k],
        }
    }

    /// Adds an image: its columns in the dense network, and in the pruned one where they differ.
    fn add(&mut self, dense: &Columns, pruned: Option<&Columns>) {
        self.count += dense.positions;
        let seen = pruned.unwrap_or(dense);
        add_row_sums(&mut self.dense, dense);
        add_row_sums(&mut self.pruned, seen);
        add_product(&mut self.gram, &mut self.product, seen, seen);
        if let Some(cross) = &mut self.cross {
            add_product(cross, &mut self.product, dense, seen);
        }
    }

    fn moments(self) -> Moments {
        let Self { k, count, mut gram, mut cross, dense, pruned, .. } = self;
        let n = count.max(1) as f64;
        let mean = |sums: Vec<f64>| -> Vec<f64> { sums.into_iter().map(|sum| sum / n).collect() };
        let (dense_mean, mean) = (mean(dense), mean(pruned));
        centre(&mut gram, k, n, &mean, &mean);
        silence_constants(&mut gram, &mean);
        if let Some(cross) = &mut cross {
            centre(cross, k, n, &dense_mean, &mean);
        }
        Moments { k, gram, cross, dense_mean, mean }
    }
}

fn add_row_sums(sums: &mut [f64], columns: &Columns) {
    let rows = columns.values.par_chunks(columns.positions.max(1));
    sums.par_iter_mut()
        .zip(rows)
        .for_each(|(sum, row)| *sum += row.iter().map(|v| f64::from(*v)).sum::<f64>());
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use burn::tensor::TensorData;

    /// Two batches of two and one image, 2 channels of 5×4.
    fn batches(scale: f32) -> Vec<Tensor<4>> {
        let device = crate::networks::device();
        let batch = |n: usize, salt: usize| {
            let values: Vec<f32> = (0..n * 40)
                .map(|i| (((i * 37 + salt * 11) % 23) as f32 - 9.0) * scale + (i % 3) as f32)
                .collect();
            Tensor::from_data(TensorData::new(values, [n, 2, 5, 4]), &device)
        };
        vec![batch(2, 0), batch(1, 5)]
    }

    fn all_columns(batches: &[Tensor<4>], spec: &ConvSpec) -> Vec<Vec<f64>> {
        let mut all = Vec::new();
        for batch in batches {
            let values = host_values(batch.clone()).unwrap();
            for image in values.chunks(40) {
                let positions: Vec<usize> = (0..20).collect();
                let columns = columns(image, [5, 4], spec, &positions);
                for p in 0..20 {
                    all.push((0..columns.rows).map(|row| f64::from(columns.values[row * 20 + p])).collect());
                }
            }
        }
        all
    }

    #[test]
    fn moments_are_those_of_the_columns() {
        let spec = ConvSpec::new(2, 1, 3, 1);
        let (dense, pruned) = (batches(0.1), batches(0.07));
        let moments = Moments::measure(&spec, &dense, Some(&pruned)).unwrap();
        let (x, y) = (all_columns(&dense, &spec), all_columns(&pruned, &spec));
        let n = x.len() as f64;
        let mean = |c: &[Vec<f64>], i: usize| c.iter().map(|c| c[i]).sum::<f64>() / n;
        let second = |a: &[Vec<f64>], b: &[Vec<f64>], i: usize, j: usize| {
            let (ma, mb) = (mean(a, i), mean(b, j));
            a.iter().zip(b).map(|(a, b)| (a[i] - ma) * (b[j] - mb)).sum::<f64>() / n
        };
        for i in 0..18 {
            assert!((moments.mean[i] - mean(&y, i)).abs() < 1e-6);
            assert!((moments.dense_mean[i] - mean(&x, i)).abs() < 1e-6);
            let square = y.iter().map(|c| c[i] * c[i]).sum::<f64>() / n;
            assert!((moments.mean_squares()[i] - square).abs() < 1e-5);
            for j in 0..18 {
                assert!((moments.gram[i * 18 + j] - second(&y, &y, i, j)).abs() < 1e-5);
                let cross = moments.cross.as_ref().unwrap()[i * 18 + j];
                assert!((cross - second(&x, &y, i, j)).abs() < 1e-5);
            }
        }
    }
}
