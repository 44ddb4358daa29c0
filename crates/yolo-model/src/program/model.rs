//! A program with its weights.

use rand::Rng;

use super::ProgramLayout;
use crate::error::Result;
use crate::fuse::fused_weights;
use crate::init::random_tensors;
use crate::layout::{Answers, Layout, Model, Prunable, Widths, check_tensors};
use crate::pruning::PruningRecord;
use crate::weights::StateDict;

/// A program with its weights: whatever network it is, pruning works on it as on a detector.
#[derive(Clone, Debug)]
pub struct ProgramModel {
    /// What it computes.
    pub layout: ProgramLayout,
    /// Its tensors by name.
    pub weights: StateDict,
    /// The meaning of every output.
    pub answers: Answers,
    /// What was pruned, how, and how much; `None` for a network that was not.
    pub pruning: Option<PruningRecord>,
}

impl ProgramModel {
    /// A program with the tensors that it needs, whose outputs are the classes of a classifier ([`Answers::OneOf`]).
    ///
    /// # Errors
    /// Widths that disagree; the first tensor that is missing, has another shape or does not belong there.
    pub fn new(layout: ProgramLayout, weights: StateDict) -> Result<Self> {
        layout.validate()?;
        check_tensors(&layout, &weights)?;
        Ok(Self { layout, weights, answers: Answers::OneOf, pruning: None })
    }

    /// A program with random weights by PyTorch's rule: weights and biases of convolutions uniform in ±1/√fan_in, batch
    /// normalisation the identity. Its outputs are the classes of a classifier ([`Answers::OneOf`]).
    ///
    /// # Errors
    /// Widths that disagree.
    pub fn random(layout: ProgramLayout, rng: &mut impl Rng) -> Result<Self> {
        layout.validate()?;
        let weights = random_tensors(&layout, rng);
        Ok(Self { layout, weights, answers: Answers::OneOf, pruning: None })
    }

    /// The same network with its batch normalisation folded into its convolutions.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than the layout says.
    pub fn into_fused(self) -> Result<Self> {
        if self.layout.fused {
            return Ok(self);
        }
        let weights = fused_weights(&self)?.into_owned();
        Ok(Self { layout: ProgramLayout { fused: true, ..self.layout }, weights, ..self })
    }
}

impl Model for ProgramModel {
    fn layout(&self) -> &dyn Layout {
        &self.layout
    }

    fn weights(&self) -> &StateDict {
        &self.weights
    }

    fn pruning(&self) -> Option<&PruningRecord> {
        self.pruning.as_ref()
    }

    fn answers(&self, _output: usize) -> Answers {
        self.answers.clone()
    }
}

impl Prunable for ProgramModel {
    fn weights_mut(&mut self) -> &mut StateDict {
        &mut self.weights
    }

    fn set_pruning(&mut self, record: Option<PruningRecord>) {
        self.pruning = record;
    }

    fn with_widths(&self, widths: &Widths, weights: StateDict) -> Self {
        let (answers, pruning) = (self.answers.clone(), self.pruning.clone());
        Self { layout: self.layout.resized(widths), weights, answers, pruning }
    }
}
