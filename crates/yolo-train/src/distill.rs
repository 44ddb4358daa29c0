//! Distillation: the dense network teaches the pruned one, on every image and without labels.

use std::ops::Range;

use burn::tensor::{Device, FloatDType, Tensor, activation};
use serde::{Deserialize, Serialize};
use yolo_model::{Architecture, Channel, Checkpoint};
use yolo_nn::Yolo;

use crate::error::{Result, TrainError};

/// Weights of the terms; 0 turns a term off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillationOptions {
    /// Gain of the logits' term.
    pub outputs: f64,
    /// Gain of the layers' term.
    pub features: f64,
}

impl Default for DistillationOptions {
    fn default() -> Self {
        Self { outputs: 1.0, features: 1.0 }
    }
}

/// A teacher, ready to run.
pub struct Teacher {
    model: Yolo,
    options: DistillationOptions,
    /// By layer, whether a student's output is compared.
    compared: Vec<bool>,
}

/// The logits of a network per level, and the output of every layer before the head.
pub struct Observed {
    /// The logits of every level, `[N, channels, height, width]`.
    pub maps: Vec<Tensor<4>>,
    /// Per layer `[N, channels, height, width]`.
    pub features: Vec<Tensor<4>>,
}

impl Observed {
    /// Runs `model` on `images` and keeps its layers' outputs if `with_features`.
    pub fn run(model: &Yolo, images: Tensor<4>, with_features: bool) -> Self {
        let mut features = Vec::new();
        let maps = model.forward_observed(images, |_, output| {
            if with_features {
                // In mixed precision they would be in half.
                features.push(output.clone().cast(FloatDType::F32));
            }
        });
        Self { maps, features }
    }
}

impl Teacher {
    /// A teacher from the dense checkpoint; it runs fused, on `device`. One with two sets of branches, of which fusing leaves
    /// one, runs as it is.
    ///
    /// # Errors
    /// A checkpoint that is not usable.
    pub fn new(dense: &Checkpoint, options: DistillationOptions, device: &Device) -> Result<Self> {
        let architecture = &dense.architecture;
        let model = if architecture.program().outputs.len() == architecture.head().strides().len() {
            Yolo::from_checkpoint(&*dense.fuse()?, device)?
        } else {
            Yolo::from_checkpoint(dense, device)?.freeze_batch_norm()
        };
        let compared = vec![true; dense.architecture.layers.len()];
        Ok(Self { model, options, compared })
    }

    /// The teacher of a network with fewer channels: only layers with as many channels as the teacher's are compared.
    #[must_use]
    pub fn for_student(mut self, student: &Architecture) -> Self {
        let widths = self.model.architecture().out_channels().into_iter().zip(student.out_channels());
        self.compared = widths.map(|(teacher, student)| teacher == student).collect();
        let before_head = self.compared.len().saturating_sub(1);
        if !self.compared[..before_head].contains(&true) {
            self.options.features = 0.0;
        }
        self
    }

    /// Whether the student's layers are needed.
    pub fn wants_features(&self) -> bool {
        self.options.features > 0.0
    }

    /// The difference of the student from the teacher on the same `images` (`[N, 3, H, W]`, not recorded), as `[1]`
    /// times the number of images, like the detection loss.
    ///
    /// Layers: the mean over the compared layers of `mean((s − t)²) / mean(t²)`. Outputs: the mean squared difference of
    /// logits, each cell weighted by the teacher's objectness, plus that of the objectness itself over all cells. Of a head without
    /// objectness, a cell's weight is the teacher's best score, and the scores of all classes take the place of the
    /// objectness.
    ///
    /// # Errors
    /// A student whose layers do not have the teacher's shapes.
    pub fn loss(&self, images: Tensor<4>, student: &Observed) -> Result<Tensor<1>> {
        let n_images = images.dims()[0] as f64;
        let teacher = Observed::run(&self.model, images, self.wants_features());
        let mut total = None::<Tensor<1>>;
        let mut add = |term: Tensor<1>| total = Some(total.take().map_or(term.clone(), |sum| sum + term));
        if student.maps.len() != teacher.maps.len() {
            let (n, expected) = (teacher.maps.len(), student.maps.len());
            return Err(TrainError::Teacher {
                reason: format!("it has {n} outputs where the student has {expected}"),
            });
        }
        if self.options.outputs > 0.0 {
            for (s, t) in student.maps.iter().zip(&teacher.maps) {
                add(self.outputs(s.clone(), constant(t))?.mul_scalar(self.options.outputs));
            }
        }
        let layers = student.features.iter().zip(&teacher.features).zip(&self.compared);
        let compared: Vec<_> = layers.filter_map(|(pair, compared)| compared.then_some(pair)).collect();
        let gain = self.options.features / compared.len().max(1) as f64;
        for (s, t) in compared {
            same_shape(s, t)?;
            let t = constant(t);
            let scale = t.clone().square().mean().add_scalar(1e-6);
            add(((s.clone() - t).square().mean() / scale).mul_scalar(gain));
        }
        let zero = || Tensor::zeros([1], &student.maps[0].device());
        Ok(total.unwrap_or_else(zero).mul_scalar(n_images))
    }

    fn outputs(&self, student: Tensor<4>, teacher: Tensor<4>) -> Result<Tensor<1>> {
        same_shape(&student, &teacher)?;
        let [n, channels, height, width] = student.dims();
        // All levels have the same channels.
        let groups = self.model.architecture().head().level(0).groups;
        let (anchors, outputs) = (groups.len(), channels / groups.len().max(1));
        let grid = |map: Tensor<4>| map.reshape([n, anchors, outputs, height * width]);
        let (s, t) = (grid(student), grid(teacher));
        let scores = scores_that_count(&groups[0]);
        let s_scores = activation::sigmoid(s.clone().narrow(2, scores.start, scores.len()));
        let t_scores = activation::sigmoid(t.clone().narrow(2, scores.start, scores.len()));
        let weight = if scores.len() == 1 { t_scores.clone() } else { t_scores.clone().max_dim(2) };
        let weight_sum = weight.clone().sum().mul_scalar(outputs as f64).add_scalar(1e-6);
        let logits = ((s - t).square() * weight).sum() / weight_sum;
        Ok(logits + (s_scores - t_scores).square().sum_dim(2).mean())
    }
}

/// The channels whose scores say whether there is an object: the objectness, or else the classes.
fn scores_that_count(group: &[Channel]) -> Range<usize> {
    match group.iter().position(|channel| *channel == Channel::Objectness) {
        Some(objectness) => objectness..objectness + 1,
        None => {
            let first = group.iter().position(|channel| *channel == Channel::Class).unwrap_or(group.len());
            first..group.len()
        }
    }
}

/// The tensor as a constant of the student's graph.
fn constant(tensor: &Tensor<4>) -> Tensor<4> {
    Tensor::from_inner(tensor.clone())
}

fn same_shape(student: &Tensor<4>, teacher: &Tensor<4>) -> Result<()> {
    if student.dims() == teacher.dims() {
        return Ok(());
    }
    let (s, t) = (student.dims(), teacher.dims());
    Err(TrainError::Teacher { reason: format!("it has shape {t:?} where the student has {s:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_stand_in_for_an_objectness_that_is_not_there() {
        use Channel::{CentreX, Class, Objectness};
        assert_eq!(scores_that_count(&[CentreX, CentreX, Objectness, Class, Class]), 2..3);
        assert_eq!(scores_that_count(&[CentreX, CentreX, Class, Class, Class]), 2..5);
    }
}
