//! Which cells predict which object: the task-aligned assignment (Feng et al. 2021; §5.1 of Ultralytics' specification).
//!
//! [`candidates`] are the cells inside an object. Those that fit it best, by score and by overlap, predict it; a cell that fits
//! several goes to the one that it overlaps most. Everything is plain Rust without gradients.

use std::collections::HashMap;

use super::grid::{Grid, Object};

/// A cell's centre is inside an object if it is further than this from every side, in pixels.
const INSIDE: f32 = 1e-9;
/// Exponent of the overlap in the alignment; that of the score is ½.
const OVERLAP_EXPONENT: i32 = 6;
/// Keeps the quotient of alignments finite.
const EPSILON: f32 = 1e-9;

/// How many cells predict an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignerOptions {
    /// The cells of the largest alignment that are taken first.
    pub top: usize,
    /// The cells that are left once every cell belongs to one object.
    pub kept: usize,
}

impl AssignerOptions {
    /// Several boxes per object, for a suppression.
    pub const ONE_TO_MANY: Self = Self { top: 10, kept: 10 };
    /// One box per object.
    pub const ONE_TO_ONE: Self = Self { top: 7, kept: 1 };
}

/// A cell inside an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Index of the object.
    pub object: usize,
    /// The cell, counted over all levels of the object's image.
    pub cell: usize,
}

/// What the network answers at a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Index of the object.
    pub object: usize,
    /// The cell, counted over all levels of all images.
    pub cell: usize,
    /// The score of the object's class, in `[0, 1]`.
    pub score: f32,
    /// CIoU of the cell's box with the object's, at least 0.
    pub overlap: f32,
}

/// A cell that predicts an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Positive {
    /// The cell, counted over all levels of all images.
    pub cell: usize,
    /// Index of the object.
    pub object: usize,
    /// The score that the object's class should have, which is also the weight of the box.
    pub target: f32,
}

/// The cells whose centres lie inside the objects, object by object, in ascending order. For this test alone, sides shorter than
/// `least_side` pixels are as long as that.
pub fn candidates(objects: &[Object], grid: &Grid, least_side: f32) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let b = object.bbox_px;
        if b.x1 + b.y1 + b.x2 + b.y2 <= 0.0 {
            continue;
        }
        let (across, down) = (widened(b.x1, b.x2, least_side), widened(b.y1, b.y2, least_side));
        for level in grid.levels() {
            let columns = inside(across, level.stride, level.columns);
            for row in inside(down, level.stride, level.rows) {
                let first = level.first + row * level.columns;
                let cell = |column| Candidate { object: index, cell: first + column };
                candidates.extend(columns.clone().map(cell));
            }
        }
    }
    candidates
}

/// An interval made as long as `least` about its middle, if it is shorter.
fn widened(low: f32, high: f32, least: f32) -> [f32; 2] {
    if high - low >= least {
        return [low, high];
    }
    let middle = (low + high) / 2.0;
    [middle - least / 2.0, middle + least / 2.0]
}

/// The cells of `n` in a row whose middles are inside an interval of pixels.
fn inside([low, high]: [f32; 2], stride: f32, n: usize) -> std::ops::Range<usize> {
    let is_inside = |cell: &usize| {
        let middle = (*cell as f32 + 0.5) * stride;
        middle - low > INSIDE && high - middle > INSIDE
    };
    let first = (0..n).find(is_inside).unwrap_or(n);
    first..first + (first..n).take_while(is_inside).count()
}

/// Chooses the cells that predict objects, in ascending order of the cells. `fits` come object by object.
///
/// With the alignment `a = √score · overlap⁶`: every object takes its `top` best cells with `a > 0` (the first of equal
/// ones). A cell that several objects took goes to the one that it overlaps most among all that it is inside (the first
/// of equal ones). Of what an object then has, its `kept` best cells stay. Targets are `a · O / M` with the object's largest
/// overlap `O` and alignment `M` among its cells.
pub fn assign(fits: &[Fit], options: AssignerOptions) -> Vec<Positive> {
    let alignment = |fit: &Fit| fit.score.sqrt() * fit.overlap.powi(OVERLAP_EXPONENT);
    let aligned: Vec<f32> = fits.iter().map(alignment).collect();
    let by_object = |chosen: Vec<usize>, n: usize| -> Vec<usize> {
        let objects = chosen.chunk_by(|&a, &b| fits[a].object == fits[b].object);
        objects.flat_map(|of_object| best(of_object, &aligned, n)).collect()
    };
    let positive = (0..fits.len()).filter(|&fit| aligned[fit] > 0.0).collect();
    let mut chosen = without_conflicts(fits, by_object(positive, options.top));
    if options.kept != options.top {
        chosen = by_object(chosen, options.kept);
    }
    let mut positives = Vec::with_capacity(chosen.len());
    for of_object in chosen.chunk_by(|&a, &b| fits[a].object == fits[b].object) {
        let largest =
            |values: &dyn Fn(usize) -> f32| of_object.iter().map(|&fit| values(fit)).fold(0.0, f32::max);
        let (most_aligned, most_overlap) = (largest(&|fit| aligned[fit]), largest(&|fit| fits[fit].overlap));
        positives.extend(of_object.iter().map(|&fit| Positive {
            cell: fits[fit].cell,
            object: fits[fit].object,
            target: aligned[fit] * most_overlap / (most_aligned + EPSILON),
        }));
    }
    positives.sort_unstable_by_key(|positive| positive.cell);
    positives
}

/// The `n` fits of the largest alignment, the first of equal ones, in ascending order.
fn best(fits: &[usize], aligned: &[f32], n: usize) -> Vec<usize> {
    let mut fits = fits.to_vec();
    if fits.len() > n {
        let order = |a: &usize, b: &usize| aligned[*b].total_cmp(&aligned[*a]).then(a.cmp(b));
        fits.select_nth_unstable_by(n.max(1) - 1, order);
        fits.truncate(n);
        fits.sort_unstable();
    }
    fits
}

/// `chosen` with every cell at one object only, object by object.
fn without_conflicts(fits: &[Fit], chosen: Vec<usize>) -> Vec<usize> {
    let mut takers: HashMap<usize, usize> = HashMap::with_capacity(chosen.len());
    for &fit in &chosen {
        *takers.entry(fits[fit].cell).or_insert(0) += 1;
    }
    let mut winners: HashMap<usize, usize> = HashMap::new();
    if takers.values().any(|&takers| takers > 1) {
        let contested = |fit: &Fit| takers.get(&fit.cell).is_some_and(|&takers| takers > 1);
        for (index, fit) in fits.iter().enumerate().filter(|(_, fit)| contested(fit)) {
            let winner = winners.entry(fit.cell).or_insert(index);
            if fit.overlap > fits[*winner].overlap {
                *winner = index;
            }
        }
    }
    let mut settled: Vec<usize> = chosen
        .into_iter()
        .filter(|&fit| !winners.contains_key(&fits[fit].cell))
        .chain(winners.values().copied())
        .collect();
    settled.sort_unstable();
    settled
}

#[cfg(test)]
mod tests;
