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
    let questions = Questions { candidates, objects, grid, by_level: by_level(candidates, grid) };
    let pieces: Vec<Tensor<1>> = sets.iter().flat_map(|set| questions.ask(set, bins)).collect();
    let host = host_values(Tensor::cat(pieces, 0))?;
    let mut answers = host.as_slice();
    let n_images = sets[0].first().map_or(0, |map| map.dims()[0]);
    Ok(sets.iter().map(|_| questions.fits(&mut answers, n_images)).collect())
}

/// Indices of the candidates of each level.
fn by_level(candidates: &[Candidate], grid: &Grid) -> Vec<Vec<usize>> {
    let mut by_level: Vec<Vec<usize>> = vec![Vec::new(); grid.levels().len()];
    for (index, candidate) in candidates.iter().enumerate() {
        by_level[grid.place(candidate.cell).0].push(index);
    }
    by_level
}

/// What is read of a set of maps.
struct Questions<'a> {
    candidates: &'a [Candidate],
    objects: &'a [Object],
    grid: &'a Grid,
    by_level: Vec<Vec<usize>>,
}

impl Questions<'_> {
    /// Per level the distances of all cells, then the logits of its candidates' classes.
    fn ask(&self, maps: &[Tensor<4>], bins: usize) -> Vec<Tensor<1>> {
        let mut pieces = Vec::new();
        for ((map, members), level) in maps.iter().zip(&self.by_level).zip(self.grid.levels()) {
            let map = map.clone().detach();
            let [n, channels, rows, columns] = map.dims();
            let cells = rows * columns;
            let boxes = map.clone().narrow(1, 0, SIDES * bins).reshape([n, SIDES, bins, cells]);
            pieces.push(distances(boxes).reshape([-1]));
            let logit = |&index: &usize| {
                let Candidate { object, cell } = self.candidates[index];
                let Object { image, class, .. } = self.objects[object];
                ((image * channels + SIDES * bins + class) * cells + cell - level.first) as i32
            };
            if !members.is_empty() {
                pieces.push(picked(map, &members.iter().map(logit).collect::<Vec<i32>>()));
            }
        }
        pieces
    }

    /// Takes the answers to [`Questions::ask`] from the front of `answers`.
    fn fits(&self, answers: &mut &[f32], n_images: usize) -> Vec<Fit> {
        let mut fits = vec![Fit { object: 0, cell: 0, score: 0.0, overlap: 0.0 }; self.candidates.len()];
        for (level, members) in self.grid.levels().iter().zip(&self.by_level) {
            let cells = level.rows * level.columns;
            let (distances, rest) = answers.split_at(n_images * SIDES * cells);
            let (logits, rest) = rest.split_at(members.len());
            *answers = rest;
            let fit = |(&index, &logit): (&usize, &f32)| {
                let Candidate { object, cell } = self.candidates[index];
                let Object { image, bbox_px, .. } = self.objects[object];
                let in_level = cell - level.first;
                let distance = |side: usize| distances[(image * SIDES + side) * cells + in_level];
                let predicted = boxed(level.centre(in_level), std::array::from_fn(distance), level.stride);
                let overlap = ciou_of_corners(bbox_px, predicted).max(0.0);
                let cell = image * self.grid.n_cells() + cell;
                (index, Fit { object, cell, score: 1.0 / (1.0 + (-logit).exp()), overlap })
            };
            let found: Vec<(usize, Fit)> = members.par_iter().zip(logits).map(fit).collect();
            found.into_iter().for_each(|(index, fit)| fits[index] = fit);
        }
        fits
    }
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
