//! What a command does with a batch, to find the batch size that fits into the memory of its device.

use std::path::Path;

use anyhow::Result;
use yolo_device::{DeviceName, catching};
use yolo_train::memory::try_batch;

use crate::args::{Command, FITTING};
use crate::device;
use crate::image_size::fitting;
use crate::resolve::Weights;

/// What a command does with a batch.
pub(super) struct Load<'a> {
    device: &'a str,
    weights: &'a Path,
    pub(super) batch_size: usize,
    image_size: usize,
    trains: bool,
}

impl<'a> Load<'a> {
    /// The load of `command`, where its flags tell it.
    pub(super) fn of(command: &'a Command) -> Option<Self> {
        let (device, weights, batch_size, image_size, trains) = match command {
            Command::Val(args) => (
                &args.compute.device,
                args.weights.first()?,
                args.batch_size.unwrap_or(32),
                args.imgsz,
                false,
            ),
            Command::Sweep(args) => {
                (&args.compute.device, &args.weights, args.batch_size, args.imgsz.unwrap_or(640), false)
            }
            Command::Train(args) if args.resume.resume.is_none() && args.batch_size != FITTING => {
                (&args.compute.device, &args.weights, args.batch_size, args.imgsz, true)
            }
            Command::PruneFinetune(args) => {
                (&args.compute.device, &args.weights, args.batch_size?, args.imgsz.unwrap_or(640), true)
            }
            _ => return None,
        };
        let (batch_size, image_size) = (batch_size as usize, image_size as usize);
        Some(Self { device, weights, batch_size, image_size, trains })
    }

    /// Whether the device takes `batch_size` images at once.
    pub(super) fn fits(&self, batch_size: usize) -> bool {
        matches!(catching(|| self.try_batch(batch_size)), Ok(Ok(())))
    }

    fn try_batch(&self, batch_size: usize) -> Result<()> {
        let name = DeviceName::parse(self.device)?;
        let device = device::parse(&name.first().to_string())?;
        // Training shares a batch out; the first device has the largest part.
        let batch_size = if self.trains { batch_size.div_ceil(name.count()) } else { batch_size };
        device.memory_cleanup();
        let checkpoint = Weights::load(self.weights, true)?.checkpoint;
        let side = fitting(self.image_size, checkpoint.architecture.max_stride());
        Ok(try_batch(&checkpoint, &device, [batch_size, 3, side, side], self.trains)?)
    }
}
