//! What the layers of a network make of an image, as pictures and as arrays of numpy.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_data::image::RgbImage;
use yolo_data::letterbox::{LetterboxOptions, Placement, letterbox_into};
use yolo_model::Checkpoint;
use yolo_nn::{Yolo, host_values};

use crate::{DetectOptions, Result};

/// Channels that are drawn of a layer.
const DRAWN: usize = 32;
/// Channels side by side.
const COLUMNS: usize = 8;
/// Maps are enlarged to about this many pixels in width.
const MIN_WIDTH: usize = 80;
/// White pixels around a map.
const GAP: usize = 2;

/// A network that shows its layers.
pub struct FeatureMaps {
    network: Yolo,
    device: Device,
}

/// The output of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMap {
    /// Index of the layer.
    pub layer: usize,
    /// Its module, as `C3`.
    pub kind: String,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// One number per cell, channel by channel.
    pub values: Vec<f32>,
}

impl FeatureMaps {
    /// The layers of `checkpoint`, on a device.
    ///
    /// # Errors
    /// A network that cannot be loaded there.
    pub fn new(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        Ok(Self { network: Yolo::from_checkpoint(checkpoint, device)?, device: device.clone() })
    }

    /// What every layer but the head makes of an image.
    ///
    /// # Errors
    /// A device that fails.
    pub fn maps(&self, image: &RgbImage, options: &DetectOptions) -> Result<Vec<FeatureMap>> {
        let stride = self.network.architecture().max_stride() as u32;
        let letterbox = LetterboxOptions { auto: !options.full, scale_up: true, stride };
        let placement = Placement::new((image.width, image.height), options.image_size, letterbox);
        let (height, width) = (placement.network.0 as usize, placement.network.1 as usize);
        let mut pixels = vec![0; 3 * height * width];
        letterbox_into(image, &placement, &mut pixels);
        let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        let input = Tensor::<4>::from_data(TensorData::new(values, [1, 3, height, width]), &self.device);
        let mut outputs = Vec::new();
        self.network.forward_observed(input, |layer, output| outputs.push((layer, output.clone())));
        let map = |(layer, output): (usize, Tensor<4>)| {
            let [_, channels, height, width] = output.dims();
            let name = self.network.architecture().layers[layer].block.name();
            let kind = name.chars().filter(|c| c.is_alphanumeric()).collect();
            let shape = [channels, height, width];
            Ok(FeatureMap { layer, kind, shape, values: host_values(output)? })
        };
        outputs.into_iter().map(map).collect()
    }
}

impl FeatureMap {
    /// The first channels as grey pictures side by side, each from its smallest value to its largest.
    pub fn picture(&self) -> RgbImage {
        let [channels, height, width] = self.shape;
        let scale = MIN_WIDTH.div_ceil(width.max(1));
        let shown = channels.min(DRAWN);
        let (columns, rows) = (shown.min(COLUMNS), shown.div_ceil(COLUMNS));
        let (cell_width, cell_height) = (width * scale + GAP, height * scale + GAP);
        let size = ((columns * cell_width + GAP) as u32, (rows * cell_height + GAP) as u32);
        let mut picture = RgbImage::filled(size.0, size.1, [255; 3]);
        for channel in 0..shown {
            let values = &self.values[channel * height * width..(channel + 1) * height * width];
            let (low, high) = values
                .iter()
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
            let range = if high > low { high - low } else { 1.0 };
            let left = GAP + channel % COLUMNS * cell_width;
            let top = GAP + channel / COLUMNS * cell_height;
            for (y, x) in (0..height * scale).flat_map(|y| (0..width * scale).map(move |x| (y, x))) {
                let value = values[y / scale * width + x / scale];
                let grey = ((value - low) / range * 255.0).round() as u8;
                let at = 3 * ((top + y) * size.0 as usize + left + x);
                picture.pixels[at..at + 3].fill(grey);
            }
        }
        picture
    }

    /// All channels as numpy saves them: `[channels, height, width]` in single precision.
    pub fn npy(&self) -> Vec<u8> {
        let [channels, height, width] = self.shape;
        let shape = format!("({channels}, {height}, {width})");
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        // Magic, version and length are ten bytes; with the header and a line feed they fill 64 or 128.
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((length as u16).to_le_bytes());
        bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
        bytes.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_lie_side_by_side_and_the_array_has_all_of_them() {
        let values = (0..360).map(|i| (i % 40) as f32).collect();
        let map = FeatureMap { layer: 0, kind: "Conv".to_owned(), shape: [9, 1, 40], values };
        let picture = map.picture();
        // Eight columns and two rows of maps twice as large, with gaps.
        assert_eq!((picture.width, picture.height), (8 * 82 + 2, 2 * 4 + 2));
        let grey = |x: usize, y: usize| picture.pixels[3 * (y * picture.width as usize + x)];
        assert_eq!((grey(0, 0), grey(2, 2), grey(81, 3), grey(82, 2), grey(84, 2)), (255, 0, 255, 255, 0));
        // The ninth begins the second row.
        assert_eq!((grey(2, 6), grey(81, 7), grey(84, 6)), (0, 255, 255));
        let npy = map.npy();
        assert_eq!(npy.len(), 128 + 4 * 360);
        assert!(npy.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4'"), "{:?}", &npy[..20]);
        assert_eq!((npy[127], &npy[132..136]), (b'\n', &1f32.to_le_bytes()[..]));
    }
}
