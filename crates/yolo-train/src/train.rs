//! Training: the loop, from the first batch to the best checkpoint (§10 of YOLOv5's specification, §5 of Ultralytics').
//!
//! What differs between the families (the loss, the schedule, the order of augmentation) follows from the head.
//!
//! [`TrainState`] is everything that changes; [`TrainOptions`] is everything that does not. Random choices
//! follow from the seed, the epoch and the position in it, so a resumed run gives the numbers of a run that was never
//! interrupted.

mod class_rows;
mod folder;
mod observer;
mod options;
mod record;
mod replicas;
mod state;
mod step;

use std::sync::Arc;

use burn::tensor::Device;
use yolo_data::dataset::Dataset;
use yolo_data::train_loader::{
    EpochOptions, ImageCache, TrainLoader, TrainLoaderOptions, epoch_plans, image_weights,
};
use yolo_detect::{DetectError, check_channels, check_format, convention_of};
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::channels::{SMALL_SCALE, SlimProgress};

pub use class_rows::{classes_by_name, follow_class_names, transfer_class_rows};
pub use folder::{RunFolder, half_precision};
pub use observer::{BatchReport, NoObserver, Observer};
pub use options::TrainOptions;
pub use record::{EpochRecord, EpochValidation, results_csv};
pub use state::{Best, Progress, TrainState};

use crate::error::{Result, TrainError};
use crate::loss::{DetectionLoss, LossTerms};
use crate::masks::Masks;
use crate::optimizer::{accumulate, clip};
use crate::precision::LossScaler;
use crate::schedule::Schedule;
use crate::slim::SlimState;
use crate::validate::{Compile, Validation, ValidationLoss, ValidationOptions, validate};
use class_rows::class_branches;
use replicas::{Replicas, Work};
use step::BatchResult;

/// The data and devices of a run, and how it trains.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Training images.
    pub train: &'a Dataset,
    /// Validation images, which decide the best epoch.
    pub val: &'a Dataset,
    /// The device that trains the network.
    pub device: &'a Device,
    /// Further devices that share every batch with it; usually none. Each device computes the batch statistics of its
    /// images; the first device's are kept.
    pub other_devices: &'a [Device],
    /// Rates, gains, sizes.
    pub options: &'a TrainOptions,
    /// How epochs are validated.
    pub validation: &'a ValidationOptions,
    /// Makes the detector that validates the weights of an epoch.
    pub compile: &'a Compile<'a>,
    /// The dense network, for distillation.
    pub teacher: Option<&'a Checkpoint>,
    /// Raises the sparsity while training; called before each epoch.
    pub pruner: Option<&'a Pruner<'a>>,
    /// The first epoch whose weights may be the best.
    pub first_candidate: usize,
    /// The folder for the files of the run, if they are written.
    pub folder: Option<&'a RunFolder>,
}

impl<'a> Setup<'a> {
    /// A run on one device without a teacher, a pruner or files; epochs are validated by `compile`'s detectors.
    pub fn new(
        train: &'a Dataset,
        val: &'a Dataset,
        device: &'a Device,
        options: &'a TrainOptions,
        validation: &'a ValidationOptions,
        compile: &'a Compile<'a>,
    ) -> Self {
        Self {
            train,
            val,
            device,
            other_devices: &[],
            options,
            validation,
            compile,
            teacher: None,
            pruner: None,
            first_candidate: 0,
            folder: None,
        }
    }
}

/// Returns the masks for the next epoch, given its number and the current weights; `None` to keep the present ones.
pub type Pruner<'a> = dyn Fn(usize, &Checkpoint) -> Result<Option<Masks>> + 'a;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Done,
    /// No better result for as many epochs as patience allows.
    EarlyStop,
    /// The observer stopped it; it can be resumed from its state.
    Stopped,
}

/// Trains `state` to the last epoch.
///
/// # Errors
/// A data set or network that does not fit, a loss that is not finite, a masked weight that came back, or a
/// file that cannot be written.
pub fn train(state: &mut TrainState, setup: &Setup, observer: &mut dyn Observer) -> Result<Outcome> {
    let run = Run::new(state, setup, observer)?;
    let options = setup.options;
    let devices = (setup.device, setup.other_devices);
    let mut replicas = Replicas::new(devices, options, setup.teacher, &state.checkpoint.architecture)?;
    if let (Some(folder), true, true) =
        (setup.folder, state.progress.batches_seen == 0, options.save_every_epoch)
    {
        // From here on the run can be resumed.
        state.save(&folder.state())?;
    }
    let mut outcome = Outcome::Done;
    while state.progress.epoch < options.epochs {
        // Before an epoch, not after it: a run that was killed once its patience was over must not continue.
        if state.progress.batch_in_epoch == 0 && patience_is_over(state, setup) {
            if let (Some(folder), false) = (setup.folder, options.save_every_epoch) {
                folder.save_epoch(state, false, None)?;
            }
            outcome = Outcome::EarlyStop;
            break;
        }
        let epoch = state.progress.epoch;
        // Also between the batches, but an epoch may have only one batch.
        if observer.should_stop() {
            return stopped(state, setup);
        }
        if state.progress.batch_in_epoch == 0 {
            prune_further(state, setup, epoch)?;
            run.begin_slimming(state)?;
        }
        if !run.train_epoch(state, &mut replicas, observer)? {
            return stopped(state, setup);
        }
        let is_last = epoch + 1 == options.epochs;
        let validation = match options.validate_every_epoch || is_last {
            true => Some(run.validate(state, observer)?),
            false => None,
        };
        let is_best = finish_epoch(state, &run, validation.as_ref())?;
        state.check_masks()?;
        if let Some(folder) = setup.folder {
            let keep = options.save_period > 0 && epoch.is_multiple_of(options.save_period);
            match options.save_every_epoch || is_last {
                true => folder.save_epoch(state, is_best, keep.then_some(epoch))?,
                false => folder.save_table(state)?,
            }
        }
        if let Some(record) = state.progress.history.last() {
            observer.epoch(record, is_best);
        }
    }
    Ok(outcome)
}

/// Saves the state from which a stopped run is resumed.
fn stopped(state: &TrainState, setup: &Setup) -> Result<Outcome> {
    if let Some(folder) = setup.folder {
        state.save(&folder.state())?;
    }
    Ok(Outcome::Stopped)
}

fn prune_further(state: &mut TrainState, setup: &Setup, epoch: usize) -> Result<()> {
    let Some(pruner) = setup.pruner else { return Ok(()) };
    if let Some(masks) = pruner(epoch, &state.checkpoint)? {
        masks.remove(&mut state.checkpoint.weights, &mut state.optimizer)?;
        masks.remove_from(&mut state.ema.weights)?;
        masks.apply_to(&mut state.pending);
        state.masks = masks;
    }
    Ok(())
}

/// Whether there was no better result for too long. False for an epoch that was not validated.
fn patience_is_over(state: &TrainState, setup: &Setup) -> bool {
    let Some(last) = state.progress.history.last().filter(|last| last.validation.is_some()) else {
        return false;
    };
    let patience = setup.options.patience;
    let from = state.progress.last_improvement.max(setup.first_candidate);
    patience > 0 && last.epoch >= from + patience
}

/// Records the epoch and returns whether it is the best so far; equal results count as better.
fn finish_epoch(state: &mut TrainState, run: &Run, validation: Option<&Validation>) -> Result<bool> {
    let epoch = state.progress.epoch;
    let rates = run.schedule.rates(state.progress.batches_seen.saturating_sub(1), epoch);
    let head = state.checkpoint.architecture.head();
    let fitness = validation.map(|v| v.native.fitness());
    let validation = validation.map(|v| EpochValidation {
        precision: v.native.precision,
        recall: v.native.recall,
        map50: v.native.map50,
        map: v.native.map,
        loss: v.loss.clone().unwrap_or_else(|| LossTerms::zero(head)),
    });
    let pruned = state.masks.pruned();
    let slim = run.slimmed(state, fitness)?;
    // While scales are still being driven to zero, later epochs will be closer to what was asked for.
    let is_slim =
        slim.is_none_or(|slim| slim.quantile <= SMALL_SCALE) || epoch + 1 == run.setup.options.epochs;
    let progress = &mut state.progress;
    let beats = |f: f64| progress.best.is_none_or(|best| f >= best.fitness);
    let is_best = is_slim && epoch >= run.setup.first_candidate && fitness.is_some_and(beats);
    if let (true, Some(fitness)) = (is_best, fitness) {
        progress.best = Some(Best { epoch: Some(epoch), fitness });
        progress.last_improvement = epoch;
    }
    progress.history.push(EpochRecord {
        epoch,
        train: std::mem::replace(
            &mut progress.mean_loss,
            LossTerms::zero(state.checkpoint.architecture.head()),
        ),
        distillation: progress.mean_distillation,
        validation,
        lr: [rates.bias_lr, rates.lr, rates.lr],
        pruned,
        slim,
    });
    progress.epoch += 1;
    progress.batch_in_epoch = 0;
    progress.losses = 0;
    progress.mean_distillation = 0.0;
    Ok(is_best)
}

/// What stays the same during a run.
struct Run<'a> {
    setup: &'a Setup<'a>,
    schedule: Schedule,
    /// Batches of an epoch.
    batches: usize,
    cache: Option<Arc<ImageCache>>,
    items: Arc<[yolo_data::dataset::Item]>,
    stride: usize,
}

impl<'a> Run<'a> {
    fn new(state: &mut TrainState, setup: &'a Setup, observer: &mut dyn Observer) -> Result<Self> {
        let options = setup.options;
        let architecture = &state.checkpoint.architecture;
        check(architecture, setup.train, options)?;
        let stride = architecture.max_stride();
        let batches = setup.train.items.len().div_ceil(options.batch_size);
        let schedule = Schedule::new(
            &options.hyp,
            options.decay,
            options.epochs,
            batches,
            options.batch_size,
            options.nominal_batch_size,
        );
        let schedule = schedule.of_family(architecture.head().family(), batches, options.rule);
        state.optimizer.fast = class_branches(architecture);
        state.optimizer.weight_decay = schedule.weight_decay(options.batch_size, options.nominal_batch_size);
        if let Some(format) = options.amp {
            let mut devices = std::iter::once(setup.device).chain(setup.other_devices);
            devices.try_for_each(|device| check_format(device, format))?;
            state.progress.scaler.get_or_insert_with(|| LossScaler::new(format));
        }
        let items: Arc<[_]> = Arc::from(setup.train.items.as_slice());
        let convention = convention_of(architecture);
        let cache_at = |place| ImageCache::at(place, &items, options.image_size as u32, convention);
        let cache = options.cache.as_ref().map(cache_at);
        let cache = match cache.transpose() {
            Ok(cache) => cache.map(Arc::new),
            Err(reason) => {
                observer.warning(&reason.to_string());
                None
            }
        };
        Ok(Self { setup, schedule, batches, cache, items, stride })
    }

    /// Trains the rest of the current epoch; false if the observer stopped it.
    fn train_epoch(
        &self,
        state: &mut TrainState,
        replicas: &mut Replicas,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let options = self.setup.options;
        let head = state.checkpoint.architecture.head();
        let loss_options =
            options.hyp.loss_options(head, options.image_size, options.label_smoothing, options.auto_balance);
        let mut loss = DetectionLoss::new(head, loss_options);
        loss.begin_epoch(state.progress.epoch, options.epochs);
        loss.set_balance(&state.progress.balance);
        replicas.outdated();
        let mut loader = self.loader(state);
        let batches = state.progress.batch_in_epoch + loader.remaining();
        while let Some(batch) = loader.next() {
            let batch = batch?;
            batch.warnings.iter().for_each(|warning| observer.warning(warning));
            batch.skipped.iter().for_each(|skipped| observer.warning(&skipped.error));
            if !batch.item_indices.is_empty() {
                observer.images(state.progress.batches_seen, &batch);
                let scaler = state.progress.scaler.as_mut();
                let mut result = replicas.run(&Work {
                    checkpoint: &state.checkpoint,
                    batch: &batch,
                    loss: &loss,
                    loss_scale: scaler.as_ref().map_or(1.0, |scaler| scaler.scale()),
                    options,
                    stride: self.stride,
                    batch_number: state.progress.batches_seen,
                })?;
                if let Some(scaler) = scaler {
                    scaler.unscale(&mut result.gradients);
                }
                loss.rebalance(&result.level_objectness);
                state.progress.balance = loss.balance().to_vec();
                let image_size = result.image_size;
                self.add_batch(state, result, replicas)?;
                observer.batch(&BatchReport {
                    epoch: state.progress.epoch,
                    done: state.progress.batch_in_epoch,
                    batches,
                    mean: state.progress.mean_loss.clone(),
                    instances: batch.targets.len(),
                    image_size,
                });
            } else {
                state.progress.batch_in_epoch += 1;
                state.progress.batches_seen += 1;
            }
            loader.recycle(batch);
            if observer.should_stop() && loader.remaining() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The batches of the current epoch that are not done yet.
    fn loader(&self, state: &TrainState) -> TrainLoader {
        let options = self.setup.options;
        let epoch = state.progress.epoch;
        let convention = convention_of(&state.checkpoint.architecture);
        let weights = options.image_weights.then(|| {
            let classes = state.checkpoint.architecture.num_classes();
            image_weights(&self.items, &state.progress.class_maps, classes)
        });
        let sizes: Vec<(u32, u32)> = self.items.iter().map(|item| (item.width, item.height)).collect();
        let plans = epoch_plans(
            &sizes,
            &EpochOptions {
                batch_size: options.batch_size,
                image_size: options.image_size as u32,
                stride: self.stride as u32,
                rect: options.rect,
                seed: options.seed,
            },
            epoch,
            weights.as_deref(),
        );
        let loader = TrainLoaderOptions {
            workers: options.workers,
            image_size: options.image_size as u32,
            prefetch_batches: 2,
            augmentation: options.hyp.augmentation_in(epoch, options.epochs, convention),
            rect: options.rect,
            seed: options.seed,
            single_class: options.single_class,
            skip_batches: state.progress.batch_in_epoch,
        };
        TrainLoader::new(Arc::clone(&self.items), plans, epoch, loader, self.cache.clone())
    }

    /// Adds the gradients of a batch, and steps when a nominal batch is full.
    fn add_batch(&self, state: &mut TrainState, result: BatchResult, replicas: &mut Replicas) -> Result<()> {
        for (name, values) in result.statistics {
            if let Some(tensor) = state.checkpoint.weights.get_mut(&name) {
                tensor.f32s_mut()?.copy_from_slice(&values);
            }
        }
        let progress = &mut state.progress;
        let n = progress.losses;
        progress.mean_loss = progress.mean_loss.running_mean(n, &result.terms);
        progress.mean_distillation =
            (progress.mean_distillation * n as f64 + result.distillation) / (n + 1) as f64;
        accumulate(&mut state.pending, result.gradients);
        let batch = progress.batches_seen;
        let rates = self.schedule.rates(batch, progress.epoch);
        let since = batch as i64 - progress.last_step.map_or(-1, |step| step as i64);
        if since >= rates.accumulate as i64 {
            if progress.scaler.as_mut().map_or(Ok(true), LossScaler::take_step)? {
                state.masks.apply_to(&mut state.pending);
                clip(&mut state.pending);
                let TrainState { optimizer, checkpoint, pending, masks, .. } = state;
                optimizer.step_masked(&mut checkpoint.weights, pending, &rates, masks)?;
                if let Some(slim) = &mut progress.slim {
                    slim.step(&mut state.checkpoint.weights, rates.lr)?;
                }
            }
            state.pending.clear();
            state.ema.update(&state.checkpoint.weights)?;
            progress.last_step = Some(batch);
            replicas.outdated();
        }
        progress.losses += 1;
        progress.batch_in_epoch += 1;
        progress.batches_seen += 1;
        Ok(())
    }

    /// Sets up slimming before the first batch, if it is asked for.
    fn begin_slimming(&self, state: &mut TrainState) -> Result<()> {
        if let (Some(options), None) = (&self.setup.options.slim, &state.progress.slim) {
            let steps = self.schedule.total_lr(state.progress.epoch, self.batches);
            let options = options.clone().without_layers(&self.setup.options.freeze, &state.checkpoint);
            state.progress.slim = Some(SlimState::new(&state.checkpoint, &options, steps)?);
        }
        Ok(())
    }

    /// The progress of slimming after the current epoch, which sets its strength for the next.
    fn slimmed(&self, state: &mut TrainState, fitness: Option<f64>) -> Result<Option<SlimProgress>> {
        let steps = self.schedule.total_lr(state.progress.epoch + 1, self.batches);
        let slim = state.progress.slim.as_mut();
        slim.map(|slim| slim.look_back(&state.checkpoint.weights, steps, fitness)).transpose()
    }

    /// Validates the averaged weights.
    fn validate(&self, state: &mut TrainState, observer: &mut dyn Observer) -> Result<Validation> {
        let options = self.setup.options;
        let checkpoint = state.averaged().into_fused()?;
        // The head that is left is the one that answers.
        let head = checkpoint.architecture.head();
        let loss_options = options.hyp.loss_options(head, options.image_size, options.label_smoothing, false);
        let loss = DetectionLoss::new(head, loss_options);
        let loss = Some(ValidationLoss { loss, device: self.setup.device.clone() });
        let num_classes = checkpoint.architecture.num_classes();
        let detector = (self.setup.compile)(checkpoint)?;
        let validation_options = ValidationOptions { loss, ..self.setup.validation.clone() };
        let progress = |images| observer.validating(images);
        let validation = validate(&detector, self.setup.val, &validation_options, progress)?;
        state.progress.class_maps = class_maps(&validation, num_classes);
        Ok(validation)
    }
}

/// mAP of every class; classes without objects have the mean.
fn class_maps(validation: &Validation, classes: usize) -> Vec<f64> {
    let mut maps = vec![validation.native.map; classes];
    for class in &validation.native.per_class {
        if let Some(map) = maps.get_mut(class.class as usize) {
            *map = class.map;
        }
    }
    maps
}

/// Checks that network, training images and options fit each other, as [`train`] does.
///
/// # Errors
/// The first thing that does not fit.
pub fn check(architecture: &Architecture, train_set: &Dataset, options: &TrainOptions) -> Result<()> {
    if architecture.fused {
        return Err(TrainError::Fused);
    }
    check_channels(architecture)?;
    let (model, data) = (architecture.num_classes(), train_set.class_names.len());
    if model != data && !options.single_class {
        return Err(TrainError::Classes { model, data });
    }
    let (size, stride) = (options.image_size, architecture.max_stride());
    if size == 0 || !size.is_multiple_of(stride) {
        return Err(DetectError::ImageSize { size, stride }.into());
    }
    if train_set.items.is_empty() {
        return Err(TrainError::NoImages { count: 0, first: "the training split is empty".to_owned() });
    }
    if let Some(layer) = options.freeze.iter().find(|&&layer| layer >= architecture.layers.len()) {
        return Err(TrainError::Freeze { layer: *layer, layers: architecture.layers.len() });
    }
    Ok(())
}
