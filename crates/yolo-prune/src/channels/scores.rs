//! Scores: the importance of each channel.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use yolo_model::architecture::{ConvRef, NormRef};
use yolo_model::weights::StateDict;
use yolo_model::{Model, fused_weights};

use super::coupling::{ChannelGroup, Coupling};
use crate::error::{PruneError, Result};

/// The criterion that ranks channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// Scale of batch normalisation.
    BnScale,
    /// Sum of absolute weights.
    L1,
    /// Root of the sum of squared weights.
    L2,
    /// First-order change of the loss.
    Taylor,
    /// Magnitude of the output on images.
    Activation,
}

/// The parameters whose removal [`ChannelScores::taylor`] estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaylorOf {
    /// Weights of the producers, and their bias once fused.
    Weights,
    /// Scale and shift of batch normalisation, and weights and bias of bare convolutions; needs a network that is not
    /// fused.
    BatchNorm,
}

/// One score per channel of every group; channels with small scores are removed first.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelScores {
    /// What the scores measure.
    pub criterion: Criterion,
    /// Scores by the group's name, one per channel, each at least 0.
    pub groups: BTreeMap<String, Vec<f64>>,
}

impl ChannelScores {
    /// `|γ|` of batch normalisation, averaged over the producers of a group (network slimming, Liu et al. 2017).
    ///
    /// # Errors
    /// A network or convolution without batch normalisation; a value that is not finite.
    pub fn bn_scale(model: &dyn Model) -> Result<Self> {
        if model.layout().is_fused() {
            return Err(scores_error(
                "batch normalisation",
                "the network is fused, so its scale is gone; score the checkpoint before fusing",
            ));
        }
        let weights = model.weights();
        Self::of_groups(Criterion::BnScale, model, |group, behind| {
            // Nobody chooses among channels that stay.
            if group.fixed.is_some() {
                return Ok(vec![0.0; group.channels]);
            }
            mean_over_producers(group, |conv| {
                if let Some((norm, first)) = behind.filter(|_| conv.is_bare) {
                    let scales = weights.f32s(&norm.tensor("weight"))?.iter().skip(first);
                    return Ok(scales.take(conv.spec.out_channels).map(|g| f64::from(g.abs())).collect());
                }
                if conv.is_bare {
                    let reason = "it has no batch normalisation, so no scale; score the weights";
                    return Err(scores_error(&conv.name, reason));
                }
                Ok(weights.f32s(&conv.bn("weight"))?.iter().map(|g| f64::from(g.abs())).collect())
            })
        })
    }

    /// Sum of the absolute weights that make a channel, over all producers, with the scale of batch
    /// normalisation folded in; `with_consumers` adds those that read it.
    ///
    /// # Errors
    /// A tensor that is missing, a value that is not finite.
    pub fn l1(model: &dyn Model, with_consumers: bool) -> Result<Self> {
        Self::norm(Criterion::L1, model, with_consumers, |w| f64::from(w.abs()), |sum| sum)
    }

    /// Root of the sum of the squared weights that make a channel, over all producers, with the scale of batch
    /// normalisation folded in; `with_consumers` adds those that read it.
    ///
    /// # Errors
    /// A tensor that is missing, a value that is not finite.
    pub fn l2(model: &dyn Model, with_consumers: bool) -> Result<Self> {
        Self::norm(Criterion::L2, model, with_consumers, |w| f64::from(w).powi(2), f64::sqrt)
    }

    fn norm(
        criterion: Criterion,
        model: &dyn Model,
        with_consumers: bool,
        term: impl Fn(f32) -> f64,
        finish: impl Fn(f64) -> f64,
    ) -> Result<Self> {
        let weights = fused_weights(model)?;
        Self::of_groups(criterion, model, |group, behind| {
            let factors = match behind {
                Some((norm, first)) => norm.scales(&weights)?.split_off(first),
                None => vec![1.0; group.channels],
            };
            let mut sums = vec![0.0; group.channels];
            for conv in &group.producers {
                let tensor = weights.f32s(&conv.weight())?;
                for (index, row) in tensor.chunks_exact(row_length(conv)).enumerate() {
                    let channel = index % group.channels;
                    let factor = if conv.is_bare { factors[channel] } else { 1.0 };
                    sums[channel] += row.iter().map(|w| term(*w * factor)).sum::<f64>();
                }
            }
            for consumer in group.consumers.iter().filter(|_| with_consumers) {
                let shape = consumer.conv.spec.weight_shape();
                let taps = shape[2] * shape[3];
                for row in weights.f32s(&consumer.conv.weight())?.chunks_exact(row_length(&consumer.conv)) {
                    for &offset in consumer.offsets.iter().filter(|_| consumer.conv.spec.groups == 1) {
                        let columns = row[offset * taps..].chunks_exact(taps);
                        for (sum, column) in sums.iter_mut().zip(columns) {
                            *sum += column.iter().map(|w| term(*w)).sum::<f64>();
                        }
                    }
                }
            }
            Ok(sums.into_iter().map(&finish).collect())
        })
    }

    /// `|Σ w · ∂L/∂w|` over the parameters that a channel would lose (Molchanov et al. 2019, by groups): the
    /// first-order change of the loss. `gradients` are by tensor name, of the same network, accumulated over as
    /// many images as wanted.
    ///
    /// While batch normalisation uses its batch's statistics, the weights before it have a sum near zero by
    /// construction; use [`TaylorOf::BatchNorm`] or gradients of a frozen normalisation then.
    ///
    /// # Errors
    /// [`TaylorOf::BatchNorm`] of a fused network; a gradient that is missing, has another length or is not
    /// finite.
    pub fn taylor(model: &dyn Model, gradients: &HashMap<String, Vec<f32>>, of: TaylorOf) -> Result<Self> {
        let fused = model.layout().is_fused();
        if fused && of == TaylorOf::BatchNorm {
            return Err(scores_error(
                "batch normalisation",
                "the network is fused, so it has no scale and shift; score its weights",
            ));
        }
        Self::of_groups(Criterion::Taylor, model, |group, _| {
            let mut change = vec![0.0; group.channels];
            for conv in &group.producers {
                let rows = conv.spec.out_channels;
                let sums = |name: String, sums: &mut [f64]| {
                    add_products(model.weights(), gradients, (&name, rows), sums)
                };
                if of == TaylorOf::BatchNorm && !conv.is_bare {
                    sums(conv.bn("weight"), &mut change)?;
                    sums(conv.bn("bias"), &mut change)?;
                    continue;
                }
                sums(conv.weight(), &mut change)?;
                if conv.has_bias(fused) {
                    sums(conv.bias(), &mut change)?;
                }
            }
            Ok(change.into_iter().map(f64::abs).collect())
        })
    }

    /// A statistic of the outputs, such as the mean of `|a|` or of `a²`, averaged over the producers of a group.
    /// `statistics` are by convolution, one per output channel.
    ///
    /// # Errors
    /// Statistics that are missing, have another length, are negative or not finite.
    pub fn activation(model: &dyn Model, statistics: &HashMap<String, Vec<f64>>) -> Result<Self> {
        Self::of_groups(Criterion::Activation, model, |group, _| {
            mean_over_producers(group, |conv| {
                let found = statistics.get(&conv.name).ok_or_else(|| {
                    scores_error(&conv.name, "no statistics of its output were measured; measure all of them")
                })?;
                Ok(found.clone())
            })
        })
    }

    /// The scores divided by the mean of their group, so that groups can compete. Groups without any score stay.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        for scores in self.groups.values_mut() {
            let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
            if mean > 0.0 {
                scores.iter_mut().for_each(|score| *score /= mean);
            }
        }
        self
    }

    fn of_groups(
        criterion: Criterion,
        model: &dyn Model,
        score: impl Fn(&ChannelGroup, Option<(&NormRef, usize)>) -> Result<Vec<f64>>,
    ) -> Result<Self> {
        model.check_tensors()?;
        let mut groups = BTreeMap::new();
        let coupling = Coupling::of(model.layout());
        for (index, group) in coupling.groups.iter().enumerate() {
            let scores = score(group, coupling.norm_behind(index))?;
            if let Some(bad) = scores.iter().find(|score| !(score.is_finite() && **score >= 0.0)) {
                let reason = format!("a channel has the score {bad}; scores are finite and not negative");
                return Err(scores_error(&group.name, reason));
            }
            groups.insert(group.name.clone(), scores);
        }
        Ok(Self { criterion, groups })
    }
}

fn row_length(conv: &ConvRef) -> usize {
    conv.spec.weight_shape()[1..].iter().product::<usize>().max(1)
}

fn mean_over_producers(
    group: &ChannelGroup,
    values: impl Fn(&ConvRef) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    let mut means = vec![0.0; group.channels];
    let copies: usize = group.producers.iter().map(|conv| group.copies(conv)).sum();
    for conv in &group.producers {
        let (values, channels) = (values(conv)?, conv.spec.out_channels);
        if values.len() != channels {
            let reason = format!("{} values for {channels} output channels", values.len());
            return Err(scores_error(&conv.name, reason));
        }
        for (index, value) in values.into_iter().enumerate() {
            means[index % group.channels] += value / copies as f64;
        }
    }
    Ok(means)
}

/// Adds `Σ w · g` of each of the `rows` rows of the tensor `name` to `sums`: row `j` to that of channel `j mod channels`.
fn add_products(
    weights: &StateDict,
    gradients: &HashMap<String, Vec<f32>>,
    (name, rows): (&str, usize),
    sums: &mut [f64],
) -> Result<()> {
    let values = weights.f32s(name)?;
    let gradient = gradients
        .get(name)
        .ok_or_else(|| scores_error(name, "it has no gradient; give those of every parameter"))?;
    if gradient.len() != values.len() {
        let reason = format!("{} gradients for {} values", gradient.len(), values.len());
        return Err(scores_error(name, reason));
    }
    let (row, channels) = (values.len() / rows.max(1), sums.len().max(1));
    let rows = values.chunks_exact(row.max(1)).zip(gradient.chunks_exact(row.max(1)));
    for (index, (values, gradients)) in rows.enumerate() {
        sums[index % channels] +=
            values.iter().zip(gradients).map(|(w, g)| f64::from(*w) * f64::from(*g)).sum::<f64>();
    }
    Ok(())
}

pub(super) fn scores_error(name: &str, reason: impl Into<String>) -> PruneError {
    PruneError::ChannelScores { name: name.to_owned(), reason: reason.into() }
}
