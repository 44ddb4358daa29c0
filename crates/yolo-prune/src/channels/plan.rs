//! The plan of a channel pruning: plain data.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use yolo_model::pruning::{ChannelMethod, ChannelRecord, PruningRecord};
use yolo_model::{Layout, Widths};

use super::coupling::{ChannelGroup, Coupling};
use super::narrow::conv_widths;
use super::scope::Scope;
use super::scores::Criterion;
use super::target::{Size, Target};
use crate::error::{PruneError, Result};
use crate::method::name;

/// Which channels stay, and in which order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelPlan {
    /// How the channels were chosen; `None` for a plan that was written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The groups that change. A group that is not listed stays as it is.
    pub groups: Vec<KeptChannels>,
}

/// The channels of a group that stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptChannels {
    /// Name of the group, see [`ChannelGroup::name`].
    pub group: String,
    /// Channels of the group in the network that the plan was made for.
    pub width: usize,
    /// Channel `i` of the smaller network is channel `kept[i]` of the network that the plan was made for.
    pub kept: Vec<usize>,
}

/// How the channels of a plan were chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The criterion of the scores.
    pub criterion: Criterion,
    /// Which channels competed with each other.
    pub scope: Scope,
    /// The size asked for.
    pub target: Target,
    /// Widths are multiples of this.
    pub round_to: usize,
    /// The network that the plan was made for.
    pub before: Size,
    /// The network that the plan makes.
    pub after: Size,
    /// Groups whose width is not what the scores alone would give.
    pub adjusted: Vec<Adjusted>,
    /// Groups that do not change, and why.
    pub skipped: Vec<SkippedGroup>,
}

/// A group whose width is not what the scores alone would give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjusted {
    /// Name of the group.
    pub group: String,
    /// Channels that the scores alone would leave.
    pub wanted: usize,
    /// Channels that stay.
    pub kept: usize,
    /// Why they differ.
    pub why: Adjustment,
}

/// Why a group's width is not what the scores alone would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adjustment {
    /// The nearest multiple was taken.
    Rounded,
    /// The group would have become narrower than it may.
    Floor,
    /// The target left room for some more channels.
    Refilled,
}

impl fmt::Display for Adjustment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rounded => "rounded to the nearest multiple",
            Self::Floor => "no narrower than allowed",
            Self::Refilled => "widened, as the target left room",
        })
    }
}

/// A group that does not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkippedGroup {
    /// Name of the group.
    pub group: String,
    /// Why.
    pub reason: String,
}

impl ChannelPlan {
    /// A plan that changes nothing but lists every group of the network, to be edited.
    pub fn identity(layout: &dyn Layout) -> Self {
        let keep_all = |group: ChannelGroup| KeptChannels {
            group: group.name,
            width: group.channels,
            kept: (0..group.channels).collect(),
        };
        Self { choice: None, groups: Coupling::of(layout).groups.into_iter().map(keep_all).collect() }
    }

    /// Number of channels removed, counted once per group.
    pub fn removed(&self) -> usize {
        self.groups.iter().map(|group| group.width - group.kept.len().min(group.width)).sum()
    }

    /// The network that the plan makes of `layout`.
    ///
    /// # Errors
    /// A plan that was made for another network, or would leave a group without channels.
    pub fn layout(&self, layout: &dyn Layout) -> Result<Box<dyn Layout>> {
        let narrow = layout.with_widths(&self.widths(layout)?);
        narrow.validate()?;
        Ok(narrow)
    }

    /// The exact size of the network that the plan makes of `layout`.
    ///
    /// # Errors
    /// As [`ChannelPlan::layout`].
    pub fn predict(&self, layout: &dyn Layout) -> Result<Size> {
        Ok(Size::of(&*self.layout(layout)?, None))
    }

    /// Input and output channels of every convolution in the network that the plan makes of `layout`.
    ///
    /// # Errors
    /// As [`ChannelPlan::layout`].
    pub fn widths(&self, layout: &dyn Layout) -> Result<Widths> {
        let coupling = Coupling::of(layout);
        let widths: Vec<usize> = self.kept(&coupling)?.iter().map(Vec::len).collect();
        Ok(conv_widths(&coupling, &widths))
    }

    /// The plan that does what this one and then `next` do. Of both choices the later one stays, with the size
    /// of the network that this plan was made for.
    ///
    /// # Errors
    /// A group of `next` that does not have the width which this plan leaves.
    pub fn then(&self, next: &Self) -> Result<Self> {
        let mut groups = self.groups.clone();
        for later in &next.groups {
            let Some(group) = groups.iter_mut().find(|group| group.group == later.group) else {
                groups.push(later.clone());
                continue;
            };
            if later.width != group.kept.len() || later.kept.iter().any(|&i| i >= later.width) {
                return Err(wrong_width(&later.group, later.width, group.kept.len()));
            }
            group.kept = later.kept.iter().map(|&i| group.kept[i]).collect();
        }
        let mut choice = next.choice.clone();
        if let (Some(choice), Some(first)) = (&mut choice, &self.choice) {
            choice.before = first.before;
        }
        Ok(Self { choice, groups })
    }

    /// The channels that stay of every group of `coupling`, after checking that the plan belongs to it.
    pub(super) fn kept(&self, coupling: &Coupling) -> Result<Vec<Vec<usize>>> {
        let mut listed: HashMap<&str, &KeptChannels> = HashMap::new();
        for group in &self.groups {
            if listed.insert(&group.group, group).is_some() {
                return Err(wrong(&group.group, "the plan lists this group twice"));
            }
        }
        let kept = coupling
            .groups
            .iter()
            .map(|group| match listed.remove(group.name.as_str()) {
                Some(kept) => kept.check(group),
                None => Ok((0..group.channels).collect()),
            })
            .collect::<Result<_>>()?;
        match self.groups.iter().find(|group| listed.contains_key(group.group.as_str())) {
            Some(stray) => Err(wrong(
                &stray.group,
                "no group of channels in this network has this name; make the plan from this checkpoint",
            )),
            None => Ok(kept),
        }
    }

    /// The record of this pruning for the model: `before` and `after` are the networks, `previous` is the record so far.
    pub(super) fn record(
        &self,
        before: &dyn Layout,
        after: &dyn Layout,
        previous: Option<&PruningRecord>,
    ) -> PruningRecord {
        let (before, after) = (Size::of(before, None), Size::of(after, None));
        let changed = self.groups.iter().filter(|group| group.kept.len() != group.width);
        let choice = self.choice.as_ref();
        PruningRecord::Channels(Box::new(ChannelRecord {
            method: ChannelMethod::Channels,
            channels: [before.channels, after.channels],
            parameters: [before.parameters, after.parameters],
            gflops: [before.gflops, after.gflops],
            widths: changed.map(|group| (group.group.clone(), [group.width, group.kept.len()])).collect(),
            criterion: choice.map(|choice| name(&choice.criterion)),
            scope: choice.map(|choice| name(&choice.scope)),
            target: choice.map(|choice| choice.target.record()),
            round_to: choice.map(|choice| choice.round_to),
            skipped: choice
                .map(|choice| choice.skipped.iter().map(|skipped| skipped.group.clone()).collect()),
            previous: previous.cloned().map(Box::new),
            other: Default::default(),
        }))
    }
}

impl KeptChannels {
    /// The channels that stay of `group`, if they are some of its channels, each once.
    fn check(&self, group: &ChannelGroup) -> Result<Vec<usize>> {
        if self.width != group.channels {
            return Err(wrong_width(&self.group, self.width, group.channels));
        }
        if self.kept.is_empty() {
            return Err(wrong(&self.group, "the plan leaves no channel; a group keeps at least one"));
        }
        let mut seen = vec![false; group.channels];
        for &channel in &self.kept {
            match seen.get_mut(channel) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return Err(wrong(&self.group, format!("the plan keeps channel {channel} twice"))),
                None => {
                    let last = group.channels - 1;
                    return Err(wrong(
                        &self.group,
                        format!("the plan keeps channel {channel}, but the last is {last}"),
                    ));
                }
            }
        }
        let is_identity = self.kept.iter().copied().eq(0..group.channels);
        match &group.fixed {
            Some(reason) if !is_identity => {
                Err(wrong(&self.group, format!("its channels have to stay as they are: {reason}")))
            }
            _ => Ok(self.kept.clone()),
        }
    }
}

fn wrong(group: &str, reason: impl Into<String>) -> PruneError {
    PruneError::ChannelPlan { group: group.to_owned(), reason: reason.into() }
}

fn wrong_width(group: &str, plan: usize, network: usize) -> PruneError {
    let reason = format!(
        "the plan was made for {plan} channels but the network has {network}; make the plan from this checkpoint"
    );
    wrong(group, reason)
}
