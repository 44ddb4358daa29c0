//! From the flags that say which channels go to a smaller network, and what to say about it.

use anyhow::{Result, bail};
use burn::tensor::Device;
use indicatif::ProgressBar;
use yolo_measure::{ChannelTimes, Stopwatch};
use yolo_model::{Checkpoint, Layout};
use yolo_prune::channels::{ChannelsRecipe, Latency, Quantity};
use yolo_prune::{CalibrationImages, Pattern};
use yolo_report::format::{general, thousands};
use yolo_report::results::Milliseconds;
use yolo_train::narrow::{self, NarrowInputs, NarrowedGroup, narrow};

use crate::args::ChannelArgs;
use crate::console::counter;
use crate::selection::with_progress;

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
    recipe.of = flags.channels_of.unwrap_or(recipe.of);
    recipe.criterion = flags.channel_criterion.unwrap_or(recipe.criterion);
    recipe.scope = flags.scope.unwrap_or(recipe.scope);
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
    pub(crate) network: narrow::Narrowed,
    /// Milliseconds before and after by measured times, if a time was asked for.
    predicted_ms: Option<[f64; 2]>,
}

/// Removes channels; `images` have to be there if the recipe needs them, and a stopwatch if it asks for a time.
pub(crate) fn prune(
    dense: &Checkpoint,
    recipe: &ChannelsRecipe,
    exclude: &[Pattern],
    images: Option<&CalibrationImages>,
    device: &Device,
    stopwatch: Option<&Stopwatch>,
) -> Result<Narrowed> {
    let bar = stopwatch.map(|_| counter("Timing"));
    let times = stopwatch.map(|stopwatch| {
        let shown = bar.clone();
        let progress = move |measured| shown.iter().for_each(|bar| bar.set_position(measured as u64));
        with_progress(|show| {
            let mut whole = |done, total| show("Timing", done, total);
            ChannelTimes::new(stopwatch, dense, &mut whole, progress)
        })
    });
    let times = times.transpose()?;
    let latency = |layout: &dyn Layout| times.as_ref().map_or(0.0, |times| times.of(layout));
    let latency: Option<Latency> = times.as_ref().map(|_| &latency as Latency);
    let narrowed = with_progress(|progress| {
        narrow(dense, recipe, NarrowInputs { exclude, images, device, latency, progress })
    });
    bar.iter().for_each(ProgressBar::finish_and_clear);
    // What went wrong while measuring explains what went wrong with the channels.
    times.as_ref().map_or(Ok(()), ChannelTimes::finish)?;
    let network = narrowed?;
    let predicted_ms = times.map(|times| [dense, &network.pruned].map(|n| times.of(&n.architecture)));
    Ok(Narrowed { network, predicted_ms })
}

impl Narrowed {
    /// A line per group of channels: its width before and after, and why it is what it is.
    pub(crate) fn table(&self, dense: &Checkpoint) -> Vec<String> {
        let mut lines =
            vec![format!("{:<22}{:>12}{:>8}{:>8}", "channels of", "convolutions", "before", "after")];
        for NarrowedGroup { name, convolutions, before, after, note } in self.network.groups(dense) {
            let line = format!("{name:<22}{:>12}{before:>8}{after:>8}  {note}", convolutions.len());
            lines.push(line.trim_end().to_owned());
        }
        lines
    }

    /// What was reached, in one line per quantity.
    pub(crate) fn lines(&self, recipe: &ChannelsRecipe) -> Vec<String> {
        let narrow::Narrowed { before, predicted, reached, .. } = &self.network;
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
        let milliseconds =
            both.map(|(predicted, stopwatch)| stopwatch.milliseconds(predicted, dense, &self.network.pruned));
        Ok(milliseconds.transpose()?)
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
