//! Batches on their way from pixels to boxes: one after the other, or several at once where a device computes beside the
//! processor.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use yolo_data::dataset::Dataset;
use yolo_data::loader::{Batch, Loader};
use yolo_eval::metrics::ScoredBox;
use yolo_model::{Predictions, nms};

use super::{ValidationOptions, add_labels, scored, targets};
use crate::detector::{Answer, Detector, Launched, Logits, Look};
use crate::error::{Result, TrainError};
use crate::loss::LossItems;

/// What runs on what.
pub(super) struct Bench<'a> {
    pub(super) detector: &'a Detector,
    pub(super) dataset: &'a Dataset,
    pub(super) options: &'a ValidationOptions,
}

/// A batch that was measured.
pub(super) struct Seen {
    /// Position among the batches, from 0.
    pub(super) index: usize,
    pub(super) batch: Batch,
    pub(super) found: Found,
}

/// What one batch gave.
#[derive(Default)]
pub(super) struct Found {
    /// Detections of every image, in pixels of the network's input.
    pub(super) boxes: Vec<Vec<ScoredBox>>,
    pub(super) loss: Option<LossItems>,
    pub(super) times: Times,
}

/// Time spent in each stage.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) preprocess: Duration,
    pub(super) inference: Duration,
    pub(super) nms: Duration,
}

/// A batch on its way, with what there is of it so far; nothing of a batch without images.
struct OnItsWay<T> {
    index: usize,
    batch: Batch,
    found: Option<T>,
    times: Times,
}

/// Hears of every batch that is done, and may give its memory back to the loader.
type TakeIn<'a> = dyn FnMut(Seen, &mut Loader) + 'a;

/// Every batch from its pixels to its boxes before the next.
pub(super) fn one_by_one(bench: &Bench, loader: &mut Loader, take_in: &mut TakeIn) -> Result<()> {
    let mut index = 0;
    while let Some(batch) = loader.next() {
        let batch = batch?;
        let found = bench.detect(&batch)?;
        take_in(Seen { index, batch, found }, loader);
        index += 1;
    }
    Ok(())
}

/// While the device computes one batch, the next is on its way there, and boxes of the one before are looked for:
///
/// ```text
/// this thread   upload 2, launch 2, read 1   upload 3, launch 3, read 2   …
/// device        1                            2                            …
/// other thread  boxes of 0                   boxes of 1                   …
/// ```
pub(super) fn overlapped(bench: &Bench, loader: &mut Loader, take_in: &mut TakeIn) -> Result<()> {
    std::thread::scope(|scope| {
        let (to_boxes, computed) = sync_channel::<OnItsWay<Logits>>(1);
        let (done, seen) = sync_channel::<Result<Seen>>(1);
        // It ends when either channel does.
        scope.spawn(move || computed.into_iter().all(|batch| done.send(bench.find(batch)).is_ok()));
        drive(bench, loader, to_boxes, &seen, take_in)
    })
}

/// Keeps one batch on the device and one with the other thread.
fn drive(
    bench: &Bench,
    loader: &mut Loader,
    to_boxes: SyncSender<OnItsWay<Logits>>,
    seen: &Receiver<Result<Seen>>,
    take_in: &mut TakeIn,
) -> Result<()> {
    let gone = || TrainError::Device("the thread that looks for boxes is gone".to_owned());
    let (mut begun, mut with_other): (Option<OnItsWay<Launched>>, usize) = (None, 0);
    for index in 0.. {
        let next = loader.next().transpose()?.map(|batch| bench.begin(index, batch)).transpose()?;
        let is_last = next.is_none();
        if let Some(begun) = std::mem::replace(&mut begun, next) {
            to_boxes.send(bench.read(begun)?).map_err(|_| gone())?;
            with_other += 1;
        }
        let wanted = if is_last { 0 } else { 1 };
        while with_other > wanted {
            take_in(seen.recv().map_err(|_| gone())??, loader);
            with_other -= 1;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

impl Bench<'_> {
    /// Whether batches may overlap: one plain look by one network on a device, which nothing else has to see.
    pub(super) fn overlaps(&self) -> bool {
        self.detector.is_queued() && self.options.loss.is_none() && !self.options.augment
    }

    fn look(&self) -> Look {
        Look {
            min_objectness: self.options.nms.score_threshold,
            keep_logits: self.options.loss.is_some(),
            augment: self.options.augment,
        }
    }

    fn begin(&self, index: usize, batch: Batch) -> Result<OnItsWay<Launched>> {
        let mut times = Times::default();
        if batch.samples.is_empty() {
            return Ok(OnItsWay { index, batch, found: None, times });
        }
        let start = Instant::now();
        // Waiting here would be waiting for the batch before as well.
        let input = self.detector.take(&batch, false)?;
        times.preprocess = start.elapsed();
        let start = Instant::now();
        let found = Some(self.detector.launch(input)?);
        times.inference = start.elapsed();
        Ok(OnItsWay { index, batch, found, times })
    }

    fn read(&self, begun: OnItsWay<Launched>) -> Result<OnItsWay<Logits>> {
        let OnItsWay { index, batch, found, mut times } = begun;
        let start = Instant::now();
        let found = found.map(|launched| self.detector.read(launched)).transpose()?;
        times.inference += start.elapsed();
        Ok(OnItsWay { index, batch, found, times })
    }

    fn find(&self, computed: OnItsWay<Logits>) -> Result<Seen> {
        let OnItsWay { index, batch, found, mut times } = computed;
        let Some(logits) = found else { return Ok(Seen { index, batch, found: Found::default() }) };
        let start = Instant::now();
        let answer = self.detector.decode(logits, self.look())?;
        times.inference += start.elapsed();
        let found = self.suppress(answer, &batch, times)?;
        Ok(Seen { index, batch, found })
    }

    fn detect(&self, batch: &Batch) -> Result<Found> {
        let mut times = Times::default();
        if batch.samples.is_empty() {
            return Ok(Found::default());
        }
        self.detector.prepare([batch.height, batch.width], self.options.augment)?;
        let start = Instant::now();
        let input = self.detector.take(batch, true)?;
        times.preprocess = start.elapsed();
        let start = Instant::now();
        let answer = self.detector.run(&input, self.look())?;
        times.inference = start.elapsed();
        self.suppress(answer, batch, times)
    }

    fn suppress(&self, answer: Answer, batch: &Batch, mut times: Times) -> Result<Found> {
        let Self { dataset, options, .. } = *self;
        let Answer { mut predictions, logits } = answer;
        if options.hybrid {
            add_labels(&mut predictions, batch, dataset, options);
        }
        let start = Instant::now();
        let boxes_of = |rows: &Predictions| scored(nms(rows, &options.nms), options);
        let boxes = predictions.par_iter().map(boxes_of).collect();
        times.nms = start.elapsed();
        let loss = options.loss.as_ref();
        let loss = loss.map(|loss| loss.forward(&logits, &targets(batch, dataset, options))).transpose()?;
        Ok(Found { boxes, loss: loss.map(|loss| loss.items), times })
    }
}
