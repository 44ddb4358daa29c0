//! Importance of every weight by a criterion.

use std::borrow::Cow;

use yolo_model::Model;
use yolo_model::weights::StateDict;

use crate::candidates::Candidate;
use crate::error::{PruneError, Result};
use crate::fused::Fused;
use crate::measure::{Measure, Scores};
use crate::method::{Criterion, Rank};
use crate::options::PruneOptions;

/// The scores of `candidates`. `fused` is `model` with batch normalisation folded in; needed unless magnitudes are
/// compared as they are stored.
///
/// # Errors
/// Weights or gradients that are not finite, a criterion that needs images without any.
pub(crate) fn scores<'a>(
    model: &'a dyn Model,
    fused: Option<&'a Fused>,
    candidates: &[Candidate],
    options: &PruneOptions,
    measure: Option<&mut dyn Measure>,
) -> Result<Scores<'a>> {
    let compared = match (options.rank(), fused) {
        (Rank::Fused, Some(fused)) => &fused.weights,
        _ => model.weights(),
    };
    let magnitudes = values(compared, candidates)?;
    match (options.criterion(), fused, measure) {
        // Reconstruction decides inside of every convolution, when it sees what is left before it.
        (Criterion::Magnitude | Criterion::Reconstruction, ..) => {
            Ok(magnitudes.into_iter().map(Cow::Borrowed).collect())
        }
        (criterion, Some(fused), Some(measure)) => measure.scores(model, fused, candidates, criterion),
        _ => Err(PruneError::NeedsImages),
    }
}

/// The weights of every candidate.
fn values<'a>(weights: &'a StateDict, candidates: &[Candidate]) -> Result<Vec<&'a [f32]>> {
    let finite = |candidate: &Candidate| {
        let name = candidate.conv.weight();
        let values = weights.f32s(&name)?;
        match values.iter().filter(|value| !value.is_finite()).count() {
            0 => Ok(values),
            count => Err(PruneError::NotFinite { name, count }),
        }
    };
    candidates.iter().map(finite).collect()
}
