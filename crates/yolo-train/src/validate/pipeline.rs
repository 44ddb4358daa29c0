//! The steps of a batch from its pixels to its boxes: batch after batch, or overlapping if the device computes beside the
//! processor.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use yolo_data::dataset::Dataset;
use yolo_data::loader::{Batch, Loader};
use yolo_detect::{Computed, Detector, Images, Launched, Logits, Output, RunOptions};
use yolo_eval::metrics::ScoredBox;
use yolo_model::{Predictions, select};

use super::{ValidationLoss, ValidationOptions, add_labels, scored, targets};
use crate::error::{Result, TrainError};
use crate::loss::LossTerms;

/// The steps, with what they need.
pub(super) struct Pipeline<'a> {
    pub(super) detector: &'a Detector,
    pub(super) dataset: &'a Dataset,
    pub(super) options: &'a ValidationOptions,
}

/// A batch that passed all steps.
pub(super) struct DetectedBatch {
    /// Position among the batches, from 0.
    pub(super) index: usize,
    pub(super) batch: Batch,
    pub(super) found: Found,
}

/// The results of one batch.
#[derive(Default)]
pub(super) struct Found {
    /// Detections of every image, in pixels of the network's input.
    pub(super) boxes: Vec<Vec<ScoredBox>>,
    pub(super) loss: Option<LossTerms>,
    pub(super) times: Times,
}

/// Time spent in each step.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) preprocess: Duration,
    pub(super) inference: Duration,
    pub(super) nms: Duration,
}

/// A batch between two steps, with the result of the last one; `None` for a batch without images.
struct InFlight<T> {
    index: usize,
    batch: Batch,
    result: Option<T>,
    times: Times,
}

/// Called with every batch that passed all steps, in their order; may give its memory back to the loader.
type Done<'a> = dyn FnMut(DetectedBatch, &mut Loader) + 'a;

impl Pipeline<'_> {
    /// Takes every batch of `loader` through all steps.
    pub(super) fn run(&self, loader: &mut Loader, done: &mut Done) -> Result<()> {
        // A loss is computed on the device as well, and augmentation would hold the logits of three passes there.
        let overlaps = self.detector.overlaps() && self.options.loss.is_none() && !self.options.augment;
        if overlaps { self.overlapped(loader, done) } else { self.one_by_one(loader, done) }
    }

    /// Every batch from its pixels to its boxes before the next.
    fn one_by_one(&self, loader: &mut Loader, done: &mut Done) -> Result<()> {
        let mut index = 0;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            let found = self.detect(&batch)?;
            done(DetectedBatch { index, batch, found }, loader);
            index += 1;
        }
        Ok(())
    }

    /// While the device computes one batch, the next is uploaded, and boxes of the previous one are decoded:
    ///
    /// ```text
    /// this thread   upload 2, launch 2, read 1   upload 3, launch 3, read 2   …
    /// device        1                            2                            …
    /// other thread  boxes of 0                   boxes of 1                   …
    /// ```
    fn overlapped(&self, loader: &mut Loader, done: &mut Done) -> Result<()> {
        std::thread::scope(|scope| {
            let (to_boxes, computed) = sync_channel::<InFlight<Computed<'_>>>(1);
            let (to_done, detected) = sync_channel::<Result<DetectedBatch>>(1);
            // The thread ends when either channel does.
            scope.spawn(move || computed.into_iter().all(|batch| to_done.send(self.decode(batch)).is_ok()));
            self.drive(loader, to_boxes, &detected, done)
        })
    }

    /// Keeps one batch on the device and one with the other thread.
    fn drive<'a>(
        &'a self,
        loader: &mut Loader,
        to_boxes: SyncSender<InFlight<Computed<'a>>>,
        detected: &Receiver<Result<DetectedBatch>>,
        done: &mut Done,
    ) -> Result<()> {
        let gone = || TrainError::Device("the thread that decodes boxes has ended".to_owned());
        let (mut launched, mut with_other): (Option<InFlight<Launched<'a>>>, usize) = (None, 0);
        for index in 0.. {
            let next = loader.next().transpose()?.map(|batch| self.launch(index, batch)).transpose()?;
            let is_last = next.is_none();
            if let Some(launched) = std::mem::replace(&mut launched, next) {
                to_boxes.send(read(launched)?).map_err(|_| gone())?;
                with_other += 1;
            }
            let wanted = if is_last { 0 } else { 1 };
            while with_other > wanted {
                done(detected.recv().map_err(|_| gone())??, loader);
                with_other -= 1;
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    fn run_options(&self) -> RunOptions {
        RunOptions {
            score_threshold: self.options.nms.score_threshold,
            keep_logits: self.options.loss.is_some(),
            augment: self.options.augment,
        }
    }

    fn launch(&self, index: usize, batch: Batch) -> Result<InFlight<Launched<'_>>> {
        let mut times = Times::default();
        if batch.samples.is_empty() {
            return Ok(InFlight { index, batch, result: None, times });
        }
        let start = Instant::now();
        // To wait for the images here would be to wait for the previous batch as well.
        let uploaded = self.detector.upload(Images::of(&batch)?)?;
        times.preprocess = start.elapsed();
        let start = Instant::now();
        let result = Some(uploaded.launch(self.run_options())?);
        times.inference = start.elapsed();
        Ok(InFlight { index, batch, result, times })
    }

    fn decode(&self, computed: InFlight<Computed<'_>>) -> Result<DetectedBatch> {
        let InFlight { index, batch, result, mut times } = computed;
        let Some(logits) = result else {
            return Ok(DetectedBatch { index, batch, found: Found::default() });
        };
        let start = Instant::now();
        let output = logits.decode();
        times.inference += start.elapsed();
        let found = self.suppress(output, &batch, times)?;
        Ok(DetectedBatch { index, batch, found })
    }

    fn detect(&self, batch: &Batch) -> Result<Found> {
        let mut times = Times::default();
        if batch.samples.is_empty() {
            return Ok(Found::default());
        }
        self.detector.prepare([batch.height, batch.width], self.options.augment)?;
        let start = Instant::now();
        let uploaded = self.detector.upload(Images::of(batch)?)?;
        uploaded.wait()?;
        times.preprocess = start.elapsed();
        let start = Instant::now();
        let output = uploaded.run(self.run_options())?;
        times.inference = start.elapsed();
        self.suppress(output, batch, times)
    }

    fn suppress(&self, output: Output, batch: &Batch, mut times: Times) -> Result<Found> {
        let Self { dataset, options, .. } = *self;
        let Output { mut predictions, logits } = output;
        if options.hybrid {
            add_labels(&mut predictions, batch, dataset, options);
        }
        let start = Instant::now();
        let selection = self.detector.selection();
        let boxes_of = |rows: &Predictions| scored(select(rows, selection, &options.nms), options);
        let boxes = predictions.par_iter().map(boxes_of).collect();
        times.nms = start.elapsed();
        let mut loss = None;
        if let (Some(ValidationLoss { loss: function, device }), Some(logits)) = (&options.loss, logits) {
            let maps = level_tensors(logits, device);
            loss = Some(function.forward(&maps, &targets(batch, dataset, options))?.terms);
        }
        Ok(Found { boxes, loss, times })
    }
}

fn read(launched: InFlight<Launched<'_>>) -> Result<InFlight<Computed<'_>>> {
    let InFlight { index, batch, result, mut times } = launched;
    let start = Instant::now();
    let result = result.map(Launched::read).transpose()?;
    times.inference += start.elapsed();
    Ok(InFlight { index, batch, result, times })
}

/// The logits of a batch on a device: per level `[N, channels, height, width]`.
fn level_tensors(logits: Logits, device: &Device) -> Vec<Tensor<4>> {
    let mut levels: Vec<Vec<Tensor<4>>> = Vec::new();
    for part in logits.into_parts() {
        levels.resize_with(part.len(), Vec::new);
        for (level, map) in levels.iter_mut().zip(part) {
            let data = TensorData::new(map.values, map.dims);
            level.push(Tensor::from_data(data, device));
        }
    }
    levels.into_iter().map(|parts| Tensor::cat(parts, 0)).collect()
}
