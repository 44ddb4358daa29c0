//! Removing channels as a recipe says: scores, rounds, removal and compensation in order.

use std::cell::RefCell;

use burn::tensor::Device;
use serde::Serialize;
use yolo_model::Checkpoint;
use yolo_prune::channels::{
    ChannelGroup, ChannelPlan, ChannelScores, ChannelStatistics, ChannelsRecipe, Coupling, Criterion,
    Latency, Size, compensate, in_rounds, remove, taylor_scores,
};
use yolo_prune::{Calibration, CalibrationImages, Pattern, PruneError};

use crate::error::{Result, TrainError};

/// A network without some of its channels.
#[derive(Clone, Debug)]
pub struct Narrowed {
    /// The network.
    pub pruned: Checkpoint,
    /// All rounds in one.
    pub plan: ChannelPlan,
    /// The size before.
    pub before: Size,
    /// The size that the plan predicted.
    pub predicted: Size,
    /// The size that it has.
    pub reached: Size,
}

/// A group of channels that go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NarrowedGroup {
    /// Its name.
    pub name: String,
    /// The convolutions that make its channels.
    pub convolutions: Vec<String>,
    /// Its width before.
    pub before: usize,
    /// Its width after.
    pub after: usize,
    /// Why it has its width, if the scores alone do not say.
    pub note: String,
}

/// What removing channels looks at beside the network.
pub struct NarrowInputs<'a> {
    /// Convolutions that stay as they are, by name or pattern.
    pub exclude: &'a [Pattern],
    /// Images, which have to be there if the recipe needs them.
    pub images: Option<&'a CalibrationImages>,
    /// Where images run through the network.
    pub device: &'a Device,
    /// Milliseconds of a network, if the recipe asks for a time.
    pub latency: Option<Latency<'a>>,
    /// Is told what is done: a stage, steps done, steps in all.
    pub progress: &'a mut dyn FnMut(&'static str, usize, usize),
}

/// Removes channels of `dense`.
///
/// # Errors
/// A recipe that cannot be followed, or images that are missing.
pub fn narrow(dense: &Checkpoint, recipe: &ChannelsRecipe, inputs: NarrowInputs) -> Result<Narrowed> {
    let NarrowInputs { exclude, images, device, latency, progress } = inputs;
    let options = recipe.options(exclude);
    let progress = RefCell::new(progress);
    let calibrated = |network: &Checkpoint, images: &CalibrationImages| {
        let mut progress = progress.borrow_mut();
        ChannelStatistics::measure(network, &mut Calibration::new(images, device, &mut **progress))
    };
    let scores = |network: &Checkpoint| -> std::result::Result<ChannelScores, PruneError> {
        let images = images.filter(|_| recipe.scores_need_images());
        let scores = match (recipe.criterion, images) {
            (Criterion::BnScale, _) => ChannelScores::bn_scale(network),
            (Criterion::L1, _) => ChannelScores::l1(network, false),
            (Criterion::L2, _) => ChannelScores::l2(network, false),
            (Criterion::Taylor, Some(images)) => {
                let mut progress = progress.borrow_mut();
                taylor_scores(network, &mut Calibration::new(images, device, &mut **progress))
            }
            (Criterion::Activation, Some(images)) => {
                ChannelScores::activation(network, &calibrated(network, images)?.magnitudes)
            }
            (Criterion::Taylor | Criterion::Activation, None) => Err(PruneError::NeedsImages),
        };
        scores.map(ChannelScores::normalised)
    };
    let step = |network: &Checkpoint, plan: &ChannelPlan| match images.filter(|_| recipe.compensate) {
        Some(images) => remove(&compensate(network, plan, &calibrated(network, images)?.means)?, plan),
        None => remove(network, plan),
    };
    let (mut pruned, plans) = in_rounds(dense, &options, recipe.rounds, latency, scores, step)?;
    let mut plan = in_one(&plans)?;
    if let Some(choice) = &mut plan.choice {
        choice.target = options.target;
    }
    let predicted = plan.predict(&dense.architecture)?;
    // One record of all rounds.
    pruned.pruning = remove(dense, &plan)?.pruning;
    let [before, reached] = [dense, &pruned].map(|network| Size::of(&network.architecture, None));
    if predicted != reached {
        let reason = format!("the network is {reached:?}, but {predicted:?} was planned; please report this");
        return Err(TrainError::State { reason });
    }
    Ok(Narrowed { pruned, plan, before, predicted, reached })
}

/// The plans of all rounds as one.
fn in_one(plans: &[ChannelPlan]) -> Result<ChannelPlan> {
    let Some((first, others)) = plans.split_first() else {
        return Err(TrainError::State { reason: "channels were pruned in no round".to_owned() });
    };
    Ok(others.iter().try_fold(first.clone(), |all, next| all.then(next))?)
}

impl Narrowed {
    /// The groups of `dense`, the network before.
    pub fn groups(&self, dense: &Checkpoint) -> Vec<NarrowedGroup> {
        let group = |group: ChannelGroup| {
            let kept = self.plan.groups.iter().find(|kept| kept.group == group.name);
            let after = kept.map_or(group.channels, |kept| kept.kept.len());
            NarrowedGroup {
                note: self.note(&group.name, after == group.channels),
                convolutions: group.producers.into_iter().map(|conv| conv.name).collect(),
                name: group.name,
                before: group.channels,
                after,
            }
        };
        Coupling::of(&dense.architecture).groups.into_iter().map(group).collect()
    }

    /// Why a group has its width, if the scores alone do not say.
    fn note(&self, group: &str, is_whole: bool) -> String {
        let Some(choice) = &self.plan.choice else { return String::new() };
        let skipped = choice.skipped.iter().find(|skipped| is_whole && skipped.group == group);
        let adjusted = choice.adjusted.iter().find(|adjusted| adjusted.group == group);
        match (skipped, adjusted) {
            (Some(skipped), _) => format!("stays: {}", skipped.reason),
            (None, Some(adjusted)) => format!("{} of {} wanted", adjusted.why, adjusted.wanted),
            (None, None) => String::new(),
        }
    }
}
