//! Every layer of a network on the device beside the same layer on the processor.

use burn::tensor::{FloatDType, Tensor};
use yolo_model::Checkpoint;
use yolo_nn::{HalfFormat, Yolo, host_values};
use yolo_prune::channels::{ChannelOptions, ChannelScores, Quantity, Target, remove, select};

use super::{DeviceCheck, Row, pictures, relative_error, stock_network};
use crate::error::Result;

/// Relative error of a layer in single precision. Tensor cores round factors to TF32, 11 bits, and errors add up.
pub(super) const SINGLE: f64 = 5e-3;
/// In half precision: 11 bits of precision, with activations rounded as well.
const HALF: f64 = 2e-2;
/// In bfloat16: 8 bits.
const BF16: f64 = 1e-1;
/// Images of a comparison.
const IMAGES: usize = 2;

/// The stock networks.
pub(super) fn stock(check: &DeviceCheck) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for name in check.networks() {
        rows.extend(compare(name, &stock_network(name)?, check)?);
    }
    Ok(rows)
}

/// A network whose channels were pruned to counts that no kernel was made for.
pub(super) fn odd_widths(check: &DeviceCheck) -> Result<Vec<Row>> {
    let dense = stock_network("yolov5n")?;
    let scores = ChannelScores::l2(&dense, false)?.normalised();
    let options = ChannelOptions::new(Target::less(Quantity::Gflops, 0.5));
    let pruned = remove(&dense, &select(&dense.architecture, &scores, &options, None)?)?;
    let widths: Vec<usize> = pruned.architecture.convs().iter().map(|conv| conv.spec.out_channels).collect();
    let odd = widths.iter().filter(|width| *width % 2 == 1).count();
    let name = format!("yolov5n at half the channels' cost, {odd} of {} widths odd", widths.len());
    compare(&name, &pruned, check)
}

/// The worst layer in every format.
fn compare(name: &str, checkpoint: &Checkpoint, check: &DeviceCheck) -> Result<Vec<Row>> {
    let fused = checkpoint.fuse()?;
    let reference = Yolo::from_checkpoint(&fused, check.reference)?;
    let size = check.image_size();
    let expected = outputs(&reference, pictures(IMAGES, size, check.reference))?;
    let images = pictures(IMAGES, size, check.device);
    let model = Yolo::from_checkpoint(&fused, check.device)?;
    let mut rows = vec![row(name, "f32", &outputs(&model, images.clone())?, &expected, SINGLE)];
    for format in check.formats() {
        let half = model.clone().in_half(format);
        let outputs = outputs(&half, images.clone().cast(format.dtype()))?;
        let limit = if format == HalfFormat::Fp16 { HALF } else { BF16 };
        rows.push(row(name, &format.to_string(), &outputs, &expected, limit));
    }
    Ok(rows)
}

fn row(name: &str, format: &str, got: &[Vec<f32>], expected: &[Vec<f32>], limit: f64) -> Row {
    let errors = got.iter().zip(expected).map(|(got, expected)| relative_error(got, expected));
    let worst = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    let (layer, error) = worst.unwrap_or((0, f64::INFINITY));
    let detail = format!("worst of {}: output {layer}", expected.len());
    Row::at_most(format!("layers of {name}, {format}"), error, limit, &detail)
}

/// The output of every layer, and the logits of every level behind them.
fn outputs(model: &Yolo, images: Tensor<4>) -> Result<Vec<Vec<f32>>> {
    let mut layers = Vec::new();
    let maps = model.forward_observed(images, |_, output| layers.push(output.clone()));
    layers.extend(maps);
    layers.into_iter().map(|layer| Ok(host_values(layer.cast(FloatDType::F32))?)).collect()
}
