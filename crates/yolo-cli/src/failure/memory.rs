//! Which batch size fits into the memory of a device, found by trying.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Tensor;
use yolo_nn::{Yolo, host_values};

use crate::args::Command;
use crate::device::{self, DeviceName, catching};
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
            Command::Val(args) => (&args.device, args.weights.first()?, args.batch_size, args.imgsz, false),
            Command::Sweep(args) => {
                (&args.device, &args.weights, args.batch_size, args.imgsz.unwrap_or(640), false)
            }
            Command::Train(args) if args.resume.is_none() => {
                (&args.device, &args.weights, args.batch_size, args.imgsz, true)
            }
            Command::PruneFinetune(args) => {
                (&args.device, &args.weights, args.batch_size?, args.imgsz.unwrap_or(640), true)
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
        let side = self.image_size.next_multiple_of(checkpoint.architecture.max_stride());
        let shape = [batch_size, 3, side, side];
        if !self.trains {
            let model = Yolo::from_checkpoint(&*checkpoint.fuse()?, &device)?;
            for map in model.forward(Tensor::zeros(shape, &device)) {
                host_values(map)?;
            }
            return Ok(());
        }
        let device = device.autodiff();
        let model = Yolo::from_checkpoint(&checkpoint, &device)?;
        let maps = model.forward(Tensor::zeros(shape, &device));
        let loss = maps.into_iter().map(|map| map.square().mean()).reduce(|sum, next| sum + next);
        if let Some(loss) = loss {
            model.gradients(&loss.backward())?;
        }
        Ok(())
    }
}

/// The largest of `batch_size` halved again and again that `fits`, or none if not even one image does.
pub(super) fn largest_fitting(batch_size: usize, mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
    let mut candidate = batch_size / 2;
    while candidate > 0 {
        if fits(candidate) {
            return Some(candidate);
        }
        candidate /= 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_sizes_are_halved_until_one_fits() {
        let mut tried = Vec::new();
        let fits = largest_fitting(48, |n| {
            tried.push(n);
            n <= 7
        });
        assert_eq!((fits, tried), (Some(6), vec![24, 12, 6]));
        assert_eq!(largest_fitting(32, |_| false), None);
        assert_eq!(largest_fitting(1, |_| true), None);
    }
}
