//! What a run prunes, weights or channels, and what it says about it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use yolo_data::dataset::Dataset;
use yolo_measure::Stopwatch;
use yolo_measure::figures::pruning_line;
use yolo_model::Checkpoint;
use yolo_prune::channels::{ChannelsRecipe, Size};
use yolo_prune::{CalibrationImages, PrunePlan, Sparsity, Unit, apply};
use yolo_report::format::{general, thousands};
use yolo_report::results::Milliseconds;
use yolo_train::finetune::Finetuned;
use yolo_train::masks::Masks;
use yolo_train::recipe::Recipe;

use crate::args::PruneFinetuneArgs;
use crate::channels::{self, Narrowed};
use crate::resolve::Weights;
use crate::selection::{ImageSource, Planned, load_images, plan_pruning, timed};

/// What was pruned.
pub(super) enum Pruning {
    /// Single weights, which stay zero in training.
    Weights(PrunePlan),
    /// Channels; the network is a smaller one.
    Channels(Box<Narrowed>, ChannelsRecipe),
}

/// The network before and after.
pub(super) struct Pruned {
    /// As it was, or with its channels in another order.
    pub(super) dense: Checkpoint,
    pub(super) pruned: Checkpoint,
    pub(super) pruning: Pruning,
    /// What a time that was asked for became.
    pub(super) times: Option<Milliseconds>,
}

/// Prunes as the recipe says; it looks at training images unless others are named. A recipe that asks for a time takes
/// a stopwatch.
pub(super) fn prune(
    args: &PruneFinetuneArgs,
    recipe: &Recipe,
    weights: &Weights,
    train: &Dataset,
    image_size: usize,
    device: &Device,
    stopwatch: Option<Stopwatch>,
) -> Result<Pruned> {
    let (dense, prune) = (&weights.checkpoint, &recipe.prune);
    let images = |wanted: bool| -> Result<Option<CalibrationImages>> {
        let source = match &args.selection.calibration {
            Some(folder) => ImageSource::Folder(folder),
            None => ImageSource::Files(train.items.iter().map(|item| item.image.clone()).collect()),
        };
        let load = || load_images(&source, prune.calibration_images, dense, image_size);
        wanted.then(load).transpose()
    };
    let place = || weights.path.display().to_string();
    if let Some(channels) = &prune.channels {
        let images = images(channels.needs_images())?;
        let stopwatch = stopwatch.as_ref();
        let narrowed = channels::prune(dense, channels, &prune.exclude, images.as_ref(), device, stopwatch);
        let narrowed = narrowed.with_context(place)?;
        let times = narrowed.milliseconds(dense, stopwatch)?;
        let (dense, pruned) = (dense.clone(), narrowed.network.pruned.clone());
        let pruning = Pruning::Channels(Box::new(narrowed), channels.clone());
        return Ok(Pruned { dense, pruned, pruning, times });
    }
    let mut options = prune.clone();
    let images = images(options.needs_images())?;
    let timed = timed(&mut options, prune.at_most_ms, dense, stopwatch)?;
    let Planned { dense, plan } =
        plan_pruning(dense, &options, prune.permute, images.as_ref(), device).with_context(place)?;
    let pruned = apply(&dense, &plan)?;
    let times = timed.map(|timed| timed.milliseconds(&dense, &pruned)).transpose()?;
    Ok(Pruned { dense, pruned, pruning: Pruning::Weights(plan), times })
}

impl Pruning {
    /// The weights that stay zero; none where the channels are gone.
    pub(super) fn masks(&self) -> Masks {
        match self {
            Self::Weights(plan) => Masks::of(plan),
            Self::Channels(..) => Masks::default(),
        }
    }

    /// What was pruned, for the console.
    pub(super) fn lines(&self, pruned: &Checkpoint) -> Result<Vec<String>> {
        Ok(match self {
            Self::Weights(plan) => vec![pruning_line(plan, &Sparsity::of(pruned)?)],
            Self::Channels(narrowed, recipe) => narrowed.lines(recipe),
        })
    }

    /// How much was asked for: `50 % pruned`.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Weights(plan) if plan.unit == Unit::Milliseconds => {
                format!("{} % of the ms pruned", general(plan.amount * 100.0, 4))
            }
            Self::Weights(plan) => format!("{} % pruned", general(plan.amount * 100.0, 4)),
            Self::Channels(_, channels) => match channels.at_most_ms {
                Some(most) => format!("pruned to {most} ms"),
                None => {
                    format!("{} % of the {} pruned", general(channels.amount * 100.0, 4), channels.of.unit())
                }
            },
        }
    }

    /// That what was pruned is still gone at the end: zeros, or channels.
    pub(super) fn proof(&self, pruned: &Checkpoint, finetuned: &Finetuned, file: &Path) -> Result<String> {
        match self {
            Self::Weights(_) => zeros_line(pruned, finetuned, file),
            Self::Channels(narrowed, _) => size_line(&narrowed.network.reached, file),
        }
    }

    /// Whether the network has become a smaller one.
    pub(super) fn is_smaller(&self) -> bool {
        matches!(self, Self::Channels(..))
    }
}

/// The size of the network in the file, which is that which pruning made.
fn size_line(reached: &Size, file: &Path) -> Result<String> {
    let read = Size::of(&Checkpoint::load(file)?.architecture, None);
    if read != *reached {
        bail!("pruning left {reached:?}, but the file has {read:?}; please report this");
    }
    Ok(format!(
        "Size: {} parameters, {:.3} GFLOPs in the file, as pruning left them",
        thousands(read.parameters),
        read.gflops
    ))
}

/// The zeros of convolutions at every stage, which are never fewer than pruning made.
fn zeros_line(pruned: &Checkpoint, finetuned: &Finetuned, file: &Path) -> Result<String> {
    let read = Checkpoint::load(file)?;
    let stages = [
        ("pruned", pruned),
        ("after training", &finetuned.state.checkpoint),
        ("averaged", &finetuned.state.averaged()),
        ("in the file", &read),
        ("fused", &*read.fuse()?),
    ];
    let mut counts = Vec::new();
    for (stage, checkpoint) in stages {
        counts.push((stage, Sparsity::of(checkpoint)?.conv_zeros));
    }
    let before = counts[0].1;
    if let Some((stage, count)) = counts.iter().find(|(_, count)| *count < before) {
        bail!("{before} weights were pruned, but only {count} are zero {stage}; please report this");
    }
    let counts: Vec<String> =
        counts.iter().map(|(stage, count)| format!("{} {stage}", thousands(*count))).collect();
    Ok(format!("Zeros: {}", counts.join(", ")))
}
