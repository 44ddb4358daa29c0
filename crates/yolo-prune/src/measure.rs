//! What a plan needs to know of how the network behaves on images.

use yolo_model::Model;

use crate::candidates::Candidate;
use crate::error::Result;
use crate::fused::Fused;
use crate::method::Criterion;
use crate::scores::Scores;
use crate::sensitivity::ErrorCurves;

/// Looks at images on behalf of a plan.
pub(crate) trait Measure {
    /// The scores of every candidate by a criterion that needs images, one per weight.
    fn scores(
        &mut self,
        model: &dyn Model,
        fused: &Fused,
        candidates: &[Candidate],
        criterion: Criterion,
    ) -> Result<Scores<'static>>;

    /// How much the output of every candidate suffers when the weights of the smallest scores go.
    fn error_curves(
        &mut self,
        fused: &Fused,
        candidates: &[Candidate],
        scores: &Scores,
    ) -> Result<ErrorCurves>;
}
