//! Fine-tuning of a pruned network: the choice between the pruned network as it is, re-estimated statistics, and every
//! epoch of training. The result is never worse on the validation images than the pruned network.

use yolo_model::Checkpoint;
use yolo_model::weights::FloatFormat;
use yolo_prune::plan;

use crate::batch_norm::{ReestimationOptions, reestimate_batch_norm};
use crate::error::Result;
use crate::masks::Masks;
use crate::recipe::Recipe;
use crate::schedule::cubic;
use crate::train::{Best, Observer, Outcome, Pruner, RunFolder, Setup, TrainState, half_precision, train};
use crate::validate::validate;

/// A pruned network to be fine-tuned.
pub struct Finetuning<'a> {
    /// The network before pruning; the teacher, if there is distillation.
    pub dense: &'a Checkpoint,
    /// The network after pruning, not fused.
    pub pruned: &'a Checkpoint,
    /// Its masks.
    pub masks: &'a Masks,
    /// `0.1·mAP50 + 0.9·mAP` of the pruned network, measured with `validation`.
    pub pruned_fitness: f64,
    /// How to fine-tune.
    pub recipe: &'a Recipe,
    /// The data and devices, and how epochs are validated. [`finetune`] sets the teacher, the pruner and the folder.
    pub setup: Setup<'a>,
    /// The folder for files; a state in it is resumed.
    pub folder: &'a RunFolder,
}

/// Which weights were the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Those of the pruned network.
    Pruned,
    /// Those of the pruned network, with re-estimated batch statistics.
    Reestimated,
    /// Those after an epoch of training.
    Epoch(usize),
    /// Those after an epoch of training, with re-estimated batch statistics.
    ReestimatedEpoch(usize),
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pruned => write!(f, "the pruned network as it was"),
            Self::Reestimated => write!(f, "the pruned network with new batch statistics"),
            Self::Epoch(epoch) => write!(f, "epoch {epoch}"),
            Self::ReestimatedEpoch(epoch) => write!(f, "epoch {epoch} with new batch statistics"),
        }
    }
}

/// The result of fine-tuning.
#[derive(Debug)]
pub struct Finetuned {
    /// The best weights, in half precision.
    pub checkpoint: Checkpoint,
    /// Which weights these are.
    pub choice: Choice,
    /// The run as it ended, with the record of its epochs.
    pub state: TrainState,
}

/// Fine-tunes, and returns the best weights; `None` if the observer stopped it.
///
/// # Errors
/// As [`train`].
pub fn finetune(job: &Finetuning, observer: &mut dyn Observer) -> Result<Option<Finetuned>> {
    let gradual = job.recipe.prune.gradual_epochs;
    let mut state = if job.folder.state().is_file() {
        TrainState::load(&job.folder.state())?
    } else {
        job.start(observer)?
    };
    let raise = |epoch: usize, checkpoint: &Checkpoint| job.raise_sparsity(epoch, checkpoint);
    let pruner: Option<&Pruner> = if gradual > 0 { Some(&raise) } else { None };
    let setup = Setup {
        teacher: Some(job.dense),
        pruner,
        // Before the last step of the schedule, a network is denser than asked for.
        first_candidate: gradual.saturating_sub(1),
        folder: Some(job.folder),
        ..job.setup
    };
    if train(&mut state, &setup, observer)? == Outcome::Stopped {
        return Ok(None);
    }
    job.choose(state, observer).map(Some)
}

impl Finetuning<'_> {
    /// The state before the first epoch, with the better of the pruned network and its re-estimated twin as the
    /// result to beat.
    fn start(&self, observer: &mut dyn Observer) -> Result<TrainState> {
        let mut first = self.pruned.clone();
        let mut fitness = self.pruned_fitness;
        let mut reestimated = false;
        if self.recipe.finetune.reestimate_batch_norm {
            let renewed = self.reestimate(self.pruned, observer)?;
            let renewed_fitness = self.fitness(&renewed, observer)?;
            if renewed_fitness >= fitness {
                (first, fitness, reestimated) = (renewed, renewed_fitness, true);
            }
        }
        half_precision(&first, self.masks)?.save(&self.folder.best(), FloatFormat::F16)?;
        let gradual = self.recipe.prune.gradual_epochs > 0;
        let mut state = if gradual {
            let mut dense = self.dense.clone();
            dense.pruning = self.pruned.pruning.clone();
            TrainState::new(dense, Masks::default(), self.setup.options.rule)?
        } else {
            TrainState::new(first, self.masks.clone(), self.setup.options.rule)?
        };
        state.progress.best = Some(Best { epoch: None, fitness });
        state.progress.start_reestimated = reestimated;
        Ok(state)
    }

    fn reestimate(&self, checkpoint: &Checkpoint, observer: &mut dyn Observer) -> Result<Checkpoint> {
        let options = ReestimationOptions {
            batch_size: self.setup.options.batch_size,
            image_size: self.setup.options.image_size,
            max_images: self.recipe.finetune.reestimate_images,
            workers: self.setup.options.workers,
        };
        reestimate_batch_norm(checkpoint, self.setup.train, self.setup.device, &options, |n| {
            observer.reestimating(n)
        })
    }

    fn fitness(&self, checkpoint: &Checkpoint, observer: &mut dyn Observer) -> Result<f64> {
        let detector = (self.setup.compile)(checkpoint.fuse()?)?;
        let progress = |images| observer.validating(images);
        Ok(validate(&detector, self.setup.val, self.setup.validation, progress)?.native.fitness())
    }

    /// The masks of `epoch` while the sparsity rises.
    fn raise_sparsity(&self, epoch: usize, checkpoint: &Checkpoint) -> Result<Option<Masks>> {
        let steps = self.recipe.prune.gradual_epochs;
        if epoch >= steps {
            return Ok(None);
        }
        let amount = self.recipe.prune.amount * cubic(epoch + 1, steps);
        let options = self.recipe.prune.during_training(amount);
        Ok(Some(Masks::of(&plan(checkpoint, &options)?)))
    }

    /// The best weights of the run, once more with re-estimated statistics if that is better still.
    fn choose(&self, state: TrainState, observer: &mut dyn Observer) -> Result<Finetuned> {
        let checkpoint = Checkpoint::load(&self.folder.best())?;
        let best = state.progress.best.unwrap_or(Best { epoch: None, fitness: 0.0 });
        let (checkpoint, choice) = match best.epoch {
            None if state.progress.start_reestimated => (checkpoint, Choice::Reestimated),
            None => (checkpoint, Choice::Pruned),
            Some(epoch) if self.recipe.finetune.reestimate_batch_norm => {
                let renewed = self.reestimate(&checkpoint, observer)?;
                match self.fitness(&renewed, observer)? > best.fitness {
                    true => (renewed, Choice::ReestimatedEpoch(epoch)),
                    false => (checkpoint, Choice::Epoch(epoch)),
                }
            }
            Some(epoch) => (checkpoint, Choice::Epoch(epoch)),
        };
        // If the one-shot network won a gradual run, the masks of the run are not its masks.
        let masks = if best.epoch.is_none() { self.masks } else { &state.masks };
        Ok(Finetuned { checkpoint: half_precision(&checkpoint, masks)?, choice, state })
    }
}
