//! From the flags that say which channels go to a smaller network, and what to say about it.

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use yolo_model::{Checkpoint, Layout};
use yolo_prune::channels::{
    ChannelPlan, ChannelScores, ChannelStatistics, Coupling, Criterion, Latency, Quantity, Size, compensate,
    in_rounds, remove, taylor_scores,
};
use yolo_prune::{Calibration, CalibrationImages, PruneError};
use yolo_train::recipe::ChannelsRecipe;

use crate::args::ChannelArgs;
use crate::format::{general, thousands};
use crate::selection::with_progress;
use crate::timing::{ChannelTimes, Milliseconds, Stopwatch};

/// Puts the flags on top of `recipe`.
///
/// # Errors
/// A flag that does nothing, as no channels are to go.
pub(crate) fn refine(recipe: Option<ChannelsRecipe>, flags: &ChannelArgs) -> Result<Option<ChannelsRecipe>> {
    let mut recipe = match (recipe, flags.is_asked(), flags.without_channels()) {
        (None, false, Some(flag)) => bail!("{flag} is about channels; say how much goes, as --channels 0.5"),
        (None, false, None) => return Ok(None),
        (recipe, ..) => recipe.unwrap_or_default(),
    };
    if flags.channels.is_some() || flags.channels_of.is_some() {
        recipe.at_most_ms = None;
    }
    recipe.at_most_ms = flags.channels_at_most_ms.or(recipe.at_most_ms);
    recipe.amount = flags.channels.unwrap_or(recipe.amount);
    recipe.of = flags.channels_of.map_or(recipe.of, Into::into);
    recipe.criterion = flags.channel_criterion.map_or(recipe.criterion, Into::into);
    recipe.scope = flags.scope.map_or(recipe.scope, Into::into);
    recipe.round_to = flags.round_to.map_or(recipe.round_to, |n| n as usize);
    recipe.max_fraction = flags.max_channels.unwrap_or(recipe.max_fraction);
    recipe.rounds = flags.rounds.map_or(recipe.rounds, |n| n as usize);
    if recipe.amount >= 1.0 {
        bail!(
            "--channels {} would leave nothing; it must be from 0 to below 1, as 0.5 for half",
            recipe.amount
        );
    }
    Ok(Some(recipe))
}

/// A network without some of its channels.
pub(crate) struct Narrowed {
    pub(crate) pruned: Checkpoint,
    /// All rounds in one.
    pub(crate) plan: ChannelPlan,
    /// The network before.
    pub(crate) before: Size,
    /// What the plan said that the network would be.
    pub(crate) predicted: Size,
    /// What it is.
    pub(crate) reached: Size,
    /// Milliseconds before and after by measured times, where a time was asked for.
    predicted_ms: Option<[f64; 2]>,
}

/// Removes channels; `images` have to be there where the recipe needs them, and a stopwatch where it asks for a time.
pub(crate) fn prune(
    dense: &Checkpoint,
    recipe: &ChannelsRecipe,
    exclude: &[String],
    images: Option<&CalibrationImages>,
    device: &Device,
    stopwatch: Option<&Stopwatch>,
) -> Result<Narrowed> {
    let options = recipe.options(exclude);
    let times = stopwatch.map(|stopwatch| ChannelTimes::new(stopwatch, dense)).transpose()?;
    let latency = |layout: &dyn Layout| times.as_ref().map_or(0.0, |times| times.of(layout));
    let latency: Option<Latency> = times.as_ref().map(|_| &latency as Latency);
    let images_for = |wanted: bool| images.filter(|_| wanted);
    let measured = |network: &Checkpoint, images: &CalibrationImages| {
        with_progress(|progress| {
            ChannelStatistics::measure(network, &mut Calibration::new(images, device, progress))
        })
    };
    let scores = |network: &Checkpoint| -> std::result::Result<ChannelScores, PruneError> {
        let looked_at = images_for(recipe.scores_need_images());
        let scores = match (recipe.criterion, looked_at) {
            (Criterion::BnScale, _) => ChannelScores::bn_scale(network),
            (Criterion::L1, _) => ChannelScores::l1(network, false),
            (Criterion::L2, _) => ChannelScores::l2(network, false),
            (Criterion::Taylor, Some(images)) => with_progress(|progress| {
                taylor_scores(network, &mut Calibration::new(images, device, progress))
            }),
            (Criterion::Activation, Some(images)) => {
                ChannelScores::activation(network, &measured(network, images)?.magnitudes)
            }
            (Criterion::Taylor | Criterion::Activation, None) => Err(PruneError::NeedsImages),
        };
        scores.map(ChannelScores::normalised)
    };
    let step = |network: &Checkpoint, plan: &ChannelPlan| match images_for(recipe.compensate) {
        Some(images) => remove(&compensate(network, plan, &measured(network, images)?.means)?, plan),
        None => remove(network, plan),
    };
    let rounds = in_rounds(dense, &options, recipe.rounds, latency, scores, step);
    let rounds: Result<(Checkpoint, Vec<ChannelPlan>)> = rounds.map_err(Into::into);
    let (mut pruned, plans) = match &times {
        Some(times) => times.or_error(rounds)?,
        None => rounds?,
    };
    let mut plan = plans
        .iter()
        .skip(1)
        .try_fold(plans.first().cloned().context("channels were pruned in no round")?, |all, next| {
            all.then(next)
        })?;
    if let Some(choice) = &mut plan.choice {
        choice.target = options.target;
    }
    let predicted = plan.predict(&dense.architecture)?;
    // One record of all rounds.
    pruned.pruning = remove(dense, &plan)?.pruning;
    let [before, reached] = [dense, &pruned].map(|network| Size::of(&network.architecture, None));
    if predicted != reached {
        bail!("the network is {reached:?}, but {predicted:?} was planned; please report this");
    }
    let predicted_ms = times.map(|times| [dense, &pruned].map(|network| times.of(&network.architecture)));
    Ok(Narrowed { pruned, plan, before, predicted, reached, predicted_ms })
}

impl Narrowed {
    /// A line per group of channels: its width before and after, and why it is what it is.
    pub(crate) fn table(&self, dense: &Checkpoint) -> Vec<String> {
        let mut lines =
            vec![format!("{:<22}{:>12}{:>8}{:>8}", "channels of", "convolutions", "before", "after")];
        for group in Coupling::of(&dense.architecture).groups {
            let after = self.width(&group.name).unwrap_or(group.channels);
            let note = self.note(&group.name, after == group.channels);
            let (count, before) = (group.producers.len(), group.channels);
            let line = format!("{:<22}{count:>12}{before:>8}{after:>8}  {note}", group.name);
            lines.push(line.trim_end().to_owned());
        }
        lines
    }

    /// What was reached, in one line per quantity.
    pub(crate) fn lines(&self, recipe: &ChannelsRecipe) -> Vec<String> {
        let Self { before, predicted, reached, .. } = self;
        let change = |before: f64, after: f64| (after / before.max(f64::MIN_POSITIVE) - 1.0) * 100.0;
        let count = |what: &str, before: usize, after: usize| {
            let percent = change(before as f64, after as f64);
            format!("{what}: {} → {} ({percent:+.1} %)", thousands(before), thousands(after))
        };
        let of = match recipe.of {
            Quantity::Gflops => "the FLOPs",
            Quantity::Parameters => "the parameters",
            Quantity::Channels => "the channels",
            Quantity::Milliseconds => "the time",
        };
        let goal = match recipe.at_most_ms {
            Some(most) => format!("Pruned to at most {most} ms by removing channels"),
            None => format!("Pruned {}% of {of} by removing channels", general(recipe.amount * 100.0, 6)),
        };
        vec![
            goal,
            count("Channels", before.channels, reached.channels),
            format!(
                "{} (planned: {})",
                count("Parameters", before.parameters, reached.parameters),
                thousands(predicted.parameters)
            ),
            format!(
                "GFLOPs: {:.3} → {:.3} ({:+.1} %) (planned: {:.3})",
                before.gflops,
                reached.gflops,
                change(before.gflops, reached.gflops),
                predicted.gflops
            ),
        ]
    }

    /// What became of the time, where one was asked for.
    pub(crate) fn milliseconds(
        &self,
        dense: &Checkpoint,
        stopwatch: Option<&Stopwatch>,
    ) -> Result<Option<Milliseconds>> {
        let both = self.predicted_ms.zip(stopwatch);
        both.map(|(predicted, stopwatch)| stopwatch.milliseconds(predicted, dense, &self.pruned)).transpose()
    }

    /// The groups for scripts.
    pub(crate) fn groups_json(&self, dense: &Checkpoint) -> Vec<serde_json::Value> {
        let group = |group: yolo_prune::channels::ChannelGroup| {
            let after = self.width(&group.name).unwrap_or(group.channels);
            let note = self.note(&group.name, after == group.channels);
            let convs: Vec<&str> = group.producers.iter().map(|conv| conv.name.as_str()).collect();
            serde_json::json!({
                "name": group.name,
                "convolutions": convs,
                "before": group.channels,
                "after": after,
                "note": note,
            })
        };
        Coupling::of(&dense.architecture).groups.into_iter().map(group).collect()
    }

    fn width(&self, group: &str) -> Option<usize> {
        self.plan.groups.iter().find(|kept| kept.group == group).map(|kept| kept.kept.len())
    }

    /// Why a group has its width, where the scores alone do not say.
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

/// First line of the yaml that lies beside a network which lost channels.
const YAML_TITLE: &str = "# A network that has lost channels, written by yolo-cli; `train --cfg` reads it.";

/// The network as a yaml, as `train --cfg` reads it.
pub(crate) fn yaml(network: &Checkpoint) -> Result<String> {
    Ok(format!("{YAML_TITLE}\n{}", network.architecture.to_yaml()?))
}

/// Checks that the yaml beside `weights` may be written; its path.
pub(crate) fn yaml_path(weights: &std::path::Path) -> Result<std::path::PathBuf> {
    let path = weights.with_extension("yaml");
    let is_other = match std::fs::read(&path) {
        Ok(content) => !content.starts_with(YAML_TITLE.as_bytes()),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    if path.exists() && is_other {
        bail!(
            "{}: the network's yaml would go there, but something else is there; choose another --out",
            path.display()
        );
    }
    Ok(path)
}
