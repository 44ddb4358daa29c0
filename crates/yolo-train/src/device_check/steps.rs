//! Training on the device: the loss has to fall, and pruned weights have to stay zero.

use burn::tensor::Tensor;
use yolo_model::Checkpoint;
use yolo_nn::{HalfFormat, Yolo};
use yolo_prune::{Method, PruneOptions, apply, plan};

use super::{DeviceCheck, Row, pictures, targets};
use crate::error::Result;
use crate::hyper::Hyperparameters;
use crate::loss::DetectionLoss;
use crate::masks::Masks;
use crate::optimizer::{Optimizer, PerParameter, Rule, clip};
use crate::precision::LossScaler;
use crate::schedule::Rates;

/// Images of the batch that is learnt by heart.
const IMAGES: usize = 4;
/// The last losses have to be below this fraction of the first ones.
const FALL: f64 = 0.85;
const RATES: Rates = Rates { bias_lr: 2e-3, lr: 2e-3, momentum: 0.9, accumulate: 1 };

/// Fifty steps in every format, on a network of which half the weights are pruned.
pub(super) fn check(check: &DeviceCheck) -> Result<Vec<Row>> {
    let steps = if check.is_quick { 12 } else { 50 };
    let formats = [None].into_iter().chain(check.formats().map(Some));
    let rows = formats.map(|format| train(check, steps, format));
    Ok(rows.collect::<Result<Vec<_>>>()?.concat())
}

fn train(check: &DeviceCheck, steps: usize, amp: Option<HalfFormat>) -> Result<Vec<Row>> {
    let dense = check.weights;
    let plan = plan(dense, &PruneOptions::new(Method::Global, 0.5))?;
    let masks = Masks::of(&plan);
    let mut run = Run {
        checkpoint: apply(dense, &plan)?,
        optimizer: Optimizer::new(Rule::AdamW, 5e-4),
        scaler: LossScaler::new(amp.unwrap_or(HalfFormat::Bf16)),
        masks,
        amp,
    };
    let size = check.image_size();
    let losses = (0..steps).map(|_| run.step(check, size)).collect::<Result<Vec<_>>>()?;
    let format = amp.map_or("f32".to_owned(), |format| format!("mixed {format}"));
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..3]), mean(&losses[steps - 3..]));
    let kept = run.masks.check(&run.checkpoint.weights, "the weights");
    let zeros = match &kept {
        Ok(()) => format!("{} zeros, all exact", run.masks.pruned()),
        Err(error) => error.to_string(),
    };
    Ok(vec![
        Row::holds(
            format!("{steps} steps of training, {format}"),
            last < FALL * first,
            format!("loss {first:.2} → {last:.2}, {} steps left out", run.scaler.skipped()),
            "falls",
        ),
        Row::holds(format!("masks after them, {format}"), kept.is_ok(), zeros, "exact"),
    ])
}

struct Run {
    checkpoint: Checkpoint,
    optimizer: Optimizer,
    scaler: LossScaler,
    masks: Masks,
    amp: Option<HalfFormat>,
}

impl Run {
    /// One step; the loss before it.
    fn step(&mut self, check: &DeviceCheck, size: usize) -> Result<f64> {
        let device = check.device.clone().autodiff();
        let model = Yolo::from_checkpoint(&self.checkpoint, &device)?;
        let model = if let Some(format) = self.amp { model.in_mixed_precision(format) } else { model };
        let images = Tensor::from_inner(pictures(IMAGES, size, check.device));
        let head = self.checkpoint.architecture.head();
        let options = Hyperparameters::default().loss_options(head, size, 0.0, false);
        let loss = DetectionLoss::new(head, options)
            .forward(&model.forward(images), &targets(IMAGES, head.num_classes()))?;
        let mut gradients = model.gradients(&loss.total.mul_scalar(self.scaler.scale()).backward())?;
        self.scaler.unscale(&mut gradients);
        if self.scaler.take_step()? {
            let mut gradients: PerParameter = gradients.into_iter().collect();
            self.masks.apply_to(&mut gradients);
            clip(&mut gradients);
            self.optimizer.step(&mut self.checkpoint.weights, &gradients, &RATES)?;
        }
        Ok(loss.terms.total())
    }
}
