//! Determinism, failures, the cache and the targets of the training loader, on synthetic images.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use yolo_eval::Convention;

use super::*;
use crate::DataError;
use crate::dataset::Label;
use crate::image::Decoded;
use crate::letterbox::{Geometry, LetterboxOptions, letterbox};

const SIZE: u32 = 64;

/// All augmentations together.
const STRONG: Augmentation = Augmentation {
    convention: Convention::Yolov5,
    hsv_h: 0.1,
    hsv_s: 0.5,
    hsv_v: 0.5,
    degrees: 10.0,
    translate: 0.1,
    scale: 0.5,
    shear: 5.0,
    perspective: 0.0005,
    flipud: 0.5,
    fliplr: 0.5,
    mosaic: 0.7,
    mosaic9: 0.4,
    mixup: 0.5,
    copy_paste: 0.5,
};

/// Files that do not exist, named `WIDTHxHEIGHT-seed`, or `bad`.
fn item(name: &str, class: u32) -> Item {
    let (width, height) = size_of(name).unwrap_or((50, 40));
    let bbox_norm = Cxcywh { cx: 0.5, cy: 0.4, w: 0.6, h: 0.5 };
    let plain = Label { class, bbox_norm, polygon_norm: Vec::new() };
    let polygon_norm = vec![[0.05, 0.3], [0.3, 0.35], [0.2, 0.9]];
    let bbox_norm = Cxcywh { cx: 0.175, cy: 0.6, w: 0.25, h: 0.6 };
    let outlined = Label { class: class + 1, bbox_norm, polygon_norm };
    Item { image: name.into(), width, height, labels: vec![plain, outlined] }
}

fn size_of(name: &str) -> Option<(u32, u32)> {
    let (width, height) = name.split('-').next()?.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

fn fake(path: &Path) -> Result<Decoded> {
    let name = path.to_string_lossy();
    let (width, height) = size_of(&name).ok_or_else(|| DataError::invalid(path, "no size"))?;
    let seed = name.bytes().fold(7_u32, |seed, b| seed.wrapping_mul(31).wrapping_add(u32::from(b)));
    let value = |i: u32| (i.wrapping_mul(seed | 1) >> 5) as u8;
    let image = RgbImage { width, height, pixels: (0..3 * width * height).map(value).collect() };
    Ok(Decoded { image, warnings: Vec::new() })
}

fn items() -> Arc<[Item]> {
    let names = ["64x48-1", "30x64-2", "50x40-3", "64x64-4", "100x70-5", "64x20-6", "48x64-7"];
    names.iter().zip(0..).map(|(name, class)| item(name, class)).collect()
}

fn plans(items: &[Item], options: &TrainLoaderOptions, epoch: usize) -> Vec<BatchPlan> {
    let sizes: Vec<_> = items.iter().map(|i| (i.width, i.height)).collect();
    let TrainLoaderOptions { image_size, rect, seed, .. } = *options;
    epoch_plans(&sizes, &EpochOptions { batch_size: 3, image_size, stride: 32, rect, seed }, epoch, None)
}

fn options(augmentation: Augmentation) -> TrainLoaderOptions {
    TrainLoaderOptions { workers: 0, image_size: SIZE, augmentation, seed: 11, ..Default::default() }
}

fn batches(items: &Arc<[Item]>, options: TrainLoaderOptions, epoch: usize) -> Vec<TrainBatch> {
    let plans = plans(items, &options, epoch);
    let loader = TrainLoader::with_decode(Arc::clone(items), plans, epoch, options, None, fake);
    loader.collect::<Result<_>>().unwrap()
}

#[test]
fn batches_follow_from_seed_and_epoch_alone() {
    let items = items();
    let expected = batches(&items, options(STRONG), 4);
    assert_eq!(expected.iter().map(|b| b.item_indices.len()).collect::<Vec<_>>(), [3, 3, 1]);
    for workers in [1, 3] {
        assert_eq!(batches(&items, TrainLoaderOptions { workers, ..options(STRONG) }, 4), expected);
    }
    let bytes = |batches: &[TrainBatch]| batches.iter().flat_map(|b| b.pixels.clone()).collect::<Vec<u8>>();
    assert_ne!(bytes(&batches(&items, options(STRONG), 5)), bytes(&expected));
    let other_seed = TrainLoaderOptions { seed: 12, ..options(STRONG) };
    assert_ne!(bytes(&batches(&items, other_seed, 4)), bytes(&expected));
}

#[test]
fn the_same_item_is_augmented_differently_at_another_position() {
    let items = items();
    let plan = BatchPlan { indices: vec![2, 2], height: SIZE as usize, width: SIZE as usize };
    let mut loader = TrainLoader::with_decode(items, vec![plan], 0, options(STRONG), None, fake);
    let batch = loader.next().unwrap().unwrap();
    let (first, second) = batch.pixels.split_at(batch.pixels.len() / 2);
    assert_ne!(first, second);
}

#[test]
fn targets_lie_in_their_image_and_have_a_size() {
    let items = items();
    let mut targets = 0;
    for epoch in 0..30 {
        for batch in batches(&items, options(STRONG), epoch) {
            assert_eq!((batch.height, batch.width), (SIZE as usize, SIZE as usize));
            assert_eq!(batch.pixels.len(), batch.item_indices.len() * 3 * batch.height * batch.width);
            assert!(batch.targets.is_sorted_by_key(|t| t.image));
            for t in &batch.targets {
                targets += 1;
                let b = yolo_eval::Xyxy::from(t.bbox_norm);
                assert!(t.image < batch.item_indices.len() && t.class < 8);
                assert!(b.x1 > -1e-4 && b.y1 > -1e-4 && b.x2 < 1.0 + 1e-4 && b.y2 < 1.0 + 1e-4, "{t:?}");
                assert!(t.bbox_norm.w > 1.9 / 64.0 && t.bbox_norm.h > 1.9 / 64.0, "{t:?}");
            }
        }
    }
    // Seven samples an epoch; a mosaic has eight objects or more to start with.
    assert!(targets > 30 * 7 * 3, "{targets}");
}

#[test]
fn without_augmentation_images_are_letterboxed_and_targets_are_labels() {
    let items = items();
    for batch in batches(&items, options(Augmentation::none()), 0) {
        for (i, &item_idx) in batch.item_indices.iter().enumerate() {
            let item = &items[item_idx];
            let image = load(item, (SIZE, Convention::Yolov5), fake).unwrap().image;
            let options = LetterboxOptions { scale_up: true, ..LetterboxOptions::VALIDATION };
            let (boxed, ..) = letterbox(&image, (SIZE, SIZE), options);
            let mut planes = vec![0; boxed.pixels.len()];
            write_planes(&boxed, &mut planes);
            assert!(batch.pixels[i * planes.len()..(i + 1) * planes.len()] == planes, "{item_idx}");
            let geometry =
                Geometry::validation((item.width, item.height), SIZE, (SIZE, SIZE), Convention::Yolov5);
            let expected = geometry.labels_to_network(&item.labels);
            let targets: Vec<&Target> = batch.targets.iter().filter(|t| t.image == i).collect();
            assert_eq!(targets.len(), 2);
            for ((target, label), expected) in targets.iter().zip(&item.labels).zip(expected) {
                assert_eq!(target.class, label.class);
                let b = target.bbox_norm;
                let off = [b.cx - expected.cx, b.cy - expected.cy, b.w - expected.w, b.h - expected.h];
                // The box of an outline is that of its resampled points.
                assert!(off.iter().all(|d| d.abs() < 1e-3), "{b:?}, not {expected:?}");
            }
        }
    }
}

#[test]
fn rectangular_batches_have_the_shape_of_their_images_and_no_mosaics() {
    let items = items();
    let options =
        TrainLoaderOptions { rect: true, ..options(Augmentation { mosaic: 1.0, ..Augmentation::none() }) };
    let batches = batches(&items, options, 0);
    let mut shapes: Vec<_> = batches.iter().map(|b| (b.height, b.width)).collect();
    shapes.sort_unstable();
    assert_eq!(shapes, [(64, 32), (64, 64), (64, 64)]);
    // Two labels each: none come from other images.
    assert!(batches.iter().all(|b| b.targets.len() == 2 * b.item_indices.len()));
}

#[test]
fn an_unreadable_image_is_skipped_and_an_unreadable_partner_stays_grey() {
    let items: Arc<[Item]> = ["64x64-1", "bad", "bad"].iter().map(|name| item(name, 0)).collect();
    let mosaics = Augmentation { mosaic: 1.0, ..Augmentation::none() };
    let (mut skipped, mut warned) = (0, 0);
    for epoch in 0..10 {
        let batch = batches(&items, options(mosaics), epoch).remove(0);
        assert_eq!(batch.item_indices, [0]);
        skipped += batch.skipped.len();
        assert!(batch.skipped.iter().all(|s| s.error.contains("bad: no size")));
        assert_eq!(batch.pixels.len(), 3 * 64 * 64);
        if !batch.warnings.is_empty() {
            warned += 1;
            assert!(batch.warnings[0].starts_with("bad: ") && batch.warnings[0].contains("grey"));
        }
        assert!(batch.pixels.iter().any(|&v| v != 114));
    }
    assert_eq!(skipped, 20);
    assert!(warned > 5, "{warned}");
}

#[test]
fn a_single_class_replaces_all() {
    let options = TrainLoaderOptions { single_class: true, ..options(STRONG) };
    let batches = batches(&items(), options, 0);
    assert!(batches.iter().flat_map(|b| &b.targets).all(|t| t.class == 0));
}

#[test]
fn the_cache_changes_nothing_but_the_number_of_decodings() {
    static DECODED: AtomicUsize = AtomicUsize::new(0);
    fn counting(path: &Path) -> Result<Decoded> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        fake(path)
    }
    let items = items();
    let cache = Arc::new(ImageCache::with_budget(&items, SIZE, 1 << 20).unwrap());
    for epoch in 0..3 {
        let options = options(STRONG);
        let plans = plans(&items, &options, epoch);
        let cache = Some(Arc::clone(&cache));
        let loader = TrainLoader::with_decode(Arc::clone(&items), plans, epoch, options, cache, counting);
        let cached: Vec<TrainBatch> = loader.collect::<Result<_>>().unwrap();
        assert_eq!(cached, batches(&items, options, epoch));
    }
    assert_eq!(DECODED.load(Ordering::SeqCst), items.len());
    assert_eq!(cache.filled(), items.len());
}

#[test]
fn a_cache_that_does_not_fit_is_refused() {
    let items = items();
    // 64×48, 30×64, 64×51, 64×64, 64×44, 64×20 and 48×64 pixels.
    let bytes = 3 * 64 * (48 + 30 + 51 + 64 + 44 + 20 + 48);
    assert_eq!(ImageCache::estimate(&items, SIZE), bytes);
    assert!(ImageCache::with_budget(&items, SIZE, bytes * 11 / 10 + 2).is_ok());
    let error = ImageCache::with_budget(&items, SIZE, bytes).unwrap_err().to_string();
    assert!(error.contains("7 images"), "{error}");
}

#[test]
#[should_panic(expected = "a cache of other images")]
fn a_cache_of_another_size_is_a_mistake() {
    let items = items();
    let cache = Arc::new(ImageCache::with_budget(&items, 32, 1 << 20).unwrap());
    let _ = TrainLoader::new(items, Vec::new(), 0, options(STRONG), Some(cache));
}
