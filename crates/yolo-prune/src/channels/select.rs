//! Selection: from scores and a target to a plan.

use std::collections::BTreeMap;

use yolo_model::Layout;

use super::coupling::{ChannelGroup, Coupling};
use super::narrow::narrowed;
use super::plan::{Adjusted, Adjustment, ChannelPlan, Choice, KeptChannels, SkippedGroup};
use super::scope::Scope;
use super::scores::ChannelScores;
use super::search::{Candidate, search};
use super::target::{Latency, Size, Target, target};
use crate::error::{PruneError, Result};
use crate::exclude::Pattern;

/// Which channels to remove.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelOptions {
    /// The size to reach.
    pub target: Target,
    /// Which channels compete with each other.
    pub scope: Scope,
    /// Widths become multiples of this, at least 1; a group that stays as it is keeps its width.
    pub round_to: usize,
    /// Largest fraction of a group to remove, in `[0, 1]`. At least one channel always stays, and one unit of
    /// `round_to`.
    pub max_fraction: f64,
    /// Channels that a group keeps at least, by its name.
    pub least: BTreeMap<String, usize>,
    /// Groups with a producer that one of these matches stay as they are.
    pub exclude: Vec<Pattern>,
}

impl ChannelOptions {
    /// Options under which all channels compete, without rounding, limits or exclusions.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            scope: Scope::Global,
            round_to: 1,
            max_fraction: 1.0,
            least: BTreeMap::new(),
            exclude: Vec::new(),
        }
    }

    /// Channels that a group of `width` keeps at least, before rounding.
    pub(super) fn least_of(&self, group: &str, width: usize) -> usize {
        // Less a little, so that a product such as 0.3 · 10 does not count as 4.
        let by_fraction = (width as f64 * (1.0 - self.max_fraction) - 1e-9).ceil() as usize;
        by_fraction.max(self.least.get(group).copied().unwrap_or(1)).max(1).min(width)
    }
}

/// Plans which channels to remove: the lowest scores first, as few as the target needs.
///
/// A threshold on the scores gives each group the number of channels that it keeps, rounded to the nearest
/// multiple of `round_to` (halves up) and limited from below. The lowest threshold that meets the target is
/// taken; then, in the order of their best removed scores, groups get a step of width back if the target still
/// holds. So the target is met from below, and no single step more would meet it.
///
/// # Errors
/// A target, fraction or rounding that makes no sense, a target that cannot be met, a pattern that matches
/// nothing, nothing left to prune, scores of another network.
pub fn select(
    layout: &dyn Layout,
    scores: &ChannelScores,
    options: &ChannelOptions,
    latency: Option<Latency>,
) -> Result<ChannelPlan> {
    check_options(layout, options)?;
    let coupling = Coupling::of(layout);
    let quantity = options.target.quantity();
    let mut widths = coupling.widths();
    let budget = options.target.limit(quantity.of(layout, latency)?)?;
    let (candidates, skipped) = candidates(&coupling, scores, options)?;
    if candidates.is_empty() {
        return Err(match options.exclude.is_empty() {
            false => PruneError::NothingLeft,
            true => target(format!("no group of channels can change: {}", reasons(&skipped))),
        });
    }
    let mut cost = |kept: &[usize]| {
        for (candidate, &kept) in candidates.iter().zip(kept) {
            widths[candidate.group] = kept;
        }
        quantity.of(&*narrowed(layout, &coupling, &widths), latency)
    };
    let least = cost(&candidates.iter().map(Candidate::least).collect::<Vec<_>>())?;
    if least > budget {
        return Err(target(format!(
            "{budget:.6} {unit} are asked for, but {least:.6} are left even where every group is as narrow as it \
             may be; ask for less, or lower the limits, exclusions or rounding",
            unit = quantity.unit()
        )));
    }
    let found = search(&candidates, budget, &mut cost)?;
    let keep = |(candidate, &kept): (&Candidate, &usize)| KeptChannels {
        group: coupling.groups[candidate.group].name.clone(),
        width: candidate.width(),
        kept: candidate.best(kept),
    };
    let groups: Vec<KeptChannels> = candidates.iter().zip(&found.kept).map(keep).collect();
    let mut plan = ChannelPlan { choice: None, groups };
    let adjust = |((group, candidate), (&wanted, &kept)): ((&KeptChannels, &Candidate), (&usize, &usize))| {
        let why = if kept > candidate.allowed(wanted) {
            Adjustment::Refilled
        } else if wanted < candidate.floor() {
            Adjustment::Floor
        } else {
            Adjustment::Rounded
        };
        (wanted != kept).then(|| Adjusted { group: group.group.clone(), wanted, kept, why })
    };
    let pairs = plan.groups.iter().zip(&candidates).zip(found.wanted.iter().zip(&found.kept));
    let adjusted = pairs.filter_map(adjust).collect();
    plan.choice = Some(Choice {
        criterion: scores.criterion,
        scope: options.scope,
        target: options.target,
        round_to: options.round_to,
        before: Size::of(layout, latency),
        after: Size::of(&*plan.layout(layout)?, latency),
        adjusted,
        skipped,
    });
    Ok(plan)
}

fn check_options(layout: &dyn Layout, options: &ChannelOptions) -> Result<()> {
    if options.round_to == 0 {
        return Err(target("widths cannot be rounded to multiples of 0; 1 rounds nothing"));
    }
    if !(0.0..=1.0).contains(&options.max_fraction) {
        let reason = format!(
            "the largest fraction of a group must be between 0 and 1, not {}; 0.9 leaves a tenth",
            options.max_fraction
        );
        return Err(target(reason));
    }
    check_patterns(layout, &options.exclude)
}

/// Checks that every pattern matches some convolution.
pub(super) fn check_patterns(layout: &dyn Layout, patterns: &[Pattern]) -> Result<()> {
    let convs = layout.convs();
    match patterns.iter().find(|pattern| !convs.iter().any(|conv| pattern.matches(&conv.name))) {
        Some(pattern) => {
            let example = convs.first().map(|c| c.name.clone()).unwrap_or_default();
            Err(PruneError::Pattern { pattern: pattern.as_str().to_owned(), example })
        }
        None => Ok(()),
    }
}

/// The groups that may change, and those that may not.
fn candidates(
    coupling: &Coupling,
    scores: &ChannelScores,
    options: &ChannelOptions,
) -> Result<(Vec<Candidate>, Vec<SkippedGroup>)> {
    let (mut candidates, mut skipped) = (Vec::new(), Vec::new());
    for (index, group) in coupling.groups.iter().enumerate() {
        let is_usable =
            |own: &&Vec<f64>| own.len() == group.channels && own.iter().all(|score| score.is_finite());
        let own = scores.groups.get(&group.name).filter(is_usable);
        let own = own.ok_or_else(|| PruneError::ChannelScores {
            name: group.name.clone(),
            reason: format!("its {} channels do not have one finite score each", group.channels),
        })?;
        let least = options.least_of(&group.name, group.channels);
        let candidate = Candidate::new(index, own, options.scope, options.round_to, least);
        match reason_to_skip(group, options, &candidate) {
            Some(reason) => skipped.push(SkippedGroup { group: group.name.clone(), reason }),
            None => candidates.push(candidate),
        }
    }
    Ok((candidates, skipped))
}

fn reason_to_skip(group: &ChannelGroup, options: &ChannelOptions, candidate: &Candidate) -> Option<String> {
    let excluded = |pattern: &&Pattern| group.producers.iter().any(|conv| pattern.matches(&conv.name));
    if let Some(pattern) = options.exclude.iter().find(excluded) {
        return Some(format!("excluded by {:?}", pattern.as_str()));
    }
    if let Some(reason) = &group.fixed {
        return Some(reason.clone());
    }
    (candidate.least() == candidate.width()).then(|| match options.round_to {
        unit if group.channels <= unit => {
            format!("its {} channels are not more than one unit of {unit}", group.channels)
        }
        _ => format!("its {} channels are the fewest that it may have", group.channels),
    })
}

fn reasons(skipped: &[SkippedGroup]) -> String {
    let mut reasons: Vec<&str> = skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Quantity;

    #[test]
    fn limits_round_up() {
        let mut options = ChannelOptions::new(Target::less(Quantity::Channels, 0.5));
        options.least.insert("b".to_owned(), 40);
        for (max_fraction, least) in [(1.0, 1), (0.9, 1), (0.75, 3), (0.7, 3), (0.5, 5), (0.0, 10)] {
            options.max_fraction = max_fraction;
            assert_eq!(options.least_of("a", 10), least, "{max_fraction}");
            assert_eq!(options.least_of("b", 10), 10);
        }
        assert_eq!(options.least_of("b", 50), 50);
    }
}
