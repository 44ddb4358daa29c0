//! The loss of the head without anchors: overlap of boxes, classes, and distances (§5 of Ultralytics' specification).
//!
//! ```text
//! maps ── distances, scores at candidates ──► host: candidates ── assign ──► cells that predict objects, with target scores
//!   └──────────────────────────── terms at these cells, class term everywhere ◄──┘
//! ```
//!
//! [`assigner`] decides which cells predict which object, from what the network answers; it is plain Rust. The device is read
//! twice for a batch: for the assignment, and for the terms.

pub mod answers;
pub mod assigner;
mod branches;
pub mod grid;
pub mod overlap;
mod terms;

use burn::tensor::Tensor;
use yolo_data::train_loader::Target;
use yolo_model::LossTerm;
use yolo_model::modules::{AnchorFreeSpec, Branches};
use yolo_nn::host_values;

pub use branches::{BranchWeights, TrainedBranches};

use self::assigner::{AssignerOptions, Positive, assign, candidates};
use self::grid::{Grid, Object};
use super::{Loss, LossOptions, LossTerms};
use crate::error::{Result, TrainError};

/// Sides of a box: left, top, right, bottom.
const SIDES: usize = 4;
/// Names of the terms, in the order of the sums.
const TERMS: [LossTerm; 3] = [LossTerm::Box, LossTerm::Class, LossTerm::Distribution];

/// What the loss has to know of a head without anchors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorFreeShape {
    /// Number of classes.
    pub num_classes: usize,
    /// Bins per distance, at least 1.
    pub reg_max: usize,
    /// Input pixels per cell of each level, finest level first.
    pub strides: Vec<usize>,
    /// Whose maps the loss is given.
    pub branches: TrainedBranches,
}

/// The loss of a head without anchors.
#[derive(Clone, Debug)]
pub struct AnchorFreeLoss {
    shape: AnchorFreeShape,
    /// Factors of the terms.
    gains: [f64; 3],
    weights: BranchWeights,
}

impl From<&AnchorFreeSpec> for AnchorFreeShape {
    fn from(detect: &AnchorFreeSpec) -> Self {
        let branches = match (detect.has_both(), detect.answering()) {
            (true, _) => TrainedBranches::Both,
            (false, Branches::OneToMany) => TrainedBranches::OneToMany,
            (false, Branches::OneToOne) => TrainedBranches::OneToOne,
        };
        Self {
            num_classes: detect.num_classes,
            reg_max: detect.bins,
            strides: detect.strides.clone(),
            branches,
        }
    }
}

impl AnchorFreeShape {
    /// The assignment of each set of maps.
    fn assigners(&self) -> &'static [AssignerOptions] {
        match self.branches {
            TrainedBranches::OneToMany => &[AssignerOptions::ONE_TO_MANY],
            TrainedBranches::OneToOne => &[AssignerOptions::ONE_TO_ONE],
            TrainedBranches::Both => &[AssignerOptions::ONE_TO_MANY, AssignerOptions::ONE_TO_ONE],
        }
    }

    /// Sides of objects count as at least this long, in pixels, where it is asked whether a cell is inside: the stride of the
    /// second level.
    fn least_side(&self) -> f32 {
        self.strides.get(1).or(self.strides.first()).map_or(0.0, |&stride| stride as f32)
    }

    /// The cells of `maps`.
    ///
    /// # Errors
    /// [`TrainError::State`] for maps of another head.
    fn grid(&self, maps: &[Tensor<4>]) -> Result<Grid> {
        let (levels, sets) = (self.strides.len(), self.assigners().len());
        let channels = SIDES * self.reg_max + self.num_classes;
        let size = |map: &Tensor<4>| [map.dims()[2], map.dims()[3]];
        let sizes: Vec<[usize; 2]> = maps.iter().take(levels).map(size).collect();
        let fits = |(index, map): (usize, &Tensor<4>)| {
            map.dims()[1] == channels && size(map) == sizes[index % levels]
        };
        if levels == 0 || maps.len() != levels * sets || !maps.iter().enumerate().all(fits) {
            return Err(TrainError::State {
                reason: format!(
                    "{} maps are not {sets} times {levels} levels of {channels} channels",
                    maps.len()
                ),
            });
        }
        Ok(Grid::new(&self.strides, &sizes))
    }

    /// The objects of `targets` in pixels.
    ///
    /// # Errors
    /// [`TrainError::State`] for a class that the head does not have.
    fn objects(&self, targets: &[Target], grid: &Grid) -> Result<Vec<Object>> {
        let objects = grid.objects(targets);
        match objects.iter().find(|object| object.class >= self.num_classes) {
            None => Ok(objects),
            Some(object) => Err(TrainError::State {
                reason: format!(
                    "an object has class {}, but the head has {} classes",
                    object.class, self.num_classes
                ),
            }),
        }
    }
}

impl AnchorFreeLoss {
    /// The loss of a head of this shape, in the first epoch.
    pub fn new(shape: AnchorFreeShape, options: &LossOptions) -> Self {
        let gains = [options.box_gain, options.class_gain, options.distribution_gain];
        Self { shape, gains, weights: BranchWeights::at(0, 1) }
    }

    /// Sets the weights of the two sets of branches. They have no effect on one set alone.
    pub fn set_weights(&mut self, weights: BranchWeights) {
        self.weights = weights;
    }

    /// The cells that predict each object of `targets`, for every set of maps.
    ///
    /// # Errors
    /// As [`AnchorFreeLoss::forward`].
    pub fn positives(&self, maps: &[Tensor<4>], targets: &[Target]) -> Result<Vec<Vec<Positive>>> {
        let grid = self.shape.grid(maps)?;
        self.assigned(maps, &self.shape.objects(targets, &grid)?, &grid)
    }

    fn assigned(&self, maps: &[Tensor<4>], objects: &[Object], grid: &Grid) -> Result<Vec<Vec<Positive>>> {
        let candidates = candidates(objects, grid, self.shape.least_side());
        let sets: Vec<&[Tensor<4>]> = maps.chunks(self.shape.strides.len()).collect();
        let fits = answers::fits(&sets, self.shape.reg_max, (&candidates, objects), grid)?;
        Ok(fits.iter().zip(self.shape.assigners()).map(|(fits, &options)| assign(fits, options)).collect())
    }

    /// The loss of logits `maps` for `targets`: per level `[N, 4 · reg_max + classes, rows, columns]`, the box channels side by side
    /// (left, top, right, bottom), each with its bins.
    ///
    /// # Errors
    /// [`TrainError::Device`] if the device does not return its results, [`TrainError::State`] for maps or targets of another
    /// head.
    pub fn forward(&self, maps: &[Tensor<4>], targets: &[Target]) -> Result<Loss> {
        let grid = self.shape.grid(maps)?;
        let objects = self.shape.objects(targets, &grid)?;
        let n_images = maps[0].dims()[0] as f64;
        let assigned = self.assigned(maps, &objects, &grid)?;
        let mut terms = Vec::new();
        for (set, positives) in maps.chunks(self.shape.strides.len()).zip(&assigned) {
            let sums = terms::sums(set, self.shape.reg_max, positives, &objects, &grid);
            let targets: f64 = positives.iter().map(|positive| f64::from(positive.target)).sum();
            let sums = [sums.bbox, sums.class, sums.distribution].into_iter().zip(self.gains);
            terms.extend(sums.map(|(sum, gain)| sum.mul_scalar(gain / targets.max(1.0))));
        }
        let host = host_values(Tensor::cat(terms.clone(), 0).detach())?;
        let named =
            |values: &[f32]| TERMS.into_iter().zip(values.iter().map(|&value| f64::from(value))).collect();
        let mut named: Vec<LossTerms> = host.chunks(TERMS.len()).map(named).collect();
        let reported = named.pop().unwrap_or_default();
        let weights: &[f64] = match self.shape.branches {
            TrainedBranches::Both => &[self.weights.one2many, self.weights.one2one],
            _ => &[1.0],
        };
        let weighted = terms.chunks(TERMS.len()).zip(weights).map(|(terms, &weight)| {
            let sum = terms[1..].iter().fold(terms[0].clone(), |sum, term| sum + term.clone());
            sum.mul_scalar(weight * n_images)
        });
        let total = weighted.reduce(|sum, set| sum + set);
        let total =
            total.ok_or_else(|| TrainError::State { reason: "the head has no branches".to_owned() })?;
        Ok(Loss { total, terms: reported, other_branch: named.pop(), level_objectness: Vec::new() })
    }
}
