//! A network with batch normalisation folded in, as it runs.

use std::borrow::Cow;

use yolo_model::program::Program;
use yolo_model::weights::StateDict;
use yolo_model::{Model, fused_weights};

use crate::error::Result;

/// A program with the weights of its fused convolutions; those of a model that is stored fused are borrowed.
pub(crate) struct Fused<'a> {
    /// What it computes.
    #[cfg_attr(not(feature = "nn"), allow(dead_code, reason = "only calibration runs it"))]
    pub(crate) program: Program,
    /// Its tensors by name.
    pub(crate) weights: Cow<'a, StateDict>,
}

impl<'a> Fused<'a> {
    /// The model with batch normalisation folded in.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than the layout says.
    pub(crate) fn of(model: &'a dyn Model) -> Result<Self> {
        Ok(Self { program: model.layout().program(), weights: fused_weights(model)? })
    }
}
