//! A network that is measured: as a module of Burn on one of its devices, or compiled for this processor. Or several
//! networks as one.

mod augment;
mod host_map;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rayon::prelude::*;
use yolo_data::loader::Batch;
use yolo_model::{Architecture, Checkpoint, Predictions, RawMap, decode, decode_rows};
use yolo_nn::{HalfFormat, Yolo};

use augment::{PASSES, Pass};
use host_map::{HostMap, n_images};

use crate::error::{Result, TrainError};
use crate::precision::check_format;
use crate::tensor::{images_in, scaled};

/// A network that finds boxes in images.
pub enum Detector {
    /// On a device of Burn.
    Burn(OnDevice),
    /// Compiled for this processor; losses are computed on the device.
    Compiled(Box<yolo_runtime::Detector>, Device),
    /// Several networks of the same classes on the same kind of device: the boxes of all go into one suppression.
    Ensemble(Box<Detector>, Vec<Detector>),
}

/// A network on a device of Burn.
pub struct OnDevice {
    model: Yolo,
    device: Device,
    /// The format of weights, images and activations.
    format: FloatDType,
    /// Threads that share the images of a batch. Several pay on a CPU whose element-wise operations use one core
    /// each; a GPU wants 1.
    threads: usize,
}

/// Makes a detector from a checkpoint, fused or not.
pub type Compile<'a> = dyn Fn(&Checkpoint) -> Result<Detector> + 'a;

/// How a batch is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Boxes need an objectness above this.
    pub(crate) min_objectness: f32,
    /// Whether the logits are kept; of an ensemble, those of the first network.
    pub(crate) keep_logits: bool,
    /// Three passes over the images instead of one ([`augment`]).
    pub(crate) augment: bool,
}

/// The images of a batch, where and as the network wants them.
pub(crate) enum Input {
    Tensors(Vec<Tensor<4>>),
    Floats { values: Vec<f32>, size: [usize; 2] },
}

/// Logits that a device may not be done with: per part of a batch and level.
pub(crate) struct Launched(Vec<Vec<Tensor<4>>>);

/// Logits on the host: per part of a batch and level.
pub(crate) struct Logits(Vec<Vec<HostMap>>);

/// What a network says of a batch.
#[derive(Default)]
pub(crate) struct Answer {
    /// Decoded rows of every image.
    pub(crate) predictions: Vec<Predictions>,
    /// The logits of every level, `[N, anchors · (5 + classes), height, width]`, where they were to be kept.
    pub(crate) logits: Vec<Tensor<4>>,
}

impl Detector {
    /// The network of `checkpoint` on `device`; `threads` share the images of a batch.
    ///
    /// # Errors
    /// Tensors that do not fit the architecture.
    pub fn on_device(checkpoint: &Checkpoint, device: &Device, threads: usize) -> Result<Self> {
        let model = Yolo::from_checkpoint(&checkpoint.fuse()?, device)?;
        Ok(Self::Burn(OnDevice { model, device: device.clone(), format: FloatDType::F32, threads }))
    }

    /// [`Detector::on_device`] with weights, images and activations in half precision. Batch normalisation is folded
    /// into the weights before they are rounded; boxes are decoded and compared in single precision.
    ///
    /// # Errors
    /// As [`Detector::on_device`], or a device that does not compute in `format`.
    pub fn in_half(
        checkpoint: &Checkpoint,
        device: &Device,
        threads: usize,
        format: HalfFormat,
    ) -> Result<Self> {
        check_format(device, format)?;
        let model = Yolo::from_checkpoint(&checkpoint.fuse()?, device)?.in_half(format);
        Ok(Self::Burn(OnDevice { model, device: device.clone(), format: format.dtype(), threads }))
    }

    /// Several networks as one: the boxes of all are put together before suppression. All are of one back end.
    ///
    /// # Errors
    /// Different numbers of classes.
    pub fn ensemble(first: Self, others: Vec<Self>) -> Result<Self> {
        let classes = first.architecture().num_classes();
        let other = others.iter().map(|other| other.architecture().num_classes()).find(|&n| n != classes);
        match other {
            Some(other) => Err(TrainError::EnsembleClasses { first: classes, other }),
            None if others.is_empty() => Ok(first),
            None => Ok(Self::Ensemble(Box::new(first), others)),
        }
    }

    /// What it runs; of an ensemble, the first network.
    pub fn architecture(&self) -> &Architecture {
        match self {
            Self::Burn(on_device) => on_device.model.architecture(),
            Self::Compiled(detector, _) => detector.architecture(),
            Self::Ensemble(first, _) => first.architecture(),
        }
    }

    /// The stride of the coarsest level, in pixels: sides of images are multiples of it.
    pub fn max_stride(&self) -> usize {
        match self {
            Self::Ensemble(first, others) => {
                others.iter().map(Self::max_stride).fold(first.max_stride(), usize::max)
            }
            _ => self.architecture().max_stride(),
        }
    }

    /// Makes ready for images of `[height, width]`, so that it does not count as their time.
    pub(crate) fn prepare(&self, size: [usize; 2], augment: bool) -> Result<()> {
        match self {
            Self::Burn(_) => {}
            Self::Compiled(detector, _) if augment => {
                detector.keep_plans(PASSES.len());
                for pass in PASSES {
                    let [_, padded] = pass.sizes(size, self.max_stride());
                    detector.plan(1, padded)?;
                }
            }
            Self::Compiled(detector, _) => drop(detector.plan(1, size)?),
            Self::Ensemble(first, others) => {
                first.prepare(size, augment)?;
                others.iter().try_for_each(|other| other.prepare(size, augment))?;
            }
        }
        Ok(())
    }

    /// Whether it runs on a device that may work on a batch while the processor is busy with others, as
    /// [`Detector::launch`] lets it.
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self, Self::Burn(on_device) if on_device.threads == 1)
    }

    /// Turns bytes into floats, where the network runs. With `wait`, they are there when it returns.
    pub(crate) fn take(&self, batch: &Batch, wait: bool) -> Result<Input> {
        let (n, size) = (batch.samples.len(), [batch.height, batch.width]);
        let pixels = &batch.pixels[..n * 3 * batch.height * batch.width];
        match self {
            Self::Burn(on_device) => on_device.take(pixels, n, size, wait),
            Self::Compiled(..) => Ok(Input::Floats { values: scaled(pixels), size }),
            Self::Ensemble(first, _) => first.take(batch, wait),
        }
    }

    /// Forward pass and decoding of boxes.
    pub(crate) fn run(&self, input: &Input, look: Look) -> Result<Answer> {
        if let Self::Ensemble(first, others) = self {
            let mut answer = first.run(input, look)?;
            for other in others {
                let more = other.run(input, Look { keep_logits: false, ..look })?;
                answer.append(more.predictions);
            }
            return Ok(answer);
        }
        if !look.augment {
            return self.answer(self.forward(input)?, None, look);
        }
        let (mut answer, stride) = (Answer::default(), self.max_stride());
        for pass in PASSES {
            let maps = self.forward(&input.as_seen_by(&pass, stride))?;
            let mut seen = self.answer(maps, Some(&pass), look)?;
            let width = input.width();
            seen.predictions.par_iter_mut().for_each(|rows| pass.undo(rows, width));
            if answer.logits.is_empty() {
                // The first pass sees the images as they are, so its logits are theirs.
                answer.logits = seen.logits;
            }
            answer.append(seen.predictions);
        }
        Ok(answer)
    }

    /// Begins the forward pass of a network on a device of its own; [`Detector::read`] waits for it.
    pub(crate) fn launch(&self, input: Input) -> Result<Launched> {
        match (self, input) {
            (Self::Burn(on_device), Input::Tensors(parts)) => {
                Ok(Launched(parts.into_iter().map(|part| on_device.model.forward(part)).collect()))
            }
            _ => Err(another_kind()),
        }
    }

    /// The logits of a forward pass that was launched.
    pub(crate) fn read(&self, launched: Launched) -> Result<Logits> {
        let Self::Burn(on_device) = self else { return Err(another_kind()) };
        Ok(Logits(launched.0.into_iter().map(|maps| on_device.read(maps)).collect::<Result<_>>()?))
    }

    /// The boxes in them, without the device.
    pub(crate) fn decode(&self, logits: Logits, look: Look) -> Result<Answer> {
        self.answer(logits.0, None, Look { keep_logits: false, ..look })
    }

    /// The logits of a batch, in parts.
    fn forward(&self, input: &Input) -> Result<Vec<Vec<HostMap>>> {
        match (self, input) {
            (Self::Burn(on_device), Input::Tensors(parts)) => on_device.forward(parts.clone()),
            (Self::Compiled(detector, _), Input::Floats { values, size }) => {
                Ok(vec![compiled(detector, values, *size)?])
            }
            _ => Err(another_kind()),
        }
    }

    /// Decodes the logits of a batch; `pass` says which rows count, if it is not all.
    fn answer(&self, parts: Vec<Vec<HostMap>>, pass: Option<&Pass>, look: Look) -> Result<Answer> {
        let detect = self.architecture().detect();
        let images: Vec<(&[HostMap], usize)> = parts
            .iter()
            .flat_map(|maps| (0..n_images(maps)).map(move |image| (maps.as_slice(), image)))
            .collect();
        let decode = |(maps, image): &(&[HostMap], usize)| {
            let maps: Vec<RawMap> = maps.iter().map(|map| map.image(*image)).collect();
            let Some(pass) = pass else { return decode(&maps, detect, look.min_objectness) };
            let n_rows = maps.iter().map(|map| map.height * map.width * detect.n_anchors()).sum();
            decode_rows(&maps, detect, look.min_objectness, pass.rows(n_rows, maps.len()))
        };
        let predictions = images.par_iter().map(decode).collect();
        Ok(Answer { predictions, logits: if look.keep_logits { self.joined(parts) } else { Vec::new() } })
    }

    /// The logits of several parts of a batch, level by level, as tensors.
    fn joined(&self, parts: Vec<Vec<HostMap>>) -> Vec<Tensor<4>> {
        let device = match self {
            Self::Burn(on_device) => &on_device.device,
            Self::Compiled(_, device) => device,
            Self::Ensemble(first, _) => return first.joined(parts),
        };
        let mut levels: Vec<Vec<Tensor<4>>> = Vec::new();
        for part in parts {
            levels.resize_with(part.len(), Vec::new);
            for (level, map) in levels.iter_mut().zip(part) {
                level.push(Tensor::from_data(TensorData::new(map.logits, map.dims), device));
            }
        }
        levels.into_iter().map(|parts| Tensor::cat(parts, 0)).collect()
    }
}

impl Input {
    fn as_seen_by(&self, pass: &Pass, stride: usize) -> Self {
        match self {
            Self::Tensors(parts) => {
                Self::Tensors(parts.iter().map(|part| pass.of_tensor(part.clone(), stride)).collect())
            }
            Self::Floats { values, size } => {
                let [_, padded] = pass.sizes(*size, stride);
                Self::Floats { values: pass.of_floats(values, *size, stride), size: padded }
            }
        }
    }

    /// In pixels.
    fn width(&self) -> usize {
        match self {
            Self::Tensors(parts) => parts.first().map_or(0, |part| part.dims()[3]),
            Self::Floats { size, .. } => size[1],
        }
    }
}

impl Answer {
    /// More rows of every image, behind those that are there.
    fn append(&mut self, more: Vec<Predictions>) {
        if self.predictions.is_empty() {
            self.predictions = more;
            return;
        }
        for (rows, more) in self.predictions.iter_mut().zip(more) {
            rows.values.extend(more.values);
        }
    }
}

impl OnDevice {
    /// The images as tensors of about the same number of images, one per thread.
    fn take(&self, pixels: &[u8], n: usize, [height, width]: [usize; 2], wait: bool) -> Result<Input> {
        let per_image = 3 * height * width;
        let per_part = n.div_ceil(self.threads.max(1)).max(1);
        let parts = pixels.chunks(per_part * per_image);
        let tensors =
            parts.map(|part| self.images(part, [part.len() / per_image, 3, height, width])).collect();
        if wait {
            self.device.sync().map_err(|error| TrainError::Device(format!("{error:?}")))?;
        }
        Ok(Input::Tensors(tensors))
    }

    fn images(&self, pixels: &[u8], shape: [usize; 4]) -> Tensor<4> {
        images_in(self.format, pixels, shape, &self.device)
    }

    /// The logits of each part, on a thread of its own where there are several.
    fn forward(&self, mut parts: Vec<Tensor<4>>) -> Result<Vec<Vec<HostMap>>> {
        let last = parts.pop();
        let forward = |part| self.read(self.model.forward(part));
        std::thread::scope(|scope| {
            let others: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || forward(part))).collect();
            let last = last.map(forward);
            // A panic of the tensor library goes on here as it would without the thread.
            let joined =
                others.into_iter().map(|o| o.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            joined.chain(last).collect()
        })
    }

    /// The logits of every level, on the host.
    fn read(&self, maps: Vec<Tensor<4>>) -> Result<Vec<HostMap>> {
        let read = |map| HostMap::read(map).map_err(|error| self.in_this_format(error));
        maps.into_iter().map(read).collect()
    }

    /// What is not finite need not be the fault of the weights where numbers above 65504 are infinite.
    fn in_this_format(&self, error: TrainError) -> TrainError {
        match (error, self.format) {
            (TrainError::NotFinite, FloatDType::F16) => TrainError::NotFiniteInHalf,
            (error, _) => error,
        }
    }
}

fn another_kind() -> TrainError {
    TrainError::Device("the input is for another kind of network".to_owned())
}

/// Runs images one by one: on a CPU a batch saves nothing, and one image needs a fraction of the memory.
fn compiled(detector: &yolo_runtime::Detector, values: &[f32], size: [usize; 2]) -> Result<Vec<HostMap>> {
    let mut maps: Vec<HostMap> = Vec::new();
    for image in values.chunks_exact(3 * size[0] * size[1]) {
        let levels = detector.run(image, 1, size)?;
        maps.resize_with(levels.len(), HostMap::default);
        for (map, level) in maps.iter_mut().zip(levels) {
            map.append(level)?;
        }
    }
    Ok(maps)
}
