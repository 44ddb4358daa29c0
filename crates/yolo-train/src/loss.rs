//! The detection loss: how far the logits of a batch are from its objects. Every kind of head has its own.

pub mod anchor_based;
pub mod anchor_free;
mod bce;
mod terms;

use burn::tensor::Tensor;
use yolo_data::train_loader::Target;
use yolo_model::Head;

pub use anchor_based::{AnchorBasedLoss, Matches, assign, ciou};
pub use anchor_free::{AnchorFreeLoss, AnchorFreeShape, BranchWeights, TrainedBranches};
pub use bce::{BceOptions, bce_with_logits};
pub use terms::LossTerms;

use crate::error::Result;

/// Gains and options of the loss, already scaled as the head's family does.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOptions {
    /// Factor of the box term.
    pub box_gain: f64,
    /// Factor of the objectness term; of heads with objectness.
    pub objectness_gain: f64,
    /// Factor of the class term.
    pub class_gain: f64,
    /// Factor of the term of distances; of heads without anchors.
    pub distribution_gain: f64,
    /// Weight of positive examples in the class term; of heads with anchors.
    pub class_positive_weight: f64,
    /// Weight of positive examples in the objectness term.
    pub objectness_positive_weight: f64,
    /// Focal loss exponent of both cross-entropies; 0 turns it off. Of heads with anchors.
    pub focal_gamma: f64,
    /// Class targets are `1 − ε/2` and `ε/2`; of heads with anchors.
    pub label_smoothing: f64,
    /// Largest factor between the sides of an object and an anchor that takes it.
    pub anchor_threshold: f64,
    /// Whether the weights of the levels follow their objectness losses.
    pub auto_balance: bool,
}

/// The loss of a detector, whatever its head.
#[derive(Clone, Debug)]
pub struct DetectionLoss {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    AnchorBased(AnchorBasedLoss),
    AnchorFree(AnchorFreeLoss),
}

/// A loss with its terms.
#[derive(Debug)]
pub struct Loss {
    /// What is minimised: the sum of the terms times the number of images, `[1]`.
    pub total: Tensor<1>,
    /// The terms with their gains; of a head with two sets of branches, those of the branches that answer alone.
    pub terms: LossTerms,
    /// The terms of the other set of branches, if there are two.
    pub other_branch: Option<LossTerms>,
    /// Mean objectness cross-entropy of each level, without weight; empty for a head without objectness.
    pub level_objectness: Vec<f64>,
}

impl Loss {
    /// Whether all of its terms are finite.
    pub fn is_finite(&self) -> bool {
        self.terms.is_finite() && self.other_branch.as_ref().is_none_or(LossTerms::is_finite)
    }
}

impl DetectionLoss {
    /// The loss of a network with this head, in the first epoch.
    pub fn new(head: Head<'_>, options: LossOptions) -> Self {
        match head {
            Head::AnchorBased(detect) => AnchorBasedLoss::new(detect, options).into(),
            Head::AnchorFree(detect) => AnchorFreeLoss::new(detect.into(), &options).into(),
        }
    }

    /// Sets what depends on the progress of a run: the weights of two sets of branches in `epoch` of `epochs`, counted
    /// from 0.
    pub fn begin_epoch(&mut self, epoch: usize, epochs: usize) {
        if let Kind::AnchorFree(loss) = &mut self.kind {
            loss.set_weights(BranchWeights::at(epoch, epochs));
        }
    }

    /// Weights of the levels in the objectness term; empty for a head without objectness.
    pub fn balance(&self) -> &[f64] {
        match &self.kind {
            Kind::AnchorBased(loss) => loss.balance(),
            Kind::AnchorFree(_) => &[],
        }
    }

    /// Restores weights that [`DetectionLoss::balance`] returned.
    pub fn set_balance(&mut self, balance: &[f64]) {
        if let Kind::AnchorBased(loss) = &mut self.kind {
            loss.set_balance(balance);
        }
    }

    /// The loss of logits `maps`, per level `[N, channels, height, width]` (of two sets of branches, the levels of the first
    /// and then those of the second), for `targets`.
    ///
    /// # Errors
    /// [`TrainError::Device`](crate::TrainError::Device) if the device does not return its results;
    /// [`TrainError::State`](crate::TrainError::State) for maps that are not those of the head.
    pub fn forward(&self, maps: &[Tensor<4>], targets: &[Target]) -> Result<Loss> {
        match &self.kind {
            Kind::AnchorBased(loss) => loss.forward(maps, targets),
            Kind::AnchorFree(loss) => loss.forward(maps, targets),
        }
    }

    /// Moves the weights of the levels towards equal objectness losses, if that is asked for.
    pub fn rebalance(&mut self, level_objectness: &[f64]) {
        if let Kind::AnchorBased(loss) = &mut self.kind {
            loss.rebalance(level_objectness);
        }
    }
}

impl From<AnchorBasedLoss> for DetectionLoss {
    fn from(loss: AnchorBasedLoss) -> Self {
        Self { kind: Kind::AnchorBased(loss) }
    }
}

impl From<AnchorFreeLoss> for DetectionLoss {
    fn from(loss: AnchorFreeLoss) -> Self {
        Self { kind: Kind::AnchorFree(loss) }
    }
}
