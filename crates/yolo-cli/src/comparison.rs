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

pub(crate) use page::{Account, report};
pub(crate) use rows::{lines, rows};

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
        let Measurement { validation, coco, .. } = measurement;
        let model = ModelFigures::of(network, file, file_bytes)?;
        let figures = Results::new(model, &validation, &network.class_names, image_size, coco);
        Ok(Self { name, figures, validation, sparsity: Sparsity::of(network)? })
    }

    /// What checkpoints are chosen by.
    pub(crate) fn fitness(&self) -> f64 {
        self.validation.native.fitness()
    }
}
