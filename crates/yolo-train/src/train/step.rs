//! One batch on one device: forward, loss, backward.

use std::ops::Range;

use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, module::interpolate};
use rand::{Rng, SeedableRng, rngs::StdRng};
use yolo_data::train_loader::Target;
use yolo_detect::images;
use yolo_model::Checkpoint;
use yolo_nn::{HalfFormat, NamedValues, Yolo, host_values};

use crate::distill::{Observed, Teacher};
use crate::error::{Result, TrainError};
use crate::loss::LossTerms;
use crate::train::options::TrainOptions;
use crate::train::replicas::Work;

/// The network that is trained, on its device. It is rebuilt when the weights on the host have changed.
pub(super) struct Student {
    model: Option<Yolo>,
    device: Device,
    freeze: Vec<usize>,
    freeze_batch_norm: bool,
    amp: Option<HalfFormat>,
}

/// The results of a batch, or of the part of it on one device.
pub(super) struct BatchResult {
    pub(super) n_images: usize,
    /// Longer side of the images in pixels.
    pub(super) image_size: usize,
    pub(super) terms: LossTerms,
    pub(super) level_objectness: Vec<f64>,
    /// Distillation loss per image.
    pub(super) distillation: f64,
    /// Of the scaled loss. The same name occurs once per device; the gradients of a name are to be added.
    pub(super) gradients: Vec<NamedValues>,
    /// Running statistics after the batch.
    pub(super) statistics: Vec<NamedValues>,
}

impl Student {
    pub(super) fn new(options: &TrainOptions, device: &Device) -> Self {
        Self {
            model: None,
            device: device.clone().autodiff(),
            freeze: options.freeze.clone(),
            freeze_batch_norm: options.freeze_batch_norm,
            amp: options.amp,
        }
    }

    /// To be called when the weights on the host have changed.
    pub(super) fn outdated(&mut self) {
        self.model = None;
    }

    fn model(&mut self, checkpoint: &Checkpoint) -> Result<&Yolo> {
        let model = match self.model.take() {
            Some(model) => model,
            None => {
                let model = Yolo::from_checkpoint(checkpoint, &self.device)?.freeze_layers(&self.freeze);
                let model = if self.freeze_batch_norm { model.freeze_batch_norm() } else { model };
                if let Some(format) = self.amp { model.in_mixed_precision(format) } else { model }
            }
        };
        Ok(self.model.insert(model))
    }

    /// Its device, without the record of operations.
    pub(super) fn device(&self) -> Device {
        self.device.clone().inner()
    }

    /// Runs `pixels` (`[N, 3, H, W]` in `[0, 1]`, not recorded) through the network and back.
    pub(super) fn run(
        &mut self,
        work: &Work,
        pixels: Tensor<4>,
        targets: &[Target],
        teacher: Option<&Teacher>,
    ) -> Result<BatchResult> {
        let [n_images, _, height, width] = pixels.dims();
        let model = self.model(work.checkpoint)?;
        let with_features = teacher.is_some_and(Teacher::wants_features);
        let observed = Observed::run(model, Tensor::from_inner(pixels.clone()), with_features);
        let loss = work.loss.forward(&observed.maps, targets)?;
        let is_finite = loss.is_finite();
        let mut total = loss.total;
        let mut distillation = 0.0;
        if let Some(teacher) = teacher {
            let taught = teacher.loss(pixels, &observed)?;
            distillation = f64::from(host_values(taught.clone().detach())?[0]) / n_images as f64;
            total = total + taught;
        }
        drop(observed);
        if !is_finite || !distillation.is_finite() {
            return Err(TrainError::LossNotFinite);
        }
        let gradients = model.gradients(&total.mul_scalar(work.loss_scale).backward())?;
        Ok(BatchResult {
            n_images,
            image_size: height.max(width),
            terms: loss.terms,
            level_objectness: loss.level_objectness,
            distillation,
            gradients,
            statistics: model.running_statistics()?,
        })
    }
}

/// Some images of a batch on `device`, at a random size if that is asked for (§10.6).
pub(super) fn pixels(work: &Work, shard: Range<usize>, device: &Device) -> Tensor<4> {
    let Work { batch, options, stride, batch_number, .. } = *work;
    let n = shard.len();
    let per_image = 3 * batch.height * batch.width;
    let bytes = &batch.pixels[shard.start * per_image..shard.end * per_image];
    let input = images(bytes, n, batch.height, batch.width, device);
    if !options.multi_scale {
        return input;
    }
    // A separate seed for every batch: what is drawn does not depend on where a run was resumed.
    let seed = options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ batch_number as u64;
    let mut rng = StdRng::seed_from_u64(seed);
    let size =
        rng.random_range(options.image_size / 2..options.image_size * 3 / 2 + stride) / stride * stride;
    let factor = size.max(stride) as f64 / batch.height.max(batch.width) as f64;
    let side = |side: usize| (side as f64 * factor / stride as f64).ceil() as usize * stride;
    let (height, width) = (side(batch.height), side(batch.width));
    if (height, width) == (batch.height, batch.width) {
        return input;
    }
    let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
    interpolate(input, options.with_output_size([height, width]))
}
