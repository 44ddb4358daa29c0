//! An epoch of the example by the training loop itself, on all devices that were named.

use anyhow::{Context, Result};
use yolo_data::dataset::{Dataset, Split};
use yolo_model::Checkpoint;
use yolo_prune::{Method, PruneOptions, apply, plan};
use yolo_train::ValidationOptions;
use yolo_train::hyper::Hyperparameters;
use yolo_train::masks::Masks;
use yolo_train::optimizer::Rule;
use yolo_train::train::{Observer, Setup, TrainOptions, TrainState, train};

use super::{Row, Subject, relative_error};
use crate::device::{Backend, DeviceName, loader_threads};
use crate::measure::open_split;
use crate::presets::DEMO;
use crate::resolve::{Weights, data_config};

/// Relative difference of the mean loss, and of all the weights' way from where they began.
const LIMITS: [f64; 2] = [5e-3, 5e-2];
/// Images of a batch. With the 24 of the epoch, the last batch is a single image, which no second device gets any of.
const BATCH: usize = 23;
const IMAGES: usize = 24;

/// What an epoch left.
struct Trained {
    loss: f64,
    /// How far every weight of a convolution went.
    ways: Vec<f32>,
    /// Whether all masked weights are zero.
    zeros: Result<(), String>,
}

/// The same epoch on the devices, and on as many times the processor.
pub(super) fn check(subject: &Subject) -> Result<Vec<Row>> {
    let name = DeviceName::parse(&subject.args.device)?;
    let example = Example::open()?;
    let got = example.train_on(&name.to_string())?;
    let expected = example.train_on(&vec!["flex"; name.count()].join(","))?;
    let loss = (got.loss / expected.loss - 1.0).abs();
    let what = format!("an epoch on {name}, f32");
    let zeros = got.zeros.as_ref().map_or_else(String::clone, |()| "all exact".to_owned());
    Ok(vec![
        Row::at_most(format!("loss of {what}"), loss, LIMITS[0], &format!("{:.3}", got.loss)),
        Row::at_most(format!("steps of {what}"), relative_error(&got.ways, &expected.ways), LIMITS[1], ""),
        Row::holds(format!("masks after {what}"), got.zeros.is_ok(), zeros, "exact"),
    ])
}

struct Example {
    pruned: Checkpoint,
    masks: Masks,
    train: Dataset,
    val: Dataset,
}

/// Ignores all reports.
struct NoObserver;

impl Observer for NoObserver {}

impl Example {
    /// A few images, and the network with half its weights pruned.
    fn open() -> Result<Self> {
        let dense = Weights::load(DEMO.as_ref(), true)?.checkpoint;
        let plan = plan(&dense, &PruneOptions::new(Method::Global, 0.5))?;
        let config = data_config(DEMO.as_ref())?;
        let open = |split| -> Result<Dataset> {
            let mut images = open_split(&config, split, true)?;
            images.items.truncate(IMAGES);
            Ok(images)
        };
        Ok(Self {
            pruned: apply(&dense, &plan)?,
            masks: Masks::of(&plan),
            train: open(Split::Train)?,
            val: open(Split::Val)?,
        })
    }

    fn train_on(&self, device: &str) -> Result<Trained> {
        let backend = Backend::parse(device, true)?;
        let options = TrainOptions {
            nominal_batch_size: BATCH,
            // Both steps at the full rate.
            hyp: Hyperparameters { warmup_epochs: 0.0, ..Hyperparameters::default() },
            workers: loader_threads(None),
            ..TrainOptions::new(1, BATCH, 256)
        };
        let setup = Setup {
            train: &self.train,
            val: &self.val,
            device: &backend.device,
            other_devices: &backend.other_devices,
            options: &options,
            validation: &ValidationOptions::new(256),
            compile: &|checkpoint| backend.steady_detector(checkpoint),
            teacher: None,
            pruner: None,
            first_candidate: 0,
            folder: None,
        };
        let mut state = TrainState::new(self.pruned.clone(), self.masks.clone(), Rule::Sgd)?;
        train(&mut state, &setup, &mut NoObserver)?;
        let record = state.progress.history.last().context("no epoch was recorded")?;
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
