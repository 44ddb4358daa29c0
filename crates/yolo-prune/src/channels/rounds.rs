//! Pruning in rounds: a little at a time, with new scores in each round.

use yolo_model::{Layout, Prunable};

use super::coupling::Coupling;
use super::plan::ChannelPlan;
use super::scores::ChannelScores;
use super::select::{ChannelOptions, select};
use super::target::{Latency, Target, target as target_error};
use crate::error::{PruneError, Result};

/// The targets of `n_rounds` rounds. Each leaves the same fraction of what the one before left, and the last is
/// `target` for `layout`.
///
/// # Errors
/// No rounds at all, or a target that makes no sense.
pub fn round_targets(
    layout: &dyn Layout,
    target: Target,
    n_rounds: usize,
    latency: Option<Latency>,
) -> Result<Vec<Target>> {
    if n_rounds == 0 {
        return Err(target_error("pruning takes at least one round, not 0"));
    }
    let of = target.quantity();
    let before = of.of(layout, latency)?;
    let limit = target.limit(before)?.min(before);
    let left = |round: usize| match round {
        // The last one exactly.
        round if round == n_rounds => limit,
        round => before * (limit / before).powf(round as f64 / n_rounds as f64),
    };
    Ok((1..=n_rounds).map(|round| Target::AtMost { of, limit: left(round) }).collect())
}

/// Prunes in rounds. Each round scores the network, plans towards its target of [`round_targets`], and lets
/// `step` apply the plan: removal, then repair or training of the network before the next round.
///
/// The options count against the network at the start: `max_fraction` is of its widths. Returns the last network
/// and the plan of every round; [`ChannelPlan::then`] makes one plan of them.
///
/// # Errors
/// Those of [`round_targets`] and [`select`], and the caller's own.
pub fn in_rounds<M: Prunable, E: From<PruneError>>(
    model: &M,
    options: &ChannelOptions,
    n_rounds: usize,
    latency: Option<Latency>,
    mut scores: impl FnMut(&M) -> std::result::Result<ChannelScores, E>,
    mut step: impl FnMut(&M, &ChannelPlan) -> std::result::Result<M, E>,
) -> std::result::Result<(M, Vec<ChannelPlan>), E> {
    let mut options = options.clone();
    for group in Coupling::of(model.layout()).groups {
        let least = options.least_of(&group.name, group.channels);
        options.least.insert(group.name, least);
    }
    let targets = round_targets(model.layout(), options.target, n_rounds, latency)?;
    // The limits above are by number from here on.
    let (mut options, mut current, mut plans) =
        (ChannelOptions { max_fraction: 1.0, ..options }, None, Vec::new());
    for target in targets {
        let network = current.as_ref().unwrap_or(model);
        options.target = target;
        let plan = select(network.layout(), &scores(network)?, &options, latency)?;
        current = Some(step(network, &plan)?);
        plans.push(plan);
    }
    Ok((current.unwrap_or_else(|| model.clone()), plans))
}
