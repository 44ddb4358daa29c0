//! Measurements on calibration images.

use yolo_model::Model;

use super::{Measure, Scores};
use crate::calibration::Calibration;
use crate::candidates::Candidate;
use crate::error::{PruneError, Result};
use crate::fused::Fused;
use crate::gradient::Labels;
use crate::image_scores::{saliencies, wanda};
use crate::method::Criterion;
use crate::sensitivity::{ErrorCurves, error_curves};

impl Measure for Calibration<'_> {
    fn scores(
        &mut self,
        model: &dyn Model,
        fused: &Fused,
        candidates: &[Candidate],
        criterion: Criterion,
    ) -> Result<Scores<'static>> {
        match criterion {
            Criterion::Wanda => wanda(fused, candidates, self),
            Criterion::Snip => saliencies(model, candidates, self, Labels::Pseudo, |product| product.abs()),
            Criterion::Taylor => {
                saliencies(model, candidates, self, Labels::Drawn, |product| product * product)
            }
            Criterion::Magnitude | Criterion::Reconstruction => {
                Err(PruneError::Calibration { reason: "magnitudes are not measured on images".to_owned() })
            }
        }
    }

    fn error_curves(
        &mut self,
        fused: &Fused,
        candidates: &[Candidate],
        scores: &Scores,
    ) -> Result<ErrorCurves> {
        error_curves(fused, candidates, scores, self)
    }
}
