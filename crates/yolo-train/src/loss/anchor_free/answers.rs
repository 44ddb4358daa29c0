//! What a network answers at the candidates of an assignment, on the host.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use rayon::prelude::*;
use yolo_eval::Xyxy;
use yolo_nn::host_values;

use super::SIDES;
use super::assigner::{Candidate, Fit};
use super::grid::{Grid, Object};
use super::overlap::ciou_of_corners;
use crate::error::Result;

/// The distances that logits `[n, 4, bins, cells]` stand for, in cells, as `[n, 4, 1, cells]`: the expectation of the numbers of
/// the bins under their softmax, or a single bin's logit itself.
pub fn distances(logits: Tensor<4>) -> Tensor<4> {
    let bins = logits.dims()[2];
    if bins == 1 {
        return logits;
    }
    let numbers: Vec<f32> = (0..bins).map(|bin| bin as f32).collect();
    let numbers = Tensor::from_data(TensorData::new(numbers, [1, 1, bins, 1]), &logits.device());
    (activation::softmax(logits, 2) * numbers).sum_dim(2)
}

/// The score and the overlap of every candidate, for each of `sets` (the maps of all levels of one set of branches, `[N, 4 · bins +
/// classes, rows, columns]`). Everything is read in one go: of the boxes only the distances, of the scores only the candidates'.
///
/// # Errors
/// A device that does not return its results.
pub fn fits(
    sets: &[&[Tensor<4>]],
    bins: usize,
    (candidates, objects): (&[Candidate], &[Object]),
    grid: &Grid,
) -> Result<Vec<Vec<Fit>>> {
    if candidates.is_empty() {
        return Ok(vec![Vec::new(); sets.len()]);
    }
    let mut by_level: Vec<Vec<usize>> = vec![Vec::new(); grid.levels().len()];
    for (index, candidate) in candidates.iter().enumerate() {
        by_level[grid.place(candidate.cell).0].push(index);
    }
    let mut pieces = Vec::new();
    for set in sets {
        for (map, members) in set.iter().zip(&by_level) {
            let map = map.clone().detach();
            let [n, channels, rows, columns] = map.dims();
            let boxes = map.clone().narrow(1, 0, SIDES * bins).reshape([n, SIDES, bins, rows * columns]);
            pieces.push(distances(boxes).reshape([-1]));
            if members.is_empty() {
                continue;
            }
            let logit = |&index: &usize| {
                let Candidate { object, cell } = candidates[index];
                let channel = SIDES * bins + objects[object].class;
                let in_level = grid.place(cell).1;
                ((objects[object].image * channels + channel) * rows * columns + in_level) as i32
            };
            let indices: Vec<i32> = members.iter().map(logit).collect();
            pieces.push(picked(map, &indices));
        }
    }
    let host = host_values(Tensor::cat(pieces, 0))?;
    let mut rest = host.as_slice();
    let n_images = sets[0].first().map_or(0, |map| map.dims()[0]);
    let mut all = Vec::with_capacity(sets.len());
    for _ in sets {
        let mut fits = vec![Fit { object: 0, cell: 0, score: 0.0, overlap: 0.0 }; candidates.len()];
        for (level, members) in grid.levels().iter().zip(&by_level) {
            let cells = level.rows * level.columns;
            let (distances, after) = rest.split_at(n_images * SIDES * cells);
            let (logits, after) = after.split_at(members.len());
            rest = after;
            let fit = |(&index, &logit): (&usize, &f32)| {
                let Candidate { object, cell } = candidates[index];
                let Object { image, bbox_px, .. } = objects[object];
                let in_level = cell - level.first;
                let distance = |side: usize| distances[(image * SIDES + side) * cells + in_level];
                let predicted = boxed(level.centre(in_level), std::array::from_fn(distance), level.stride);
                let overlap = ciou_of_corners(bbox_px, predicted).max(0.0);
                let cell = image * grid.n_cells() + cell;
                (index, Fit { object, cell, score: 1.0 / (1.0 + (-logit).exp()), overlap })
            };
            let found: Vec<(usize, Fit)> = members.par_iter().zip(logits).map(fit).collect();
            found.into_iter().for_each(|(index, fit)| fits[index] = fit);
        }
        all.push(fits);
    }
    Ok(all)
}

/// The box around a cell's centre, in pixels.
fn boxed([x, y]: [f32; 2], [left, top, right, bottom]: [f32; 4], stride: f32) -> Xyxy {
    Xyxy {
        x1: (x - left) * stride,
        y1: (y - top) * stride,
        x2: (x + right) * stride,
        y2: (y + bottom) * stride,
    }
}

/// The numbers of `map` at `indices` of its flat form, `[n]`.
pub fn picked(map: Tensor<4>, indices: &[i32]) -> Tensor<1> {
    let device: Device = map.device();
    let indices = Tensor::<1, Int>::from_data(TensorData::from(indices), &device);
    map.reshape([-1]).select(0, indices)
}
