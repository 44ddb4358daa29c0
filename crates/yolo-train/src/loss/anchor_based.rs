//! The loss of the head with anchors: boxes, objectness and classes (§9 of YOLOv5's specification).
//!
//! [`assign`] decides which cells predict which object; it is plain Rust. [`AnchorBasedLoss`] then compares
//! the logits of those cells with their objects, as tensor operations on the device of the logits.

mod assign;
mod ciou;

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use yolo_data::train_loader::Target;
use yolo_model::LossTerm;
use yolo_model::modules::DetectSpec;
use yolo_nn::host_values;

pub use assign::{Matches, assign};
pub use ciou::ciou;

use super::{BceOptions, Loss, LossOptions, bce_with_logits};
use crate::error::{Result, TrainError};

/// Smoothing of the automatic balance between levels.
const AUTO_BALANCE: f64 = 1e-4;

/// The loss of a head with anchors. It holds the weights of the levels, which change with automatic balance.
#[derive(Clone, Debug)]
pub struct AnchorBasedLoss {
    options: LossOptions,
    detect: DetectSpec,
    balance: Vec<f64>,
}

impl AnchorBasedLoss {
    /// The loss of a network with this head.
    pub fn new(detect: &DetectSpec, options: LossOptions) -> Self {
        let balance: &[f64] = match detect.strides.len() {
            3 => &[4.0, 1.0, 0.4],
            _ => &[4.0, 1.0, 0.25, 0.06, 0.02],
        };
        let levels = detect.strides.len();
        let balance = (0..levels).map(|level| balance.get(level).copied().unwrap_or(0.02)).collect();
        Self { options, detect: detect.clone(), balance }
    }

    /// Weights of the levels in the objectness term.
    pub fn balance(&self) -> &[f64] {
        &self.balance
    }

    /// Restores weights that [`AnchorBasedLoss::balance`] returned.
    pub fn set_balance(&mut self, balance: &[f64]) {
        if balance.len() == self.balance.len() {
            self.balance = balance.to_vec();
        }
    }

    /// The loss of logits `maps`, per level `[N, channels, height, width]`, for `targets`.
    ///
    /// # Errors
    /// [`TrainError::Device`] if the device does not return its results.
    pub fn forward(&self, maps: &[Tensor<4>], targets: &[Target]) -> Result<Loss> {
        let Some(first) = maps.first() else { return Err(TrainError::Device("no maps".to_owned())) };
        let (device, images) = (first.device(), first.dims()[0]);
        let zero = || Tensor::<1>::zeros([1], &device);
        let (mut bbox, mut objectness, mut class) = (zero(), zero(), zero());
        let mut level_objectness = Vec::new();
        for (level, map) in maps.iter().enumerate() {
            let terms = self.level(level, map.clone(), targets, &device)?;
            if let Some(matched) = terms.matched {
                bbox = bbox + matched.bbox;
                class = class + matched.class;
            }
            level_objectness.push(terms.objectness.clone());
            objectness = objectness + terms.objectness.mul_scalar(self.balance[level]);
        }
        let bbox = bbox.mul_scalar(self.options.box_gain);
        let objectness = objectness.mul_scalar(self.options.objectness_gain);
        let class = class.mul_scalar(self.options.class_gain);
        let mut parts = vec![bbox.clone(), objectness.clone(), class.clone()];
        parts.extend(level_objectness);
        let host = host_values(Tensor::cat(parts, 0).detach())?;
        let names = [LossTerm::Box, LossTerm::Objectness, LossTerm::Class];
        let terms = names.into_iter().zip(host.iter().map(|&value| f64::from(value))).collect();
        let total = (bbox + objectness + class).mul_scalar(images as f64);
        Ok(Loss {
            total,
            terms,
            other_branch: None,
            level_objectness: host[names.len()..].iter().map(|&v| f64::from(v)).collect(),
        })
    }

    /// Moves the weights of the levels towards equal objectness losses, if that is asked for.
    pub fn rebalance(&mut self, level_objectness: &[f64]) {
        if !self.options.auto_balance {
            return;
        }
        for (balance, objectness) in self.balance.iter_mut().zip(level_objectness) {
            *balance = *balance * (1.0 - AUTO_BALANCE) + AUTO_BALANCE / objectness;
        }
        let reference = self.detect.strides.iter().position(|&stride| stride == 16);
        let reference = self.balance[reference.unwrap_or(0)];
        self.balance.iter_mut().for_each(|balance| *balance /= reference);
    }

    fn level(&self, level: usize, map: Tensor<4>, targets: &[Target], device: &Device) -> Result<LevelTerms> {
        let [images, _, rows, columns] = map.dims();
        let (anchors, outputs) = (self.detect.n_anchors(), self.detect.n_outputs());
        let threshold = self.options.anchor_threshold as f32;
        let matches = assign(targets, &self.detect, level, [rows, columns], threshold);
        let mut wanted = vec![0.0; images * anchors * rows * columns];
        let mut matched = None;
        if !matches.is_empty() {
            let logits = select(map.clone(), &matches, outputs, device);
            let (terms, overlap) = self.matched(logits, &matches, device)?;
            let cells = matches.image.iter().zip(&matches.anchor).zip(&matches.cell).zip(overlap);
            // Of several matches of one cell, the last one counts.
            for (((image, anchor), [row, column]), overlap) in cells {
                wanted[((image * anchors + anchor) * rows + row) * columns + column] = overlap.max(0.0);
            }
            matched = Some(terms);
        }
        let shape = [images, anchors, rows * columns];
        let wanted = Tensor::from_data(TensorData::new(wanted, shape), device);
        let logits =
            map.reshape([images, anchors, outputs, rows * columns]).narrow(2, DetectSpec::OBJECTNESS, 1);
        let options = self.bce(self.options.objectness_positive_weight);
        let objectness = bce_with_logits(logits.reshape(shape), wanted, options);
        Ok(LevelTerms { matched, objectness })
    }

    /// Box and class terms of matched logits, `[n, channels per anchor]`, and the overlap of each with its object.
    fn matched(
        &self,
        logits: Tensor<2>,
        matches: &Matches,
        device: &Device,
    ) -> Result<(MatchedTerms, Vec<f32>)> {
        let n = matches.len();
        let anchors = rows(&matches.anchor_size, device);
        let s = activation::sigmoid(logits.clone().narrow(1, DetectSpec::BOX.start, DetectSpec::BOX.len()));
        let xy = s.clone().narrow(1, 0, 2).mul_scalar(2.0).sub_scalar(0.5);
        let wh = s.narrow(1, 2, 2).mul_scalar(2.0).square() * anchors;
        let ciou = ciou(Tensor::cat(vec![xy, wh], 1), rows(&matches.bbox, device));
        let overlap = host_values(ciou.clone().detach())?;
        let bbox = ciou.neg().add_scalar(1.0).mean();
        let num_classes = self.detect.num_classes;
        let class = if num_classes > 1 {
            let targets = self.class_targets(matches);
            let targets = Tensor::from_data(TensorData::new(targets, [n, num_classes]), device);
            let options = self.bce(self.options.class_positive_weight);
            bce_with_logits(logits.narrow(1, self.detect.classes().start, num_classes), targets, options)
        } else {
            Tensor::zeros([1], device)
        };
        Ok((MatchedTerms { bbox, class }, overlap))
    }

    fn class_targets(&self, matches: &Matches) -> Vec<f32> {
        let num_classes = self.detect.num_classes;
        let absent = self.options.label_smoothing / 2.0;
        let mut targets = vec![absent as f32; matches.len() * num_classes];
        for (row, class) in targets.chunks_mut(num_classes).zip(&matches.class) {
            row[*class as usize] = (1.0 - absent) as f32;
        }
        targets
    }

    fn bce(&self, positive_weight: f64) -> BceOptions {
        BceOptions { positive_weight, focal_gamma: self.options.focal_gamma }
    }
}

struct LevelTerms {
    matched: Option<MatchedTerms>,
    objectness: Tensor<1>,
}

struct MatchedTerms {
    bbox: Tensor<1>,
    class: Tensor<1>,
}

/// The logits of every match, `[n, outputs]`.
fn select(map: Tensor<4>, matches: &Matches, outputs: usize, device: &Device) -> Tensor<2> {
    let [images, channels, rows, columns] = map.dims();
    let cells = rows * columns;
    let mut indices: Vec<i32> = Vec::with_capacity(matches.len() * outputs);
    for i in 0..matches.len() {
        let [row, column] = matches.cell[i];
        let first =
            (matches.image[i] * channels + matches.anchor[i] * outputs) * cells + row * columns + column;
        indices.extend((0..outputs).map(|output| (first + output * cells) as i32));
    }
    let indices = Tensor::<1, Int>::from_data(TensorData::from(indices.as_slice()), device);
    map.reshape([images * channels * cells]).select(0, indices).reshape([matches.len(), outputs])
}

/// Rows of numbers as `[n, N]`.
fn rows<const N: usize>(rows: &[[f32; N]], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), N]), device)
}
