//! An epoch of an example by the training loop itself, on all devices that were named.

use burn::tensor::Device;
use yolo_data::dataset::Dataset;
use yolo_model::Checkpoint;
use yolo_prune::{Method, PruneOptions, apply, plan};

use super::{Row, relative_error};
use crate::error::{Result, TrainError};
use crate::hyper::Hyperparameters;
use crate::masks::Masks;
use crate::optimizer::Rule;
use crate::train::{NoObserver, Setup, TrainOptions, TrainState, train};
use crate::validate::{Compile, ValidationOptions};

/// Relative difference of the mean loss, and of all the weights' way from where they began.
const LIMITS: [f64; 2] = [5e-3, 5e-2];
/// Images of a batch. With the 24 of the epoch, the last batch is a single image, which no second device gets any of.
const BATCH: usize = 23;
const IMAGES: usize = 24;

/// What an epoch is run on.
pub struct Trainer<'a> {
    /// The first device.
    pub device: &'a Device,
    /// Devices that share the batches with it.
    pub other_devices: &'a [Device],
    /// What the weights run on while they are validated.
    pub compile: &'a Compile<'a>,
    /// Threads that decode images.
    pub workers: usize,
}

/// What an epoch left.
struct Trained {
    loss: f64,
    /// How far every weight of a convolution went.
    ways: Vec<f32>,
    /// Whether all masked weights are zero.
    zeros: std::result::Result<(), String>,
}

/// A few images, and a network with half its weights pruned.
pub struct Example {
    pruned: Checkpoint,
    masks: Masks,
    train: Dataset,
    val: Dataset,
}

impl Example {
    /// Prunes `dense` and takes the first images of each set.
    ///
    /// # Errors
    /// A network that cannot be pruned.
    pub fn new(dense: &Checkpoint, mut train: Dataset, mut val: Dataset) -> Result<Self> {
        let plan = plan(dense, &PruneOptions::new(Method::Global, 0.5))?;
        train.items.truncate(IMAGES);
        val.items.truncate(IMAGES);
        Ok(Self { pruned: apply(dense, &plan)?, masks: Masks::of(&plan), train, val })
    }

    /// The same epoch on the devices called `name`, and on as many times the reference.
    ///
    /// # Errors
    /// A training that fails.
    pub fn compare(&self, name: &str, got: &Trainer, expected: &Trainer) -> Result<Vec<Row>> {
        let (got, expected) = (self.train_on(got)?, self.train_on(expected)?);
        let loss = (got.loss / expected.loss - 1.0).abs();
        let what = format!("an epoch on {name}, f32");
        let zeros = got.zeros.as_ref().map_or_else(String::clone, |()| "all exact".to_owned());
        Ok(vec![
            Row::at_most(format!("loss of {what}"), loss, LIMITS[0], &format!("{:.3}", got.loss)),
            Row::at_most(
                format!("steps of {what}"),
                relative_error(&got.ways, &expected.ways),
                LIMITS[1],
                "",
            ),
            Row::holds(format!("masks after {what}"), got.zeros.is_ok(), zeros, "exact"),
        ])
    }

    fn train_on(&self, trainer: &Trainer) -> Result<Trained> {
        let options = TrainOptions {
            nominal_batch_size: BATCH,
            // Both steps at the full rate.
            hyp: Hyperparameters { warmup_epochs: 0.0, ..Hyperparameters::default() },
            workers: trainer.workers,
            ..TrainOptions::new(1, BATCH, 256)
        };
        let (device, validation) = (trainer.device, ValidationOptions::new(256));
        let setup = Setup {
            other_devices: trainer.other_devices,
            ..Setup::new(&self.train, &self.val, device, &options, &validation, trainer.compile)
        };
        let mut state = TrainState::new(self.pruned.clone(), self.masks.clone(), Rule::Sgd)?;
        train(&mut state, &setup, &mut NoObserver)?;
        let record = state.progress.history.last();
        let record =
            record.ok_or_else(|| TrainError::State { reason: "no epoch was recorded".to_owned() })?;
        let loss = record.train.total();
        let zeros = state.masks.check(&state.checkpoint.weights, "the weights");
        Ok(Trained { loss, ways: self.ways(&state.checkpoint)?, zeros: zeros.map_err(|e| e.to_string()) })
    }

    fn ways(&self, trained: &Checkpoint) -> Result<Vec<f32>> {
        let mut ways = Vec::new();
        for conv in self.pruned.architecture.convs() {
            let (from, to) =
                (self.pruned.weights.f32s(&conv.weight())?, trained.weights.f32s(&conv.weight())?);
            ways.extend(from.iter().zip(to).map(|(from, to)| to - from));
        }
        Ok(ways)
    }
}
