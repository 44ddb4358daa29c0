//! Images through a network, one convolution at a time, once with the dense weights and once with those that a
//! visitor chose for the convolutions before.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_model::Layout;
use yolo_model::architecture::ConvRef;
use yolo_model::program::OperationKind;
use yolo_model::weights::StateDict;
use yolo_nn::{apply_with, fused_conv, interpret};

use super::CalibrationImages;
use crate::error::Result;
use crate::fused::Fused;

/// A convolution with what it sees.
pub(crate) struct ConvVisit<'a> {
    /// Which convolution.
    pub(crate) conv: &'a ConvRef,
    /// Its input in the dense network, per batch `[n, C, H, W]`.
    pub(crate) dense: &'a [Tensor<4>],
    /// Its input after the weights chosen so far; none if nothing was changed before it.
    pub(crate) pruned: Option<&'a [Tensor<4>]>,
}

/// The weights of a fused convolution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConvValues {
    /// `[out, in, kh, kw]`, row-major.
    pub(crate) weight: Vec<f32>,
    /// `[out]`.
    pub(crate) bias: Vec<f32>,
}

/// A value of the network: its batches in the dense network and, if they differ, in the pruned one.
#[derive(Clone)]
struct Value {
    dense: Vec<Tensor<4>>,
    pruned: Option<Vec<Tensor<4>>>,
}

impl Value {
    fn pruned(&self) -> &[Tensor<4>] {
        self.pruned.as_deref().unwrap_or(&self.dense)
    }
}

/// Calls `visit` with every convolution of a fused network and its input, in order of execution. If `visit` returns
/// weights, later convolutions see the outputs of those as `pruned`. Values that nobody reads any more are
/// dropped batch by batch, so that memory holds the widest cut through the network, twice.
///
/// # Errors
/// Those of `visit`; images of other channels; a tensor that is missing.
pub(crate) fn walk(
    fused: &Fused,
    images: &CalibrationImages,
    device: &Device,
    visit: impl FnMut(&ConvVisit) -> Result<Option<ConvValues>>,
) -> Result<()> {
    walk_observed(fused, images, device, visit, |_, _| Ok(()))
}

/// As [`walk`]; `observe` sees what every convolution makes in the dense network, behind the activation, per batch
/// `[n, C, H, W]`.
///
/// # Errors
/// Those of `visit` and `observe`; images of other channels; a tensor that is missing.
pub(crate) fn walk_observed(
    fused: &Fused,
    images: &CalibrationImages,
    device: &Device,
    mut visit: impl FnMut(&ConvVisit) -> Result<Option<ConvValues>>,
    mut observe: impl FnMut(&ConvRef, &[Tensor<4>]) -> Result<()>,
) -> Result<()> {
    images.check_channels(fused.program.channels[0])?;
    let dense = images.batches().iter().map(|batch| batch.tensor(device)).collect();
    let input = Value { dense, pruned: None };
    interpret(&fused.program, &[], input, |_, operation, mut inputs| match &operation.kind {
        OperationKind::Conv(conv) => {
            let input = inputs.remove(0);
            let seen = ConvVisit { conv, dense: &input.dense, pruned: input.pruned.as_deref() };
            let chosen = visit(&seen)?;
            let output = convolve(conv, input, &fused.weights, chosen.as_ref(), device)?;
            observe(conv, &output.dense)?;
            Ok(output)
        }
        kind => others(kind, &inputs, &fused.weights),
    })
    .map(drop)
}

/// Bytes that calibration holds of an image of `[height, width]` at the widest cut through the network, for both
/// streams.
pub fn bytes_per_image(layout: &dyn Layout, size: [usize; 2]) -> usize {
    let program = layout.program();
    let mut readers: Vec<usize> = program.readers().iter().map(Vec::len).collect();
    let sizes = program.sizes(size);
    let floats = |value: usize| program.channels[value] * sizes[value][0] * sizes[value][1];
    let mut live = floats(0);
    let mut widest = live;
    for (index, operation) in program.operations.iter().enumerate() {
        // A convolution gives up a batch of its input once the batch is through; the others need both at once.
        let is_conv = matches!(operation.kind, OperationKind::Conv(_));
        let before = live;
        for &input in &operation.inputs {
            readers[input] -= 1;
            live -= if readers[input] == 0 { floats(input) } else { 0 };
        }
        live += floats(index + 1);
        widest = widest.max(if is_conv { before.max(live) } else { before + floats(index + 1) });
    }
    2 * widest * size_of::<f32>()
}

/// Runs a convolution over all batches of its input, which it uses up.
fn convolve(
    conv: &ConvRef,
    input: Value,
    fused: &StateDict,
    chosen: Option<&ConvValues>,
    device: &Device,
) -> Result<Value> {
    let dense = ConvValues {
        weight: fused.f32s(&conv.weight())?.to_vec(),
        bias: conv.fused_bias(fused)?.into_owned(),
    };
    let is_changed = input.pruned.is_some() || chosen.is_some();
    let pruned = is_changed.then(|| {
        let seen = input.pruned.clone().unwrap_or_else(|| input.dense.clone());
        run(conv, seen, chosen.unwrap_or(&dense), device)
    });
    drop(input.pruned);
    Ok(Value { dense: run(conv, input.dense, &dense, device), pruned })
}

fn run(conv: &ConvRef, batches: Vec<Tensor<4>>, values: &ConvValues, device: &Device) -> Vec<Tensor<4>> {
    let spec = &conv.spec;
    let weight = Tensor::<4>::from_data(TensorData::new(values.weight.clone(), spec.weight_shape()), device);
    let bias = Tensor::<1>::from_data(TensorData::new(values.bias.clone(), [spec.out_channels]), device);
    let forward = |x: Tensor<4>| fused_conv(spec, x, weight.clone(), bias.clone());
    batches.into_iter().map(forward).collect()
}

/// Runs an operation that is not a convolution, whose weights stay as they are.
fn others(kind: &OperationKind, inputs: &[Value], weights: &StateDict) -> Result<Value> {
    let apply = |batches: Vec<&[Tensor<4>]>| -> Result<Vec<Tensor<4>>> {
        let of_batch = |i: usize| batches.iter().map(|batches| batches[i].clone()).collect();
        (0..batches[0].len()).map(|i| Ok(apply_with(kind, of_batch(i), weights)?)).collect()
    };
    let is_changed = inputs.iter().any(|input| input.pruned.is_some());
    let pruned = is_changed.then(|| apply(inputs.iter().map(Value::pruned).collect())).transpose()?;
    Ok(Value { pruned, dense: apply(inputs.iter().map(|input| input.dense.as_slice()).collect())? })
}

#[cfg(test)]
mod tests;
