//! What a run tells while it goes on.

use yolo_data::train_loader::TrainBatch;

use super::record::EpochRecord;
use crate::loss::LossTerms;

/// Receives reports of a run, and may stop it.
pub trait Observer {
    /// The images of the run's batch `number`, counted from 0, before the network sees them.
    fn images(&mut self, _number: usize, _batch: &TrainBatch) {}
    /// A batch of `epoch` is done: `batch` of `batches`.
    fn batch(&mut self, _report: &BatchReport) {}
    /// `images` images are validated.
    fn validating(&mut self, _images: usize) {}
    /// Batch statistics are measured on `images` images.
    fn reestimating(&mut self, _images: usize) {}
    /// An epoch is done and its files are written.
    fn epoch(&mut self, _record: &EpochRecord, _is_best: bool) {}
    /// A problem that does not end the run.
    fn warning(&mut self, _message: &str) {}
    /// Whether to save and stop.
    fn should_stop(&self) -> bool {
        false
    }
}

/// An observer that does nothing.
pub struct NoObserver;

impl Observer for NoObserver {}

/// How a batch went.
#[derive(Clone, Debug)]
pub struct BatchReport {
    /// Its epoch.
    pub epoch: usize,
    /// Batches of the epoch that are done.
    pub done: usize,
    /// Batches of the epoch.
    pub batches: usize,
    /// Mean losses of the epoch so far.
    pub mean: LossTerms,
    /// Objects in this batch.
    pub instances: usize,
    /// Longer side of this batch in pixels.
    pub image_size: usize,
}
