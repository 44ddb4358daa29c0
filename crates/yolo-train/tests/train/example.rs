//! A data set and a network so small that an epoch takes a moment.

use burn::tensor::Device;
use rand::SeedableRng;
use tempfile::TempDir;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};
use yolo_data::demo::{self, DemoOptions};
use yolo_detect::Detector;
use yolo_model::{Architecture, Checkpoint, FusedCheckpoint};
use yolo_train::hyper::Hyperparameters;
use yolo_train::train::{BatchReport, Observer, Setup, TrainOptions};
use yolo_train::{ValidationOptions, train};

/// Side of its images in pixels.
pub(crate) const SIZE: usize = 64;

pub(crate) struct Example {
    _folder: TempDir,
    pub(crate) train: Dataset,
    pub(crate) val: Dataset,
    pub(crate) device: Device,
    pub(crate) validation: ValidationOptions,
}

impl Example {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = DemoOptions { train_images: 20, val_images: 6, image_size: SIZE as u32, seed: 1 };
        let yaml = demo::write(&folder.path().join("shapes"), &options, |_| {}).unwrap();
        let config = DatasetConfig::read(&yaml).unwrap();
        let scan = ScanOptions { strict: true, ..ScanOptions::default() };
        let open = |split| Dataset::open(&config, split, &scan, &|_, _| {}).unwrap();
        Self {
            train: open(Split::Train),
            val: open(Split::Val),
            _folder: folder,
            device: Device::flex(),
            validation: ValidationOptions { batch_size: 8, ..ValidationOptions::new(SIZE) },
        }
    }

    pub(crate) fn setup<'a>(&'a self, options: &'a TrainOptions) -> Setup<'a> {
        Setup::new(&self.train, &self.val, &self.device, options, &self.validation, &on_flex)
    }
}

/// Runs on Burn's own back end.
pub(crate) fn on_flex(checkpoint: FusedCheckpoint<'_>) -> yolo_detect::Result<Detector> {
    Detector::on_device(&checkpoint, &Device::flex(), 1)
}

/// A network of an eighth of the width, with random weights.
pub(crate) fn network() -> Checkpoint {
    let yaml = include_str!("../../../../configs/models/demo.yaml");
    let architecture = Architecture::from_yaml(yaml, None).unwrap();
    Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0)).unwrap()
}

/// Two epochs of five batches; a step for every three of them, so that sums of gradients cross the epochs.
pub(crate) fn options() -> TrainOptions {
    TrainOptions {
        nominal_batch_size: 12,
        hyp: Hyperparameters { warmup_epochs: 0.0, ..Hyperparameters::default() },
        workers: 1,
        ..TrainOptions::new(2, 4, SIZE)
    }
}

/// Lets a run go on for a number of batches.
pub(crate) struct StopAfter {
    pub(crate) batches: usize,
}

impl Observer for StopAfter {
    fn batch(&mut self, _report: &BatchReport) {
        self.batches -= 1;
    }

    fn should_stop(&self) -> bool {
        self.batches == 0
    }
}

/// Lets a run go on to its end.
pub(crate) fn to_the_end() -> StopAfter {
    StopAfter { batches: usize::MAX }
}

/// Every number of a state that a resumed run depends on.
pub(crate) fn assert_same(a: &train::TrainState, b: &train::TrainState) {
    assert_eq!(a.progress, b.progress);
    assert!(a.checkpoint.weights == b.checkpoint.weights, "the weights differ");
    assert!(a.ema.weights == b.ema.weights, "the averages differ");
    assert_eq!(a.ema.updates, b.ema.updates);
    assert!(a.optimizer.first == b.optimizer.first && a.optimizer.second == b.optimizer.second);
    assert_eq!((a.optimizer.steps, a.optimizer.weight_decay), (b.optimizer.steps, b.optimizer.weight_decay));
    assert!(a.pending == b.pending, "the pending gradients differ");
    assert_eq!(a.masks, b.masks);
}
