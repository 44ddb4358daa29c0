//! From a batch of images to decoded rows, whatever runs the network.

#[cfg(feature = "nn")]
use burn::tensor::Device;
use rayon::prelude::*;
use yolo_eval::Convention;
use yolo_model::{Architecture, FusedCheckpoint, Predictions, RawMap, Selection};
use yolo_runtime::{CompiledNetwork, Options};

use crate::convention::convention_of;
use crate::error::{DetectError, Result};
#[cfg(feature = "nn")]
use crate::executor::DeviceExecutor;
use crate::executor::{CompiledExecutor, Executor, Images, Pending, Uploaded};
use crate::logits::Logits;
use crate::pass::Pass;

/// A network that finds boxes in images, or an ensemble: several networks whose boxes go into one suppression.
pub struct Detector {
    executor: Box<dyn Executor>,
}

/// What is computed from the images of a batch.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Rows without a score above this may be left out.
    pub score_threshold: f32,
    /// Test-time augmentation: [`Pass::AUGMENTED`] instead of [`Pass::PLAIN`].
    pub augment: bool,
    /// Whether the logits are returned as well.
    pub keep_logits: bool,
}

/// The rows of a batch.
#[derive(Debug, Default)]
pub struct Output {
    /// Decoded rows of every image: those of the first network, pass by pass, then those of the others.
    pub predictions: Vec<Predictions>,
    /// The first network's logits for the images as they are, if they were kept.
    pub logits: Option<Logits>,
}

/// Checks that a network reads images of three channels, as pictures are decoded.
///
/// # Errors
/// [`DetectError::Channels`] with those that it reads.
pub fn check_channels(architecture: &Architecture) -> Result<()> {
    match architecture.in_channels {
        3 => Ok(()),
        channels => Err(DetectError::Channels { channels }),
    }
}

impl Detector {
    /// A detector of the networks of `executor`.
    ///
    /// # Errors
    /// No network, networks with different numbers of classes, or one that does not read RGB images.
    pub fn new(executor: impl Executor + 'static) -> Result<Self> {
        let networks = executor.networks();
        let mut classes = networks.iter().map(|network| network.num_classes());
        let first = classes.next().ok_or(DetectError::NoNetwork)?;
        if let Some(other) = classes.find(|&other| other != first) {
            return Err(DetectError::EnsembleClasses { first, other });
        }
        networks.iter().try_for_each(|network| check_channels(network))?;
        // The boxes of several networks go into one suppression.
        let selections = networks.iter().map(|network| network.head().selection());
        if networks.len() > 1 && selections.into_iter().any(|selection| selection == Selection::Best) {
            return Err(DetectError::EndToEndEnsemble);
        }
        Ok(Self { executor: Box::new(executor) })
    }

    /// A detector compiled for this processor.
    ///
    /// # Errors
    /// As [`CompiledNetwork::new`].
    pub fn compiled(checkpoint: FusedCheckpoint<'_>, options: Options) -> Result<Self> {
        Self::new(CompiledExecutor::new(vec![CompiledNetwork::new(checkpoint, options, None)?]))
    }

    /// A detector on a device of Burn: see [`DeviceExecutor::new`].
    ///
    /// # Errors
    /// Tensors that do not fit the architecture.
    #[cfg(feature = "nn")]
    pub fn on_device(checkpoint: &FusedCheckpoint<'_>, device: &Device, threads: usize) -> Result<Self> {
        Self::new(DeviceExecutor::new(device, threads).with(checkpoint)?)
    }

    /// The number of classes, the same for all networks.
    pub fn num_classes(&self) -> usize {
        self.executor.networks().first().map_or(0, |network| network.num_classes())
    }

    /// The conventions of the first network's family.
    pub fn convention(&self) -> Convention {
        self.executor.networks().first().map_or(Convention::Yolov5, |network| convention_of(network))
    }

    /// How predictions become detections: as the first network's head has it.
    pub fn selection(&self) -> Selection {
        self.executor.networks().first().map_or(Selection::Suppression, |network| network.head().selection())
    }

    /// The stride of the coarsest level of all networks, in pixels. Sides of images must be multiples of it.
    pub fn max_stride(&self) -> usize {
        self.executor.networks().iter().map(|network| network.max_stride()).max().unwrap_or(1)
    }

    /// Checks that a side of an image fits the network.
    ///
    /// # Errors
    /// [`DetectError::ImageSize`] unless `side` is a positive multiple of the largest stride.
    pub fn check_side(&self, side: usize) -> Result<()> {
        let stride = self.max_stride();
        let fits = side > 0 && side.is_multiple_of(stride);
        if fits { Ok(()) } else { Err(DetectError::ImageSize { size: side, stride }) }
    }

    /// Prepares for images of `size`, `[height, width]` in pixels, so that the preparation does not count as time of
    /// the first batch.
    ///
    /// # Errors
    /// A size that does not fit a network.
    pub fn prepare(&self, size: [usize; 2], augment: bool) -> Result<()> {
        self.executor.prepare(size, passes(augment))
    }

    /// Whether steps of different batches may overlap to save time: [`Batch::launch`].
    pub fn overlaps(&self) -> bool {
        self.executor.overlaps() && self.executor.networks().len() == 1
    }

    /// Takes a batch: its bytes become floats, where the networks run. [`Batch::wait`] waits for them.
    ///
    /// # Errors
    /// [`DetectError::ImageSize`] for a side that is not a multiple of the largest stride, or a device that fails.
    pub fn upload(&self, images: Images<'_>) -> Result<Batch<'_>> {
        images.size().into_iter().try_for_each(|side| self.check_side(side))?;
        let executor = self.executor.as_ref();
        Ok(Batch { executor, width: images.size()[1], images: executor.upload(images)? })
    }
}

/// A batch in the memory of its detector.
pub struct Batch<'a> {
    executor: &'a dyn Executor,
    images: Box<dyn Uploaded + 'a>,
    /// In pixels.
    width: usize,
}

impl<'a> Batch<'a> {
    /// Waits until the images are complete.
    ///
    /// # Errors
    /// A device that fails.
    pub fn wait(&self) -> Result<()> {
        self.images.wait()
    }

    /// Runs every network in every pass, one after the other, and decodes their logits.
    ///
    /// # Errors
    /// A device that fails, or logits that are not finite.
    pub fn run(&self, options: RunOptions) -> Result<Output> {
        let mut output = Output::default();
        for (index, network) in self.executor.networks().into_iter().enumerate() {
            for pass in passes(options.augment) {
                let logits = self.images.launch(index, pass)?.read()?;
                output.add(Decoding { network, pass, width: self.width }, logits, options);
            }
        }
        Ok(output)
    }

    /// Starts every network in every pass, without waiting for the logits.
    ///
    /// # Errors
    /// A forward pass that cannot start.
    pub fn launch(&self, options: RunOptions) -> Result<Launched<'a>> {
        let mut pending = Vec::new();
        for (index, network) in self.executor.networks().into_iter().enumerate() {
            for pass in passes(options.augment) {
                let decoding = Decoding { network, pass, width: self.width };
                pending.push((decoding, self.images.launch(index, pass)?));
            }
        }
        Ok(Launched { pending, options })
    }
}

/// A batch whose forward passes were started.
pub struct Launched<'a> {
    pending: Vec<(Decoding<'a>, Pending)>,
    options: RunOptions,
}

impl<'a> Launched<'a> {
    /// Waits for the logits.
    ///
    /// # Errors
    /// A device that fails, or logits that are not finite.
    pub fn read(self) -> Result<Computed<'a>> {
        let read = |(decoding, pending): (Decoding<'a>, Pending)| Ok((decoding, pending.read()?));
        Ok(Computed {
            logits: self.pending.into_iter().map(read).collect::<Result<_>>()?,
            options: self.options,
        })
    }
}

/// A batch whose logits are on the host. It can go to another thread.
pub struct Computed<'a> {
    logits: Vec<(Decoding<'a>, Logits)>,
    options: RunOptions,
}

impl Computed<'_> {
    /// Decodes the logits.
    pub fn decode(self) -> Output {
        let mut output = Output::default();
        for (decoding, logits) in self.logits {
            output.add(decoding, logits, self.options);
        }
        output
    }
}

impl Output {
    /// Adds the rows of one network's logits.
    fn add(&mut self, decoding: Decoding<'_>, logits: Logits, options: RunOptions) {
        let rows = decoding.rows(&logits, options.score_threshold);
        if self.predictions.is_empty() {
            self.predictions = rows;
        } else {
            for (predictions, more) in self.predictions.iter_mut().zip(rows) {
                predictions.append(more);
            }
        }
        if options.keep_logits && self.logits.is_none() {
            self.logits = Some(logits);
        }
    }
}

/// What the decoder has to know of logits.
#[derive(Clone, Copy)]
struct Decoding<'a> {
    network: &'a Architecture,
    pass: &'static Pass,
    /// Of the images, in pixels.
    width: usize,
}

impl Decoding<'_> {
    /// The rows of every image.
    fn rows(&self, logits: &Logits, score_threshold: f32) -> Vec<Predictions> {
        let head = self.network.head();
        let images = logits.images();
        let decode = |maps: &Vec<RawMap<'_>>| {
            let n_rows = maps.iter().map(|map| map.height * map.width * head.rows_per_cell()).sum();
            let mut rows = head.decode_rows(maps, score_threshold, self.pass.rows(n_rows, maps.len()));
            self.pass.undo(&mut rows, self.width);
            rows
        };
        images.par_iter().map(decode).collect()
    }
}

fn passes(augment: bool) -> &'static [Pass] {
    if augment { &Pass::AUGMENTED } else { &Pass::PLAIN }
}
