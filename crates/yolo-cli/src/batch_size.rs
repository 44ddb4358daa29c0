//! `--batch-size -1`: as many images per batch as fit into the memory that is free.

use std::process::Command;

use anyhow::{Result, bail};
use yolo_data::train_loader::memory::available;
use yolo_model::Architecture;

use yolo_device::DeviceName;

/// Bytes that training takes for each number of the network's maps, in values that are kept for the way back and in
/// gradients: on the processor, where yolov5n was measured to take 6, and on GPUs, where batch normalisation and activation
/// keep values of their own.
const BYTES_PER_NUMBER: [f64; 2] = [8.0, 20.0];
/// The part of the free memory that is used: other programs want some, and images are decoded ahead.
const USED: f64 = 0.6;

/// The batch size for training `architecture` on images of `image_size` pixels, at most `most`, and the sentence that says
/// how it came about.
///
/// # Errors
/// A device whose free memory is not known, or too little memory for one image.
pub(crate) fn fitting(
    architecture: &Architecture,
    image_size: usize,
    device: &str,
    most: usize,
) -> Result<(usize, String)> {
    let name = DeviceName::parse(device)?;
    let free = if name.is_gpu() { free_on_gpu(&name) } else { available() };
    let Some(free) = free else {
        bail!(
            "--batch-size -1: the free memory of --device {device} is not known; name a number, as --batch-size 16"
        );
    };
    let [on_processor, on_gpu] = BYTES_PER_NUMBER;
    let bytes = if name.is_gpu() { on_gpu } else { on_processor };
    let per_image = numbers_per_image(architecture, image_size) as f64 * bytes;
    let devices = if name.is_gpu() { name.count() } else { 1 };
    let fits = (free as f64 * USED / per_image) as usize * devices;
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    if fits == 0 {
        bail!(
            "--batch-size -1: one image of {image_size} pixels takes about {:.0} MiB, but only {:.0} MiB are free; use a \
             smaller --imgsz or network",
            mib(per_image),
            mib(free as f64)
        );
    }
    let size = fits.min(most.max(1));
    let line = format!(
        "Batch size: {size} (about {:.0} MiB per image, {:.1} GiB free)",
        mib(per_image),
        mib(free as f64) / 1024.0
    );
    Ok((size, line))
}

/// Numbers in all maps of a network for an image.
fn numbers_per_image(architecture: &Architecture, image_size: usize) -> usize {
    let program = architecture.program();
    let sizes = program.sizes([image_size; 2]);
    let numbers =
        program.channels.iter().zip(sizes).map(|(channels, [height, width])| channels * height * width);
    numbers.sum()
}

/// Free bytes of the first GPU of a device, as NVIDIA's own tool tells them.
fn free_on_gpu(name: &DeviceName) -> Option<u64> {
    let first = name.first().to_string();
    let index = first.rsplit(':').next().filter(|index| index.parse::<usize>().is_ok()).unwrap_or("0");
    let query = ["--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", index];
    let output = Command::new("nvidia-smi").args(query).output().ok()?;
    let mib: u64 = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    Some(mib << 20)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn larger_images_take_more_and_the_limit_holds() {
        let network = Architecture::variant("yolov5n", None).unwrap();
        assert_eq!(numbers_per_image(&network, 640), 4 * numbers_per_image(&network, 320));
        let (size, line) = fitting(&network, 64, "cpu", 3).unwrap();
        assert_eq!(size, 3);
        assert!(line.starts_with("Batch size: 3 (about ") && line.ends_with("GiB free)"), "{line}");
    }
}
