//! Which batch size fits into the memory of a device, found by trying.

use burn::tensor::{Device, Tensor};
use yolo_model::Checkpoint;
use yolo_nn::{Yolo, host_values};

use crate::error::Result;

/// Runs a batch of black images of `shape` (`[N, 3, H, W]`) through a network, and back if it `trains`.
///
/// # Errors
/// What the device says; a device may also panic when its memory runs out.
pub fn try_batch(checkpoint: &Checkpoint, device: &Device, shape: [usize; 4], trains: bool) -> Result<()> {
    if !trains {
        let model = Yolo::from_checkpoint(&*checkpoint.fuse()?, device)?;
        for map in model.forward(Tensor::zeros(shape, device)) {
            host_values(map)?;
        }
        return Ok(());
    }
    let device = device.clone().autodiff();
    let model = Yolo::from_checkpoint(checkpoint, &device)?;
    let maps = model.forward(Tensor::zeros(shape, &device));
    let loss = maps.into_iter().map(|map| map.square().mean()).reduce(|sum, next| sum + next);
    if let Some(loss) = loss {
        model.gradients(&loss.backward())?;
    }
    Ok(())
}

/// The largest of `batch_size` halved again and again that `fits`, or none if not even one image does.
pub fn largest_fitting(batch_size: usize, mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
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
