//! Compensation: the mean of a removed channel moves into what follows its readers.

use std::collections::HashMap;

use yolo_model::architecture::ConvRef;
use yolo_model::program::{OperationKind, Program};
use yolo_model::{Model, Prunable};

use super::coupling::{ConvInput, Coupling};
use super::plan::ChannelPlan;
use crate::error::{PruneError, Result};

/// Mean activations of a network on images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelMeans {
    /// By convolution, the mean of every output channel, behind the activation.
    pub outputs: HashMap<String, Vec<f64>>,
    /// By convolution, the mean of every input channel. Optional, but exact if given: without it the
    /// mean is worked out from the outputs, and a max-pool's is taken for that of what it pools, which is lower.
    pub inputs: HashMap<String, Vec<f64>>,
}

/// The dense network with the means of the channels that `plan` removes moved into their readers; [`super::remove`]
/// comes after it.
///
/// A reader loses `δ[o] = Σ_c E[a_c] · Σ_taps W[o, c]`, the mean of what the removed channels `c` contribute.
/// It is added to the bias of a fused or bare convolution, and taken off the running mean of a batch normalisation, also of one
/// that stands alone behind the convolution. The mean of the reader's output then stays, except that near the border of a padded
/// convolution fewer taps reach the map: there `δ` is too much, for a 3×3 kernel by a third along edges.
///
/// Training moves the running mean anyway; the compensation is for a network that runs without training, or that is
/// trained from there.
///
/// # Errors
/// A plan that was made for another network, means that are missing, not finite or of another length.
pub fn compensate<M: Prunable>(model: &M, plan: &ChannelPlan, means: &ChannelMeans) -> Result<M> {
    let mut compensated = model.clone();
    let coupling = Coupling::of(model.layout());
    for Lost { conv, of_outputs } in lost(model, &coupling, plan, means)? {
        move_into(&mut compensated, &coupling, &conv, &of_outputs)?;
    }
    Ok(compensated)
}

/// What a convolution's outputs lose on average.
struct Lost {
    conv: ConvRef,
    of_outputs: Vec<f64>,
}

/// What every convolution that reads removed channels loses.
fn lost(
    model: &dyn Model,
    coupling: &Coupling,
    plan: &ChannelPlan,
    means: &ChannelMeans,
) -> Result<Vec<Lost>> {
    model.check_tensors()?;
    let stays: Vec<Vec<bool>> = plan
        .kept(coupling)?
        .iter()
        .zip(&coupling.groups)
        .map(|(kept, group)| {
            let mut stays = vec![false; group.channels];
            kept.iter().for_each(|&channel| stays[channel] = true);
            stays
        })
        .collect();
    let program = model.layout().program();
    let values = means.of_values(&program)?;
    let mut all = Vec::new();
    for (input, (index, conv)) in coupling.inputs.iter().zip(program.convs()) {
        let gone = removed_columns(input, &stays);
        // A depthwise convolution loses the channels that are made of them, and no other.
        if gone.is_empty() || conv.spec.is_depthwise() {
            continue;
        }
        let of_input = means.of_input(conv, &values[program.operations[index].inputs[0]])?;
        all.push(Lost { conv: conv.clone(), of_outputs: lost_of(model, conv, &gone, of_input)? });
    }
    Ok(all)
}

/// Input channels of a convolution that go.
fn removed_columns(input: &ConvInput, stays: &[Vec<bool>]) -> Vec<usize> {
    let mut gone = Vec::new();
    for slice in &input.slices {
        let Some(group) = slice.group else { continue };
        let removed = stays[group].iter().enumerate().filter(|(_, stays)| !**stays);
        gone.extend(removed.map(|(channel, _)| slice.offset + channel));
    }
    gone
}

/// `δ` of every output channel.
fn lost_of(model: &dyn Model, conv: &ConvRef, gone: &[usize], means: &[f64]) -> Result<Vec<f64>> {
    let [_, inputs, height, width] = conv.spec.weight_shape();
    let taps = height * width;
    if let Some(channel) = gone.iter().find(|&&channel| !means[channel].is_finite()) {
        let reason = format!(
            "the mean of its input channel {channel} is not known; measure the outputs of all convolutions"
        );
        return Err(means_error(conv, reason));
    }
    let rows = model.weights().f32s(&conv.weight())?.chunks_exact((inputs * taps).max(1));
    let row_loss = |row: &[f32]| -> f64 {
        let of_channel = |&channel: &usize| {
            let kernel = &row[channel * taps..(channel + 1) * taps];
            means[channel] * kernel.iter().map(|w| f64::from(*w)).sum::<f64>()
        };
        gone.iter().map(of_channel).sum()
    };
    Ok(rows.map(row_loss).collect())
}

/// Adds `lost` to what follows the products of `conv`.
fn move_into(model: &mut impl Prunable, coupling: &Coupling, conv: &ConvRef, lost: &[f64]) -> Result<()> {
    let has_bias = conv.has_bias(model.layout().is_fused());
    let behind = coupling.produced_by(&conv.name).and_then(|group| coupling.norm_behind(group));
    let (name, sign, first) = match behind {
        _ if has_bias => (conv.bias(), 1.0, 0),
        _ if !conv.is_bare => (conv.bn("running_mean"), -1.0, 0),
        Some((norm, first)) => (norm.tensor("running_mean"), -1.0, first),
        // There is no place for it.
        None => return Ok(()),
    };
    model.weights().require(&name)?;
    if let Some(tensor) = model.weights_mut().get_mut(&name) {
        for (value, lost) in tensor.f32s_mut()?.iter_mut().skip(first).zip(lost) {
            *value = (f64::from(*value) + sign * lost) as f32;
        }
    }
    Ok(())
}

impl ChannelMeans {
    /// Means of every value's channels; NaN if they are not known, like those of the image.
    fn of_values(&self, program: &Program) -> Result<Vec<Vec<f64>>> {
        let mut values = vec![vec![f64::NAN; program.channels[0]]];
        for operation in &program.operations {
            let inputs = operation.inputs.iter().map(|&input| values[input].as_slice());
            values.push(match &operation.kind {
                OperationKind::Conv(conv) => self.of_output(conv)?,
                OperationKind::Add => inputs.fold(Vec::new(), |sum, input| match sum.is_empty() {
                    true => input.to_vec(),
                    false => sum.iter().zip(input).map(|(a, b)| a + b).collect(),
                }),
                OperationKind::Concat
                | OperationKind::Detach
                | OperationKind::MaxPool { .. }
                | OperationKind::Pool(_)
                | OperationKind::Upsample { .. } => inputs.collect::<Vec<_>>().concat(),
                OperationKind::SpaceToDepth { size, .. } => {
                    inputs.collect::<Vec<_>>().concat().repeat(size * size)
                }
                OperationKind::Pick { channels } => {
                    let input = inputs.collect::<Vec<_>>().concat();
                    channels.iter().map(|&channel| input[channel]).collect()
                }
                // Their means have to be measured.
                OperationKind::Norm(_)
                | OperationKind::Transposed(_)
                | OperationKind::Attention(_)
                | OperationKind::ZeroPad { .. }
                | OperationKind::DepthToSpace { .. } => vec![f64::NAN; program.channels[values.len()]],
            });
        }
        Ok(values)
    }

    fn of_output(&self, conv: &ConvRef) -> Result<Vec<f64>> {
        let channels = conv.spec.out_channels;
        match self.outputs.get(&conv.name) {
            Some(means) if means.len() != channels => {
                Err(means_error(conv, format!("{} means for {channels} output channels", means.len())))
            }
            Some(means) => Ok(means.clone()),
            None => Ok(vec![f64::NAN; channels]),
        }
    }

    fn of_input<'a>(&'a self, conv: &ConvRef, worked_out: &'a [f64]) -> Result<&'a [f64]> {
        match self.inputs.get(&conv.name) {
            Some(means) if means.len() != conv.spec.in_channels => {
                let channels = conv.spec.in_channels;
                Err(means_error(conv, format!("{} means for {channels} input channels", means.len())))
            }
            Some(means) => Ok(means),
            None => Ok(worked_out),
        }
    }
}

fn means_error(conv: &ConvRef, reason: impl Into<String>) -> PruneError {
    PruneError::ChannelMeans { name: conv.name.clone(), reason: reason.into() }
}
