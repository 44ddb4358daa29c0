//! Images to calibrate with.

use burn::tensor::{Device, Tensor, TensorData};

use crate::error::{PruneError, Result};

/// A batch of images of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageBatch {
    /// `[n, channels, height, width]` values from 0 to 255; for a detector three planes in the order R, G, B.
    pub pixels: Vec<u8>,
    /// Number of images.
    pub n: usize,
    /// Height in pixels, a multiple of the network's largest stride.
    pub height: usize,
    /// Width in pixels, a multiple of the network's largest stride.
    pub width: usize,
}

/// Batches of images without labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalibrationImages {
    batches: Vec<ImageBatch>,
}

impl CalibrationImages {
    /// The images of `batches`; empty batches are left out.
    ///
    /// # Errors
    /// [`PruneError::Calibration`] if the number of pixels does not fit the sides, or there is no image.
    pub fn new(batches: impl IntoIterator<Item = ImageBatch>) -> Result<Self> {
        let batches: Vec<ImageBatch> = batches.into_iter().filter(|batch| batch.n > 0).collect();
        for batch in &batches {
            let ImageBatch { n, height, width, .. } = *batch;
            let is_whole =
                batch.channels() > 0 && batch.pixels.len() == n * batch.channels() * height * width;
            if !is_whole {
                let reason = format!("{} bytes are not {n} images of {height}×{width}", batch.pixels.len());
                return Err(PruneError::Calibration { reason });
            }
        }
        if batches.is_empty() {
            return Err(PruneError::Calibration { reason: "there are no images".to_owned() });
        }
        Ok(Self { batches })
    }

    /// Checks that the images have as many channels as the network reads.
    ///
    /// # Errors
    /// [`PruneError::Calibration`] with both numbers.
    pub(crate) fn check_channels(&self, expected: usize) -> Result<()> {
        match self.batches.iter().find(|batch| batch.channels() != expected) {
            None => Ok(()),
            Some(batch) => {
                let channels = batch.channels();
                let reason = format!("the images have {channels} channels but the network reads {expected}");
                Err(PruneError::Calibration { reason })
            }
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.n).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The batches as tensors `[n, channels, height, width]` in `[0, 1]` on `device`.
    pub fn tensors(&self, device: &Device) -> impl Iterator<Item = Tensor<4>> {
        self.batches.iter().map(move |batch| batch.tensor(device))
    }

    /// The batches.
    pub fn batches(&self) -> &[ImageBatch] {
        &self.batches
    }
}

impl ImageBatch {
    /// Channels of an image.
    fn channels(&self) -> usize {
        self.pixels.len() / (self.n * self.height * self.width).max(1)
    }

    /// `[n, channels, height, width]` in `[0, 1]`, on `device`.
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<4> {
        let values: Vec<f32> = self.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        Tensor::from_data(TensorData::new(values, [self.n, self.channels(), self.height, self.width]), device)
    }
}
