//! Decoding, resizing and letterboxing: the pieces, and images per second through the loader.
//!
//! Needs the coco-tiny folder (`YOLO_COCO_TINY`, or the shared folder of the project) for the parts that decode.
//! `peer_images.py` measures the same with OpenCV.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use yolo_data::dataset::Item;
use yolo_data::image::{RgbImage, decode, decode_file};
use yolo_data::letterbox::{LetterboxOptions, Placement, letterbox_into};
use yolo_data::loader::{Loader, LoaderOptions};
use yolo_data::rect::{BatchOptions, BatchPlan, plan_batches};
use yolo_data::resize::{Interpolation, resize_into};

const WORKERS: usize = 2;

fn coco_val() -> Option<Vec<PathBuf>> {
    let root = std::env::var_os("YOLO_COCO_TINY")
        .map_or_else(|| PathBuf::from("/work/shared/data/coco-tiny"), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(root.join("images/val2017")) else {
        eprintln!("skipped: no coco-tiny at {}; set YOLO_COCO_TINY", root.display());
        return None;
    };
    let mut paths: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Some(paths)
}

fn pieces(c: &mut Criterion) {
    if let Some(paths) = coco_val() {
        let files: Vec<Vec<u8>> = paths.iter().map(|p| std::fs::read(p).unwrap()).collect();
        let mut group = c.benchmark_group("decode");
        group.sample_size(20).throughput(Throughput::Elements(files.len() as u64));
        group.bench_function("coco val, one thread", |b| {
            b.iter(|| {
                for bytes in &files {
                    black_box(decode(bytes, Path::new("bench")).unwrap());
                }
            });
        });
        group.finish();
    }

    let noise = |n: usize| (0..n).map(|i| (i * 7919 % 251) as u8).collect();
    let small = RgbImage { width: 500, height: 375, pixels: noise(500 * 375 * 3) };
    let large = RgbImage { width: 1280, height: 853, pixels: noise(1280 * 853 * 3) };
    let mut out = RgbImage::default();
    c.bench_function("resize linear 500x375 to 640x480", |b| {
        b.iter(|| resize_into(black_box(&small), 640, 480, Interpolation::Linear, &mut out));
    });
    c.bench_function("resize area 1280x853 to 640x426", |b| {
        b.iter(|| resize_into(black_box(&large), 640, 426, Interpolation::Area, &mut out));
    });
    let loaded = RgbImage { width: 640, height: 480, pixels: noise(640 * 480 * 3) };
    let placement = Placement::new((640, 480), (512, 672), LetterboxOptions::VALIDATION);
    let mut slot = vec![0; 3 * 512 * 672];
    c.bench_function("letterbox 640x480 to planar 512x672", |b| {
        b.iter(|| letterbox_into(black_box(&loaded), &placement, &mut slot));
    });
}

fn load(items: &Arc<[Item]>, plans: &[BatchPlan], workers: usize) -> usize {
    let options = LoaderOptions { workers, ..Default::default() };
    let mut loader = Loader::new(Arc::clone(items), plans.to_vec(), options);
    let mut images = 0;
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        images += batch.samples.len();
        loader.recycle(batch);
    }
    images
}

fn through_the_loader(c: &mut Criterion) {
    let Some(paths) = coco_val() else { return };
    let item = |path: PathBuf| {
        let image = decode_file(&path).unwrap().image;
        Item { image: path, width: image.width, height: image.height, labels: Vec::new() }
    };
    let items: Arc<[Item]> = paths.into_iter().map(item).collect();
    let sizes: Vec<_> = items.iter().map(|i| (i.width, i.height)).collect();
    let options = BatchOptions { image_size: 640, batch_size: 16, stride: 32, pad: 0.5, rect: true };
    let plans = plan_batches(&sizes, &options);
    let mut group = c.benchmark_group("loader");
    group.sample_size(20).throughput(Throughput::Elements(items.len() as u64));
    for workers in [1, WORKERS] {
        group.bench_function(format!("coco val, {workers} workers"), |b| {
            b.iter(|| assert_eq!(load(&items, &plans, workers), items.len()));
        });
    }
    group.finish();
}

criterion_group!(benches, pieces, through_the_loader);
criterion_main!(benches);
