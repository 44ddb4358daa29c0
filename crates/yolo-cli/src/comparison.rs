//! The stages of a pruning side by side: what is measured of each, and the rows that compare them.

mod page;
mod rows;
mod samples;

use anyhow::Result;
use serde::Serialize;
use yolo_model::Checkpoint;
use yolo_prune::Sparsity;
use yolo_train::Validation;

use crate::measure::Measurement;
use crate::results::{ModelFigures, Results};
use crate::verdict::{Costs, Kept, Latency, Verdict, stock_of};

pub(crate) use page::{Account, report};
pub(crate) use rows::{lines, rows};

/// Released networks have a few zeros: weights that half precision rounded.
const DENSE: f64 = 0.01;

/// Whether the last of `stages` is worth more than a dense network of its cost; `dense` is the network before
/// pruning.
pub(crate) fn verdict(stages: &[Stage], dense: &Checkpoint, latency: Option<Latency>) -> Option<Verdict> {
    let (first, last) = (stages.first()?, stages.last()?);
    let (before, after) = (&first.figures, &last.figures);
    // What a network that was pruned before has kept of the released one is not known.
    let is_dense = before.model.conv_sparsity < DENSE;
    let costs = Costs {
        stock: stock_of(&dense.architecture).filter(|_| is_dense),
        dense_gflops: before.model.gflops,
        nonzero_gflops: after.model.gflops_nonzero,
    };
    let kept = Kept {
        before: before.native.map,
        after: after.native.map,
        images: last.validation.detections.len(),
        ms: [before.speed_ms.inference, after.speed_ms.inference],
        skips_zeros: last.skips_zeros,
    };
    Some(match is_smaller(stages) {
        true => Verdict::of_smaller(costs, kept, latency),
        false => Verdict::of(costs, kept, latency),
    })
}

/// Whether the last stage has lost channels.
fn is_smaller(stages: &[Stage]) -> bool {
    match (stages.first(), stages.last()) {
        (Some(first), Some(last)) => last.figures.model.parameters < first.figures.model.parameters,
        _ => false,
    }
}

/// A state of the network with its figures.
#[derive(Serialize)]
pub(crate) struct Stage {
    /// `baseline`, `pruned` or `finetuned`.
    #[serde(rename = "stage")]
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) figures: Results,
    #[serde(skip)]
    pub(crate) validation: Validation,
    #[serde(skip)]
    pub(crate) sparsity: Sparsity,
    /// Whether what ran passes over zeros.
    #[serde(skip)]
    pub(crate) skips_zeros: bool,
}

impl Stage {
    /// The stage `name`: the fused `network` as it was measured, and the file it came from.
    pub(crate) fn new(
        name: &'static str,
        network: &Checkpoint,
        file: &std::path::Path,
        file_bytes: u64,
        image_size: usize,
        measurement: Measurement,
    ) -> Result<Self> {
        let Measurement { validation, coco, skips_zeros, .. } = measurement;
        let model = ModelFigures::of(network, file, file_bytes)?;
        let figures = Results::new(model, &validation, &network.class_names, image_size, coco);
        Ok(Self { name, figures, validation, sparsity: Sparsity::of(network)?, skips_zeros })
    }

    /// What checkpoints are chosen by.
    pub(crate) fn fitness(&self) -> f64 {
        self.validation.native.fitness()
    }
}
