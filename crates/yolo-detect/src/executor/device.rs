//! Networks on a device of Burn.

use burn::tensor::{Device, FloatDType, Tensor};
use yolo_model::{Architecture, FusedCheckpoint};
use yolo_nn::{HalfFormat, NnError, Yolo, host_values};
use yolo_runtime::LevelLogits;

use super::{Executor, Images, Pending, Uploaded};
use crate::error::{DetectError, Result};
use crate::logits::Logits;
use crate::pass::Pass;
use crate::tensor::images_in;

/// Runs networks on a device of Burn.
pub struct DeviceExecutor {
    networks: Vec<Yolo>,
    device: Device,
    precision: Precision,
    /// Threads that share the images of a batch.
    threads: usize,
}

/// The format of weights, images and activations.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Precision {
    Single,
    Half(HalfFormat),
}

/// The images of a batch as tensors of about the same number of images, one per thread.
struct Tensors<'a> {
    executor: &'a DeviceExecutor,
    parts: Vec<Tensor<4>>,
}

impl DeviceExecutor {
    /// Runs networks, which [`DeviceExecutor::with`] adds, on `device` in single precision. `threads` share the images
    /// of a batch: several are faster on a CPU whose element-wise operations use one core each; a GPU needs 1.
    pub fn new(device: &Device, threads: usize) -> Self {
        let (device, precision) = (device.clone(), Precision::Single);
        Self { networks: Vec::new(), device, precision, threads }
    }

    /// [`DeviceExecutor::new`] with weights, images and activations in half precision. The weights are rounded after
    /// batch normalisation was folded into them; boxes are decoded and compared in single precision.
    ///
    /// # Errors
    /// [`DetectError::Format`] for a device that does not compute in `format`.
    pub fn in_half(device: &Device, threads: usize, format: HalfFormat) -> Result<Self> {
        check_format(device, format)?;
        let (device, precision) = (device.clone(), Precision::Half(format));
        Ok(Self { networks: Vec::new(), device, precision, threads })
    }

    /// Adds the network of `checkpoint`. Several are an ensemble.
    ///
    /// # Errors
    /// Tensors that do not fit the architecture.
    pub fn with(mut self, checkpoint: &FusedCheckpoint<'_>) -> Result<Self> {
        let network = Yolo::from_checkpoint(checkpoint, &self.device)?;
        self.networks.push(match self.precision {
            Precision::Single => network,
            Precision::Half(format) => network.in_half(format),
        });
        Ok(self)
    }
}

impl Executor for DeviceExecutor {
    fn networks(&self) -> Vec<&Architecture> {
        self.networks.iter().map(Yolo::architecture).collect()
    }

    fn overlaps(&self) -> bool {
        self.threads == 1
    }

    fn upload<'a>(&'a self, images: Images<'_>) -> Result<Box<dyn Uploaded + 'a>> {
        let (pixels, [height, width]) = (images.pixels(), images.size());
        let per_image = 3 * height * width;
        let per_part = (pixels.len() / per_image).div_ceil(self.threads.max(1)).max(1);
        let shape = |part: &[u8]| [part.len() / per_image, 3, height, width];
        let parts = pixels
            .chunks(per_part * per_image)
            .map(|part| images_in(self.precision.dtype(), part, shape(part), &self.device))
            .collect();
        Ok(Box::new(Tensors { executor: self, parts }))
    }
}

impl Uploaded for Tensors<'_> {
    fn wait(&self) -> Result<()> {
        let failed = |error| NnError::Device { reason: format!("{error:?}") };
        Ok(self.executor.device.sync().map_err(failed)?)
    }

    fn launch(&self, network: usize, pass: &Pass) -> Result<Pending> {
        let (network, precision) = (&self.executor.networks[network], self.executor.precision);
        let stride = network.architecture().max_stride();
        let mut parts = self.parts.iter().map(|part| pass.transform_tensor(part.clone(), stride));
        if parts.len() > 1 {
            let logits = on_threads(network, parts.collect(), precision)?;
            return Ok(Pending::new(|| Ok(logits)));
        }
        let maps = parts.next().map(|part| network.forward(part)).unwrap_or_default();
        Ok(Pending::new(move || read(maps, precision)))
    }
}

/// The logits of each part, computed on a thread per part.
fn on_threads(network: &Yolo, mut parts: Vec<Tensor<4>>, precision: Precision) -> Result<Logits> {
    let last = parts.pop();
    let forward = |part| read(network.forward(part), precision);
    let logits: Result<Vec<Logits>> = std::thread::scope(|scope| {
        let others: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || forward(part))).collect();
        let last = last.map(forward);
        // A panic of the tensor library continues here as it would without the thread.
        let joined =
            others.into_iter().map(|o| o.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.chain(last).collect()
    });
    Ok(Logits::concat(logits?))
}

/// The logits of every level, on the host.
fn read(maps: Vec<Tensor<4>>, precision: Precision) -> Result<Logits> {
    let read = |map: Tensor<4>| -> Result<LevelLogits> {
        let dims = map.dims();
        Ok(LevelLogits { values: host_values(map)?, dims })
    };
    let logits = Logits::new(maps.into_iter().map(read).collect::<Result<_>>()?);
    logits.map_err(|error| match (error, precision) {
        (DetectError::NotFinite, Precision::Half(HalfFormat::Fp16)) => DetectError::NotFiniteInHalf,
        (error, _) => error,
    })
}

impl Precision {
    fn dtype(self) -> FloatDType {
        match self {
            Self::Single => FloatDType::F32,
            Self::Half(format) => format.dtype(),
        }
    }
}

/// Checks that `device` computes in `format`.
///
/// # Errors
/// [`DetectError::Format`] if it does not.
pub fn check_format(device: &Device, format: HalfFormat) -> Result<()> {
    if device.supports_dtype(format.dtype()) { Ok(()) } else { Err(DetectError::Format { format }) }
}
