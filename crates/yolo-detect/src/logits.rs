//! The logits of a batch, on the host.

use yolo_model::RawMap;
use yolo_runtime::LevelLogits;

use crate::error::{DetectError, Result};

/// The logits of every image of a batch, all finite.
///
/// Held in parts as the executor computed them: each part has consecutive images, and per level one
/// `[N, channels, height, width]`, finest level first.
#[derive(Clone, Debug)]
pub struct Logits {
    parts: Vec<Vec<LevelLogits>>,
}

impl Logits {
    /// The logits of one part, level by level.
    ///
    /// # Errors
    /// [`DetectError::NotFinite`] for NaN or an infinite value.
    pub fn new(levels: Vec<LevelLogits>) -> Result<Self> {
        let is_finite = |level: &LevelLogits| level.values.iter().all(|logit| logit.is_finite());
        if levels.iter().all(is_finite) {
            Ok(Self { parts: vec![levels] })
        } else {
            Err(DetectError::NotFinite)
        }
    }

    /// The logits of several parts of a batch, in the order of their images.
    pub fn concat(parts: impl IntoIterator<Item = Self>) -> Self {
        Self { parts: parts.into_iter().flat_map(|part| part.parts).collect() }
    }

    /// The parts, each with its levels.
    pub fn into_parts(self) -> Vec<Vec<LevelLogits>> {
        self.parts
    }

    /// The maps of every image, finest level first.
    pub(crate) fn images(&self) -> Vec<Vec<RawMap<'_>>> {
        let images_of = |levels: &'_ Vec<LevelLogits>| levels.first().map_or(0, |level| level.dims[0]);
        let maps = |levels, image| -> Vec<RawMap<'_>> {
            let levels: &Vec<LevelLogits> = levels;
            levels.iter().map(|level| map_of(level, image)).collect()
        };
        self.parts
            .iter()
            .flat_map(|levels| (0..images_of(levels)).map(move |image| maps(levels, image)))
            .collect()
    }
}

fn map_of(level: &LevelLogits, image: usize) -> RawMap<'_> {
    let [_, channels, height, width] = level.dims;
    let length = channels * height * width;
    RawMap { logits: &level.values[image * length..(image + 1) * length], height, width }
}
