//! Logits on the host.

use burn::tensor::Tensor;
use yolo_model::RawMap;
use yolo_nn::host_values;

use crate::error::{Result, TrainError};

/// The logits of one level for several images, on the host.
#[derive(Default)]
pub(super) struct HostMap {
    pub(super) logits: Vec<f32>,
    /// `[N, anchors · (5 + num_classes), height, width]`.
    pub(super) dims: [usize; 4],
}

impl HostMap {
    pub(super) fn read(map: Tensor<4>) -> Result<Self> {
        let dims = map.dims();
        Self { logits: Vec::new(), dims }.with(host_values(map)?)
    }

    pub(super) fn append(&mut self, level: yolo_runtime::LevelLogits) -> Result<()> {
        let [n, channels, height, width] = level.dims;
        let before = std::mem::take(self);
        let dims = [before.dims[0] + n, channels, height, width];
        *self = Self { logits: before.logits, dims }.with(level.values)?;
        Ok(())
    }

    /// With more logits, which have to be finite.
    fn with(mut self, logits: Vec<f32>) -> Result<Self> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(TrainError::NotFinite);
        }
        if self.logits.is_empty() {
            self.logits = logits
        } else {
            self.logits.extend(logits)
        }
        Ok(self)
    }

    pub(super) fn image(&self, image: usize) -> RawMap<'_> {
        let [_, channels, height, width] = self.dims;
        let length = channels * height * width;
        RawMap { logits: &self.logits[image * length..(image + 1) * length], height, width }
    }
}

/// Images of a batch with these levels.
pub(super) fn n_images(maps: &[HostMap]) -> usize {
    maps.first().map_or(0, |map| map.dims[0])
}
