//! Removal of channels: model and plan in, smaller model out.

use std::collections::HashMap;

use yolo_model::architecture::ConvRef;
use yolo_model::weights::{HostTensor, StateDict, Values};
use yolo_model::{Model, Prunable, Widths};

use super::coupling::{ConvInput, Coupling, InputSlice, Passage, PassageKind};
use super::plan::ChannelPlan;
use crate::error::Result;

/// The model without the channels that the plan removes, with the others in the plan's order, and the plan on
/// its record. A plan that removes nothing leaves the record as it is.
///
/// Rows of weights, biases and batch normalisation follow the kept outputs, columns the kept inputs; everything
/// else stays bit for bit. Works on fused and unfused networks. The contribution of the removed channels is lost
/// unless [`super::compensate()`] moved its mean first.
///
/// # Errors
/// A plan that was made for another network or leaves a group without channels; a model whose tensors are not those of
/// its layout.
pub fn remove<M: Prunable>(model: &M, plan: &ChannelPlan) -> Result<M> {
    let (weights, widths) = narrowed(model, plan)?;
    let mut smaller = model.with_widths(&widths, weights);
    smaller.layout().validate()?;
    smaller.check_tensors()?;
    if plan.removed() > 0 {
        let record = plan.record(model.layout(), smaller.layout(), model.pruning());
        smaller.set_pruning(Some(record));
    }
    Ok(smaller)
}

/// The tensors that stay, and the widths that they have.
fn narrowed(model: &dyn Model, plan: &ChannelPlan) -> Result<(StateDict, Widths)> {
    model.check_tensors()?;
    let coupling = Coupling::of(model.layout());
    let kept = plan.kept(&coupling)?;
    let picks = picks(&coupling, &kept);
    let mut weights = StateDict::new();
    for (name, tensor) in model.weights().iter() {
        let tensor = match picks.get(name) {
            Some(Pick::Rows(rows)) => pick(tensor, rows, None),
            Some(Pick::RowsAndColumns(rows, columns)) => pick(tensor, rows, Some(columns)),
            None => tensor.clone(),
        };
        weights.insert(name, tensor);
    }
    Ok((weights, plan.widths(model.layout())?))
}

/// The part of a tensor that is kept.
enum Pick {
    /// Entries of a vector over the output channels.
    Rows(Vec<usize>),
    /// Rows and columns of a weight `[out, in / groups, height, width]`.
    RowsAndColumns(Vec<usize>, Vec<usize>),
}

/// The part kept of every tensor that has channels, by name.
fn picks(coupling: &Coupling, kept: &[Vec<usize>]) -> HashMap<String, Pick> {
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for (index, group) in coupling.groups.iter().enumerate() {
        group_of.extend(group.producers.iter().map(|conv| (conv.name.as_str(), index)));
    }
    let mut picks = HashMap::new();
    let through: HashMap<&str, &Passage> = coupling.passages.iter().map(|p| (p.kind.name(), p)).collect();
    for input in &coupling.inputs {
        let conv = &input.conv;
        if let Some(passage) = through.get(conv.name.as_str()) {
            let rows = InputSlice::channels_kept(&passage.slices, kept);
            pick_rows(&mut picks, conv, &rows);
            picks.insert(conv.weight(), Pick::Rows(rows));
            continue;
        }
        let rows = match group_of.get(conv.name.as_str()) {
            Some(&group) => coupling.groups[group].rows(conv, &kept[group]),
            None => (0..conv.spec.out_channels).collect(),
        };
        pick_rows(&mut picks, conv, &rows);
        picks.insert(conv.weight(), Pick::RowsAndColumns(rows, columns(input, kept)));
    }
    for passage in &coupling.passages {
        if let PassageKind::Norm(norm) = &passage.kind {
            let rows = InputSlice::channels_kept(&passage.slices, kept);
            picks.extend(VECTORS.map(|vector| (norm.tensor(vector), Pick::Rows(rows.clone()))));
        }
    }
    picks
}

/// Tensors of a batch normalisation with a number per channel.
const VECTORS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// The bias of a convolution and its batch normalisation.
fn pick_rows(picks: &mut HashMap<String, Pick>, conv: &ConvRef, rows: &[usize]) {
    picks.extend(VECTORS.map(|vector| (conv.bn(vector), Pick::Rows(rows.to_vec()))));
    picks.insert(conv.bias(), Pick::Rows(rows.to_vec()));
}

/// The input channels that stay, in order.
fn columns(input: &ConvInput, kept: &[Vec<usize>]) -> Vec<usize> {
    if input.conv.spec.groups != 1 {
        // All its inputs stay, and every row has only its own group's.
        return (0..input.conv.spec.weight_shape()[1]).collect();
    }
    InputSlice::channels_kept(&input.slices, kept)
}

/// The tensor of these rows (first dimension) and, where given, columns (second dimension).
fn pick(tensor: &HostTensor, rows: &[usize], columns: Option<&[usize]>) -> HostTensor {
    let mut shape = tensor.shape.clone();
    shape[0] = rows.len();
    let row: usize = tensor.shape[1..].iter().product();
    let (columns, length) = match columns {
        Some(columns) => {
            shape[1] = columns.len();
            (columns, tensor.shape[2..].iter().product())
        }
        None => (&[0][..], row),
    };
    let starts = rows.iter().flat_map(|r| columns.iter().map(move |c| r * row + c * length));
    let values = match &tensor.values {
        Values::F32(v) => Values::F32(starts.flat_map(|start| &v[start..start + length]).copied().collect()),
        Values::I64(v) => Values::I64(starts.flat_map(|start| &v[start..start + length]).copied().collect()),
    };
    HostTensor { shape, values }
}
