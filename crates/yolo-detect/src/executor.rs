//! What runs networks: compiled for the processor, or on a device of the tensor library.

mod compiled;
#[cfg(feature = "nn")]
mod device;

use yolo_data::loader;
use yolo_model::Architecture;

pub use compiled::CompiledExecutor;
#[cfg(all(test, feature = "nn"))]
pub(crate) use compiled::scaled;
#[cfg(feature = "nn")]
pub use device::{DeviceExecutor, check_format};

use crate::error::{DetectError, Result};
use crate::logits::Logits;
use crate::pass::Pass;

/// Runs one network, or the networks of an ensemble, on batches of images.
///
/// A batch passes through three steps, which callers time separately: [`Executor::upload`] takes its bytes,
/// [`Uploaded::launch`] starts a forward pass, [`Pending::read`] waits for the logits.
pub trait Executor: Send + Sync {
    /// The networks, at least one. All have the same number of classes.
    fn networks(&self) -> Vec<&Architecture>;

    /// Prepares for images of `size`, `[height, width]` in pixels, in each of `passes`, so that the preparation does
    /// not count as time of the first batch.
    ///
    /// # Errors
    /// A size that does not fit a network.
    fn prepare(&self, _size: [usize; 2], _passes: &[Pass]) -> Result<()> {
        Ok(())
    }

    /// Whether it computes one batch while the processor works on others, so that overlapping their steps saves time.
    fn overlaps(&self) -> bool {
        false
    }

    /// Turns the bytes of a batch into floats, where the networks run. The device may not be done when it returns:
    /// [`Uploaded::wait`].
    ///
    /// # Errors
    /// A device that fails.
    fn upload<'a>(&'a self, images: Images<'_>) -> Result<Box<dyn Uploaded + 'a>>;
}

/// The images of a batch in the memory of the executor that uploaded them, and only usable there.
pub trait Uploaded {
    /// Waits until the images are complete.
    ///
    /// # Errors
    /// A device that fails.
    fn wait(&self) -> Result<()> {
        Ok(())
    }

    /// Starts the forward pass of network number `network` on the images as `pass` transforms them.
    ///
    /// # Errors
    /// A forward pass that cannot start.
    ///
    /// # Panics
    /// If there is no such network.
    fn launch(&self, network: usize, pass: &Pass) -> Result<Pending>;
}

/// A forward pass that was started.
pub struct Pending(Box<dyn FnOnce() -> Result<Logits>>);

impl Pending {
    /// `read` waits for the logits and copies them to the host.
    pub fn new(read: impl FnOnce() -> Result<Logits> + 'static) -> Self {
        Self(Box::new(read))
    }

    /// Waits for the logits.
    ///
    /// # Errors
    /// A device that fails, or logits that are not finite.
    pub fn read(self) -> Result<Logits> {
        (self.0)()
    }
}

/// Images of one size, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    pixels: &'a [u8],
    size: [usize; 2],
}

impl<'a> Images<'a> {
    /// `pixels` are `[N, 3, height, width]`, RGB; `size` is `[height, width]`.
    ///
    /// # Errors
    /// [`DetectError::Pixels`] if there is no whole number of images in it, or none.
    pub fn new(pixels: &'a [u8], size: [usize; 2]) -> Result<Self> {
        let per_image = 3 * size[0] * size[1];
        if per_image == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(per_image) {
            let [height, width] = size;
            let what = format!("each image of a batch of {width}×{height} pixels");
            return Err(DetectError::Pixels { what, expected: per_image.max(1), found: pixels.len() });
        }
        Ok(Self { pixels, size })
    }

    /// The images of a loaded batch.
    ///
    /// # Errors
    /// [`DetectError::Pixels`] for a batch without images.
    pub fn of(batch: &'a loader::Batch) -> Result<Self> {
        let length = batch.samples.len() * 3 * batch.height * batch.width;
        Self::new(&batch.pixels[..length], [batch.height, batch.width])
    }

    /// `[N, 3, height, width]`, RGB.
    pub fn pixels(&self) -> &'a [u8] {
        self.pixels
    }

    /// `[height, width]` in pixels.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }
}
