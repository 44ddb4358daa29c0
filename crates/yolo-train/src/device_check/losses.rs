//! Loss and gradients on the device: beside those on the processor, and beside those of a reference.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, bf16, f16};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::Checkpoint;
use yolo_model::weights::read_safetensors;
use yolo_nn::{HalfFormat, NamedValues, Yolo};

use super::{DeviceCheck, Row, picture_values, relative_error, targets};
use crate::error::{Result, TrainError};
use crate::hyper::Hyperparameters;
use crate::loss::DetectionLoss;
use crate::precision::LossScaler;

/// Relative difference of losses in single precision (TF32).
const LOSS: f64 = 5e-3;
/// In half.
const LOSS_HALF: f64 = 2e-2;
/// Relative difference of all gradients together.
const GRADIENT: f64 = 2e-2;
/// In half, in multiples of what rounding nothing but the weights does to them. Activations are rounded several times a
/// layer, and unlike that of the many weights that make one, their rounding does not average out.
const GRADIENT_HALF: f64 = 12.0;
/// What is granted in any case, since devices may add up in half, as flex does in fp16; and what is not in any case:
/// gradients that have nothing to do with each other differ by more than one.
const GRADIENT_RANGE: [f64; 2] = [0.1, 0.9];
/// Images of a batch.
const IMAGES: usize = 2;

/// What a network is trained on once.
struct Batch {
    pixels: Vec<f32>,
    shape: [usize; 4],
    targets: Vec<Target>,
}

/// A loss and its gradients.
struct Step {
    loss: f64,
    gradients: Vec<NamedValues>,
}

/// Beside the processor, in every format.
pub(super) fn compared(check: &DeviceCheck) -> Result<Vec<Row>> {
    let checkpoint = check.weights;
    let size = check.image_size();
    let batch = Batch {
        pixels: picture_values(IMAGES, size),
        shape: [IMAGES, 3, size, size],
        targets: targets(IMAGES, checkpoint.architecture.num_classes()),
    };
    let expected = step(checkpoint, &batch, check.reference, None)?;
    let mut rows =
        compare("f32", &step(checkpoint, &batch, check.device, None)?, &expected, [LOSS, GRADIENT]);
    for format in check.formats() {
        let got = step(checkpoint, &batch, check.device, Some(format))?;
        // How much a network's gradients feel any rounding depends on the network.
        let rounded = step(&with_rounded_weights(checkpoint, format)?, &batch, check.reference, None)?;
        let [least, most] = GRADIENT_RANGE;
        let limit = (GRADIENT_HALF * rounded.gradient_error(&expected)).clamp(least, most);
        rows.extend(compare(&format!("mixed {format}"), &got, &expected, [LOSS_HALF, limit]));
    }
    Ok(rows)
}

fn compare(format: &str, got: &Step, expected: &Step, [loss, gradient]: [f64; 2]) -> Vec<Row> {
    let error = (got.loss / expected.loss - 1.0).abs();
    vec![
        Row::at_most(format!("loss of trained weights, {format}"), error, loss, ""),
        Row::at_most(
            format!("its gradients, {format}"),
            got.gradient_error(expected),
            gradient,
            &format!("{} tensors", got.gradients.len()),
        ),
    ]
}

impl Step {
    /// Relative difference of all gradients together.
    fn gradient_error(&self, expected: &Self) -> f64 {
        let all = |step: &Self| -> Vec<f32> {
            step.gradients.iter().flat_map(|(_, gradient)| gradient.iter().copied()).collect()
        };
        relative_error(&all(self), &all(expected))
    }
}

/// The network with convolution weights that are as far off as rounding to `format` puts them. Rounding itself would
/// leave weights that were stored in half as they are.
fn with_rounded_weights(checkpoint: &Checkpoint, format: HalfFormat) -> Result<Checkpoint> {
    let precision: f32 = match format {
        HalfFormat::Fp16 => f16::EPSILON.to_f32(),
        HalfFormat::Bf16 => bf16::EPSILON.to_f32(),
    };
    let mut rng = StdRng::seed_from_u64(2);
    let mut rounded = checkpoint.clone();
    for conv in checkpoint.architecture.convs() {
        let Some(weights) = rounded.weights.get_mut(&conv.weight()) else { continue };
        weights.f32s_mut()?.iter_mut().for_each(|w| *w *= 1.0 + precision * (rng.random::<f32>() - 0.5));
    }
    Ok(rounded)
}

fn step(checkpoint: &Checkpoint, batch: &Batch, device: &Device, amp: Option<HalfFormat>) -> Result<Step> {
    let device = device.clone().autodiff();
    let model = Yolo::from_checkpoint(checkpoint, &device)?;
    let model = if let Some(format) = amp { model.in_mixed_precision(format) } else { model };
    let head = checkpoint.architecture.head();
    let options = Hyperparameters::default().loss_options(head, batch.shape[3], 0.0, false);
    let loss = DetectionLoss::new(head, options);
    let images = Tensor::<4>::from_data(TensorData::new(batch.pixels.clone(), batch.shape), &device);
    // Bfloat16's factor is 1, which is none.
    let mut scaler = LossScaler::new(amp.unwrap_or(HalfFormat::Bf16));
    // As a run does on its way to the first step: an overflow halves the factor.
    loop {
        let loss = loss.forward(&model.forward(images.clone()), &batch.targets)?;
        let mut gradients = model.gradients(&loss.total.mul_scalar(scaler.scale()).backward())?;
        scaler.unscale(&mut gradients);
        if scaler.take_step()? {
            let total = loss.terms.total();
            return Ok(Step { loss: total * batch.shape[0] as f64, gradients });
        }
    }
}

/// `loss.json` of a reference.
#[derive(Deserialize)]
struct ReferenceLoss {
    steps: Vec<ReferenceStep>,
}

#[derive(Deserialize)]
struct ReferenceStep {
    loss: f64,
    /// By the name of the tensor.
    grad_norms: HashMap<String, f64>,
}

/// Beside the figures of a reference.
pub(super) fn reference(check: &DeviceCheck, folder: &Path) -> Result<Vec<Row>> {
    let file = folder.join("loss.json");
    let invalid = |reason: String| TrainError::Reference { path: file.clone(), reason };
    let text = std::fs::read(&file).map_err(|error| invalid(error.to_string()))?;
    let json: ReferenceLoss = serde_json::from_slice(&text)
        .map_err(|error| invalid(format!("no steps[0] with loss and grad_norms: {error}")))?;
    let first = json.steps.first().ok_or_else(|| invalid("`steps` is empty".to_owned()))?;
    let (tensors, _) = read_safetensors(folder.join("loss_batch.safetensors"))?;
    let images = tensors.require("images_u8")?;
    let target = |row: &[f32]| Target {
        image: row[0] as usize,
        class: row[1] as u32,
        bbox_norm: Cxcywh { cx: row[2], cy: row[3], w: row[4], h: row[5] },
    };
    let shape = <[usize; 4]>::try_from(images.shape.clone())
        .map_err(|shape| invalid(format!("images_u8 is {shape:?}, not [N, 3, H, W]")))?;
    let batch = Batch {
        pixels: images.i64s()?.iter().map(|&pixel| pixel as f32 / 255.0).collect(),
        shape,
        targets: tensors.f32s("targets")?.chunks_exact(6).map(target).collect(),
    };
    let got = step(check.weights, &batch, check.device, None)?;
    let (worst, error) = worst_norm(&got.gradients, &first.grad_norms);
    let loss = (got.loss / first.loss - 1.0).abs();
    Ok(vec![
        Row::at_most("loss of the reference, f32", loss, LOSS, ""),
        Row::at_most("norms of its gradients, f32", error, 2.5 * GRADIENT, &worst),
    ])
}

/// The gradient whose norm is furthest from the reference's, and how far. Norms that are next to nothing do not count.
fn worst_norm(gradients: &[NamedValues], norms: &HashMap<String, f64>) -> (String, f64) {
    let largest = norms.values().copied().fold(0.0, f64::max);
    let error = |(name, gradient): &NamedValues| {
        let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let error = norms
            .get(name)
            .map_or(f64::INFINITY, |expected| (norm - expected).abs() / expected.max(1e-4 * largest));
        (name.clone(), error)
    };
    gradients.iter().map(error).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
}
