//! SparseGPT (Frantar & Alistarh 2023): one pass over the columns, each removal compensated by the columns behind it.

use std::ops::Range;

use rayon::prelude::*;

use super::Pruned;
use super::cholesky::inverse_upper_factor;
use super::error::{ReconstructError, Result};
use super::gram::{Gram, TASK_ROWS};
use super::pattern::{Pattern, keep_largest, keep_n_of_m};
use crate::matrix::{View, ViewMut, product};

/// Columns whose weights are selected together and whose errors reach the columns behind them in one product.
const BLOCK: usize = 128;

/// Prunes `original` [rows, inputs] to `pattern`, exactly as many weights as it asks for, and adapts the survivors.
///
/// The columns are taken in order. A weight goes if its `w^2 / u_cc^2` is small, where `u` is the upper Cholesky
/// factor of the inverse of `H`; its error `w / u_cc` moves the columns behind it by `-error * u_c:`. Columns that
/// are done do not move any more, so [`super::refit`] on the result's support improves it further.
///
/// Unlike the paper, an unstructured selection does not take the same share of every block of columns: at each block
/// the weights that are left to prune are drawn from all columns that are still open, as they are then.
///
/// # Errors
/// A pattern that does not fit, weights that are not finite, or a Gram matrix that is damped too little.
pub fn sparse_gpt(gram: &Gram, original: &[f32], pattern: Pattern) -> Result<Pruned> {
    let rows = gram.check_weights(original)?;
    let inputs = gram.inputs();
    pattern.check(rows, inputs)?;
    let upper = inverse_upper_factor(gram.damped(), inputs)
        .map_err(|input| ReconstructError::NotPositive { input })?;
    let costs = (0..inputs).map(|c| upper[c * inputs + c].powi(-2)).collect();
    let weights = original.iter().copied().map(f64::from).collect();
    let mut pass = Pass { inputs, upper, costs, weights, keep: vec![true; original.len()] };
    let (block, groups) = match pattern {
        Pattern::Unstructured { .. } => (BLOCK, None),
        Pattern::NOfM { n, m } => (BLOCK.next_multiple_of(m), Some((n, m))),
    };
    let mut gone = 0;
    for start in (0..inputs).step_by(block) {
        let columns = start..inputs.min(start + block);
        if let Pattern::Unstructured { prune } = pattern {
            gone += pass.select(columns.clone(), prune - gone);
        }
        pass.compensate(columns, groups);
    }
    Ok(pass.finish())
}

/// The state of the pass.
struct Pass {
    inputs: usize,
    /// [inputs, inputs]
    upper: Vec<f64>,
    /// `1 / u_cc^2` of every column.
    costs: Vec<f64>,
    /// [rows, inputs]
    weights: Vec<f64>,
    /// [rows, inputs]
    keep: Vec<bool>,
}

impl Pass {
    /// Decides about the weights of a block of columns, when `prune` of those in the block and behind it have to go;
    /// returns how many of the block's go.
    fn select(&mut self, columns: Range<usize>, prune: usize) -> usize {
        let open = self.inputs - columns.start;
        let rows = self.weights.chunks(self.inputs);
        let scores: Vec<f32> =
            rows.flat_map(|row| scores(&row[columns.start..], &self.costs[columns.start..])).collect();
        let keep = keep_largest(&scores, prune);
        let mut gone = 0;
        for (to, keep) in self.keep.chunks_mut(self.inputs).zip(keep.chunks(open)) {
            let keep = &keep[..columns.len()];
            to[columns.clone()].copy_from_slice(keep);
            gone += keep.iter().filter(|keep| !**keep).count();
        }
        gone
    }

    /// Removes the weights of a block of columns that are not kept and adapts the columns behind them. With `groups`
    /// (n, m) the mask of each group of m columns is decided when the pass arrives at it.
    fn compensate(&mut self, columns: Range<usize>, groups: Option<(usize, usize)>) {
        let Self { inputs, upper, costs, weights, keep } = self;
        let (inputs, width, rest) = (*inputs, columns.len(), *inputs - columns.end);
        let tasks = weights.par_chunks_mut(TASK_ROWS * inputs).zip(keep.par_chunks_mut(TASK_ROWS * inputs));
        tasks.for_each(|(weights, keep)| {
            let count = weights.len() / inputs;
            let mut errors = vec![0.0; count * width];
            let rows = weights.chunks_mut(inputs).zip(keep.chunks_mut(inputs)).zip(errors.chunks_mut(width));
            for ((row, keep), errors) in rows {
                for (column, error) in columns.clone().zip(errors) {
                    if let Some((n, m)) = groups.filter(|(_, m)| column.is_multiple_of(*m)) {
                        let group = column..column + m;
                        keep[group.clone()].copy_from_slice(&keep_n_of_m(
                            &scores(&row[group.clone()], &costs[group]),
                            n,
                            m,
                        ));
                    }
                    if !keep[column] {
                        let upper = &upper[column * inputs..];
                        *error = row[column] / upper[column];
                        row[column] = 0.0;
                        let near = column + 1..columns.end;
                        row[near.clone()].iter_mut().zip(&upper[near]).for_each(|(w, u)| *w -= *error * u);
                    }
                }
            }
            let errors = View::new(&errors, count, width, width);
            let behind = View::new(&upper[columns.start * inputs + columns.end..], width, rest, inputs);
            product(
                ViewMut::new(&mut weights[columns.end..], count, rest, inputs),
                1.0,
                -1.0,
                errors,
                behind,
            );
        });
    }

    fn finish(self) -> Pruned {
        let weights = self.weights.iter().zip(&self.keep);
        Pruned {
            weights: weights.map(|(w, keep)| if *keep { *w as f32 } else { 0.0 }).collect(),
            keep: self.keep,
        }
    }
}

fn scores(weights: &[f64], costs: &[f64]) -> Vec<f32> {
    weights.iter().zip(costs).map(|(w, cost)| (w * w * cost) as f32).collect()
}
