//! Measurements on images that a plan can need.

#[cfg(feature = "nn")]
mod images;

use std::borrow::Cow;

use yolo_model::Model;

use crate::candidates::Candidate;
use crate::error::Result;
use crate::fused::Fused;
use crate::method::Criterion;
use crate::sensitivity::ErrorCurves;

/// One score per weight of every candidate, whose sign does not count; larger is more important.
pub(crate) type Scores<'a> = Vec<Cow<'a, [f32]>>;

/// Measures the network on images, for a plan.
pub(crate) trait Measure {
    /// The scores of every candidate by a criterion that needs images, one per weight.
    fn scores(
        &mut self,
        model: &dyn Model,
        fused: &Fused,
        candidates: &[Candidate],
        criterion: Criterion,
    ) -> Result<Scores<'static>>;

    /// The error of every candidate's output when the weights with the smallest scores are removed.
    fn error_curves(
        &mut self,
        fused: &Fused,
        candidates: &[Candidate],
        scores: &Scores,
    ) -> Result<ErrorCurves>;
}
