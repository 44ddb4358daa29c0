//! The same network with its channels in an order under which n:m loses less.
//!
//! n:m lets the weights of `m` consecutive input channels compete. The order of a network's channels is
//! arbitrary: if the outputs of a coupling group ([`Coupling`]) and the inputs that read them are reordered
//! together, the network computes the same. [`permute`] looks for the order of every group that keeps the largest
//! total score over all the convolutions that read it ([`search_permutation`]; Pool and Yu, "Channel Permutations
//! for N:M Sparsity", NeurIPS 2021). It runs before the pruning:
//!
//! ```
//! use rand::SeedableRng;
//! use yolo_model::{Architecture, Checkpoint};
//! use yolo_prune::{Method, PruneOptions, Structure, apply, permute, plan};
//!
//! let architecture = Architecture::variant("yolov5n", Some(80))?;
//! let dense = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0))?;
//! let structure = Structure::NofM { n: 2, m: 4 };
//! let options = PruneOptions { structure, ..PruneOptions::new(Method::Layer, 0.5) };
//! let (reordered, permuted) = permute(&dense, &options)?;
//! assert!(permuted.after > permuted.before);
//! let pruned = apply(&reordered, &plan(&reordered, &options)?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;
use yolo_model::{Model, Prunable};

#[cfg(feature = "nn")]
use crate::calibration::Calibration;
use crate::candidates::candidates;
use crate::channels::{ChannelGroup, ChannelPlan, Coupling, KeptChannels, SkippedGroup, remove};
use crate::error::{PruneError, Result};
use crate::fused::Fused;
use crate::measure::Measure;
use crate::options::PruneOptions;
use crate::pattern::{Scores, Structure, kept_score, search_permutation};
use crate::scores::scores;

/// A permutation and its gain. Scores are the magnitudes of those that the pruning ranks by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Permuted {
    /// The orders of the groups that change; carried out by [`remove`].
    pub plan: ChannelPlan,
    /// The groups whose order was searched, including those that are best unchanged.
    pub groups: Vec<PermutedGroup>,
    /// The groups that were not searched, and why.
    pub skipped: Vec<SkippedGroup>,
    /// Total score of all the convolutions that will be pruned.
    pub total: f64,
    /// The part of it that n:m keeps in the given order.
    pub before: f64,
    /// The part of it that n:m keeps in the order found; not less.
    pub after: f64,
}

/// A group whose order was searched.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PermutedGroup {
    /// Name of the group, see [`ChannelGroup::name`].
    pub group: String,
    /// Channels of the group.
    pub channels: usize,
    /// Names of the convolutions that read it and will be pruned.
    pub consumers: Vec<String>,
    /// Score that n:m keeps of what reads the group, in the given order.
    pub before: f64,
    /// The same in the order found; not less.
    pub after: f64,
}

/// Why channels cannot be reordered for a pruning. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PermuteError {
    /// Only n:m depends on the order of channels.
    #[error("the order of channels makes no difference to {structure}; permute for n:m, such as 2:4")]
    Structure {
        /// The structure, as text.
        structure: String,
    },
    /// An error that the pruning would have as well.
    #[error(transparent)]
    Prune(#[from] PruneError),
}

/// Reorders the channels of `model` so that the pruning with `options`, whose structure is n:m, keeps more of
/// the total score. The result computes the same function, has the same sizes and the same record.
///
/// Each coupling group is searched on its own, by the scores of the convolutions that `options` prune; criteria other
/// than magnitude and reconstruction, which searches by magnitudes, need [`permute_calibrated`]. A group stays as it is
/// if something fixes it, if nothing that reads it is pruned, or if groups of `m` input channels would reach across its
/// ends. The result depends on the input alone.
///
/// # Errors
/// A structure other than n:m; whatever [`crate::plan_calibrated`] refuses: patterns that match nothing or
/// everything, weights that are not numbers, a criterion that needs images without any, tensors that are not those
/// of the architecture.
pub fn permute<M: Prunable>(
    model: &M,
    options: &PruneOptions,
) -> std::result::Result<(M, Permuted), PermuteError> {
    permuted(model, options, None)
}

/// [`permute`] with scores by what the network does on calibration images.
///
/// # Errors
/// As [`permute`]; a device that does not return its results.
#[cfg(feature = "nn")]
pub fn permute_calibrated<M: Prunable>(
    model: &M,
    options: &PruneOptions,
    calibration: &mut Calibration,
) -> std::result::Result<(M, Permuted), PermuteError> {
    permuted(model, options, Some(calibration))
}

fn permuted<M: Prunable>(
    model: &M,
    options: &PruneOptions,
    measure: Option<&mut dyn Measure>,
) -> std::result::Result<(M, Permuted), PermuteError> {
    let Structure::NofM { n, m } = options.structure.check().map_err(PruneError::from)? else {
        return Err(PermuteError::Structure { structure: options.structure.to_string() });
    };
    let permuted = find(model, options, measure, [n, m])?;
    let reordered = remove(model, &permuted.plan)?;
    Ok((reordered, permuted))
}

fn find(
    model: &dyn Model,
    options: &PruneOptions,
    measure: Option<&mut dyn Measure>,
    [n, m]: [usize; 2],
) -> Result<Permuted> {
    model.check_tensors()?;
    let (candidates, _) = candidates(model.layout(), options)?;
    let fused = Fused::of(model)?;
    let scores = scores(model, Some(&fused), &candidates, options, measure)?;
    let pruned: Pruned = candidates
        .iter()
        .zip(&scores)
        .map(|(candidate, values)| {
            let view = Scores { values: values.as_ref(), shape: candidate.layer.shape };
            (candidate.conv.name.as_str(), view)
        })
        .collect();
    let [total, before] = totals(&pruned, candidates.iter().map(|c| c.conv.name.as_str()), [n, m])?;

    let coupling = Coupling::of(model.layout());
    let searched: Vec<Searched> =
        coupling.groups.par_iter().map(|group| search(group, &pruned, [n, m])).collect::<Result<_>>()?;
    let (mut orders, mut groups, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for searched in searched {
        match searched {
            Searched::Found { group, order } => {
                if !order.iter().copied().eq(0..order.len()) {
                    let width = group.channels;
                    orders.push(KeptChannels { group: group.group.clone(), width, kept: order });
                }
                groups.push(group);
            }
            Searched::Skipped(group) => skipped.push(group),
        }
    }
    // Groups of m lie within what reads one coupling group, so that gains add up.
    let gain: f64 = groups.iter().map(|group| group.after - group.before).sum();
    let plan = ChannelPlan { choice: None, groups: orders };
    Ok(Permuted { plan, groups, skipped, total, before, after: before + gain })
}

/// The scores of every convolution that will be pruned, by name.
type Pruned<'a> = HashMap<&'a str, Scores<'a>>;

/// The total score of all convolutions, and what n:m keeps of it in the given order.
fn totals<'a>(pruned: &Pruned, names: impl Iterator<Item = &'a str>, [n, m]: [usize; 2]) -> Result<[f64; 2]> {
    let views: Vec<Scores> = names.filter_map(|name| pruned.get(name).copied()).collect();
    let of_conv = |view: &Scores| -> Result<[f64; 2]> {
        let magnitudes: Vec<f32> = view.values.iter().map(|value| value.abs()).collect();
        let given: Vec<usize> = (0..view.shape[1]).collect();
        let kept = kept_score(&[Scores { values: &magnitudes, shape: view.shape }], &given, n, m)?;
        Ok([magnitudes.iter().map(|value| f64::from(*value)).sum(), kept])
    };
    let sums: Vec<[f64; 2]> = views.par_iter().map(of_conv).collect::<Result<_>>()?;
    Ok(sums.iter().fold([0.0; 2], |[total, kept], sum| [total + sum[0], kept + sum[1]]))
}

/// The outcome for a group.
enum Searched {
    Found { group: PermutedGroup, order: Vec<usize> },
    Skipped(SkippedGroup),
}

/// Searches the order of one group.
fn search(group: &ChannelGroup, pruned: &Pruned, [n, m]: [usize; 2]) -> Result<Searched> {
    let (mut consumers, mut places) = (Vec::new(), Vec::new());
    for consumer in &group.consumers {
        if let Some(scores) = pruned.get(consumer.conv.name.as_str()) {
            consumers.push(consumer.conv.name.clone());
            places.extend(consumer.offsets.iter().map(|offset| (*scores, *offset)));
        }
    }
    if let Some(reason) = stays(group, &places, m) {
        return Ok(Searched::Skipped(SkippedGroup { group: group.name.clone(), reason }));
    }
    let slices: Vec<Vec<f32>> =
        places.iter().map(|(scores, offset)| slice(scores, *offset, group.channels)).collect();
    let views: Vec<Scores> = slices
        .iter()
        .zip(&places)
        .map(|(values, (scores, _))| {
            let [out, _, height, width] = scores.shape;
            Scores { values, shape: [out, group.channels, height, width] }
        })
        .collect();
    let given: Vec<usize> = (0..group.channels).collect();
    let order = search_permutation(&views, n, m)?;
    let before = kept_score(&views, &given, n, m)?;
    let after = kept_score(&views, &order, n, m)?;
    let group =
        PermutedGroup { group: group.name.clone(), channels: group.channels, consumers, before, after };
    Ok(Searched::Found { group, order })
}

/// Why a group, which pruned convolutions read at `places`, stays as it is.
fn stays(group: &ChannelGroup, places: &[(Scores, usize)], m: usize) -> Option<String> {
    if let Some(reason) = &group.fixed {
        return Some(format!("its channels have to stay as they are: {reason}"));
    }
    if places.is_empty() {
        return Some("no convolution that reads it is pruned".to_owned());
    }
    if !group.channels.is_multiple_of(m) {
        return Some(format!("its {} channels are not a multiple of {m}", group.channels));
    }
    let (_, offset) = places.iter().find(|(_, offset)| !offset.is_multiple_of(m))?;
    Some(format!("a convolution reads it from input channel {offset}, which is not a multiple of {m}"))
}

/// The magnitudes of the scores of input channels `offset..offset + channels`, `[out, channels, kh, kw]`.
fn slice(scores: &Scores, offset: usize, channels: usize) -> Vec<f32> {
    let [_, inputs, height, width] = scores.shape;
    let taps = height * width;
    let rows = scores.values.chunks((inputs * taps).max(1));
    let read = rows.flat_map(|row| &row[offset * taps..(offset + channels) * taps]);
    read.map(|value| value.abs()).collect()
}
