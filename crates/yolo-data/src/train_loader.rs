//! Stand-in until the loader lands.
#![allow(missing_docs, dead_code)]
use crate::{Cxcywh, Result, augment::Augmentation, dataset::Item, rect::BatchPlan};
use std::sync::Arc;
/// One object of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    pub image: usize,
    pub class: u32,
    pub bbox_norm: Cxcywh,
}
pub struct ImageCache;
impl ImageCache {
    pub fn new(_: &[Item], _: u32) -> Result<Self> {
        Ok(Self)
    }
}
pub struct TrainBatch {
    pub pixels: Vec<u8>,
    pub height: usize,
    pub width: usize,
    pub targets: Vec<Target>,
    pub item_indices: Vec<usize>,
    pub skipped: Vec<crate::loader::Skipped>,
    pub warnings: Vec<String>,
}
pub struct EpochOptions {
    pub batch_size: usize,
    pub image_size: u32,
    pub stride: u32,
    pub rect: bool,
    pub seed: u64,
}
pub fn epoch_plans(_: &[Item], _: &EpochOptions, _: usize, _: Option<&[f64]>) -> Vec<BatchPlan> {
    vec![]
}
pub fn image_weights(_: &[Item], _: &[f64], _: usize) -> Vec<f64> {
    vec![]
}
pub struct TrainLoaderOptions {
    pub workers: usize,
    pub image_size: u32,
    pub prefetch_batches: usize,
    pub augmentation: Augmentation,
    pub rect: bool,
    pub seed: u64,
    pub single_class: bool,
    pub skip_batches: usize,
}
pub struct TrainLoader;
impl TrainLoader {
    pub fn new(
        _: Arc<[Item]>,
        _: Vec<BatchPlan>,
        _: usize,
        _: TrainLoaderOptions,
        _: Option<Arc<ImageCache>>,
    ) -> Self {
        Self
    }
    pub fn remaining(&self) -> usize {
        0
    }
    pub fn recycle(&self, _: TrainBatch) {}
}
impl Iterator for TrainLoader {
    type Item = Result<TrainBatch>;
    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
