//! Order, limits, failures and early ends of the loader, on synthetic images.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::DataError;

/// Files that do not exist, named by their size: `WxH`, `bad` or `panic`.
fn item(name: &str) -> Item {
    Item { image: name.into(), width: 8, height: 4, labels: Vec::new() }
}

/// An image of 8×4 pixels whose grey is the number in its name.
fn fake(path: &Path) -> Result<Decoded> {
    let name = path.to_string_lossy();
    assert!(name != "panic", "as the test asks");
    let grey: u8 = name.parse().map_err(|_| DataError::invalid(path, "no number"))?;
    // Later images are faster, so that a loader that does not keep the order is caught.
    std::thread::sleep(std::time::Duration::from_millis(u64::from(20 - grey.min(20))));
    Ok(Decoded { image: RgbImage::filled(8, 4, [grey, grey + 100, 200]), warnings: Vec::new() })
}

fn plans(n: usize, batch_size: usize) -> Vec<BatchPlan> {
    let indices: Vec<usize> = (0..n).collect();
    indices.chunks(batch_size).map(|c| BatchPlan { indices: c.to_vec(), height: 6, width: 10 }).collect()
}

fn loader(names: &[&str], batch_size: usize, workers: usize) -> Loader {
    let items: Vec<Item> = names.iter().map(|n| item(n)).collect();
    let options = LoaderOptions { workers, image_size: 8, ..Default::default() };
    Loader::with_decode(items.into(), plans(names.len(), batch_size), options, fake)
}

/// The grey in the middle of every image of a batch, red plane.
fn greys(batch: &Batch) -> Vec<u8> {
    batch.pixels.chunks_exact(3 * 6 * 10).map(|image| image[3 * 10 + 5]).collect()
}

#[test]
fn batches_come_in_order_with_any_number_of_workers() {
    let names = ["1", "9", "3", "17", "5", "6", "20"];
    for workers in [0, 1, 2, 5] {
        let batches: Vec<Batch> = loader(&names, 3, workers).collect::<Result<_>>().unwrap();
        let all: Vec<Vec<u8>> = batches.iter().map(greys).collect();
        assert_eq!(all, [vec![1, 9, 3], vec![17, 5, 6], vec![20]], "{workers} workers");
        assert_eq!(batches[1].samples[2].item_idx, 5);
        assert_eq!((batches[0].height, batches[0].width), (6, 10));
    }
}

#[test]
fn pixels_are_planar_with_a_grey_border() {
    let batch = loader(&["7"], 1, 0).next().unwrap().unwrap();
    let planes: Vec<&[u8]> = batch.pixels.chunks_exact(60).collect();
    for (plane, value) in planes.iter().zip([7, 107, 200]) {
        for (i, &v) in plane.iter().enumerate() {
            let (y, x) = (i / 10, i % 10);
            let inside = (1..5).contains(&y) && (1..9).contains(&x);
            assert_eq!(v, if inside { value } else { 114 }, "y {y}, x {x}");
        }
    }
    assert_eq!(batch.samples[0].geometry.pad, (1.0, 1.0));
}

#[test]
fn unreadable_images_are_left_out_and_reported() {
    for workers in [0, 2] {
        let batches: Vec<Batch> =
            loader(&["bad", "2", "worse", "4", "bad"], 4, workers).collect::<Result<_>>().unwrap();
        assert_eq!(greys(&batches[0]), [2, 4]);
        assert_eq!(batches[0].samples.iter().map(|s| s.item_idx).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(batches[0].skipped.iter().map(|s| s.item_idx).collect::<Vec<_>>(), [0, 2]);
        assert!(batches[0].skipped[1].error.contains("worse"));
        // A batch without readable images is returned empty.
        assert!(batches[1].pixels.is_empty() && batches[1].samples.is_empty());
        assert_eq!(batches[1].skipped.len(), 1);
    }
}

#[test]
fn a_changed_image_is_loaded_with_a_warning() {
    let items = vec![Item { width: 9, ..item("3") }];
    let mut loader = Loader::with_decode(items.into(), plans(1, 1), LoaderOptions::default(), fake);
    let batch = loader.next().unwrap();
    assert!(batch.is_ok_and(|b| b.warnings.len() == 1 && b.warnings[0].contains("8×4")));
}

#[test]
fn a_panic_is_an_error_and_ends_the_iteration() {
    for workers in [0, 1, 3] {
        let mut loader = loader(&["1", "panic", "3", "4", "5", "6"], 2, workers);
        let error = loader.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("panic"), "{error}");
        assert!(loader.next().is_none());
    }
}

#[test]
fn dropping_early_stops_the_threads() {
    static DECODED: AtomicUsize = AtomicUsize::new(0);
    fn counting(path: &Path) -> Result<Decoded> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        fake(path)
    }
    let items: Vec<Item> = (0..100).map(|_| item("19")).collect();
    let options = LoaderOptions { image_size: 8, ..Default::default() };
    let mut loader = Loader::with_decode(items.into(), plans(100, 2), options, counting);
    assert!(loader.next().is_some());
    let job = Arc::downgrade(&loader.pipeline.job);
    drop(loader);
    assert!(job.upgrade().is_none(), "a thread still holds the job");
    // One batch handed out, two ahead, two images each.
    assert!(DECODED.load(Ordering::SeqCst) <= 6);
}

#[test]
fn batches_are_begun_only_up_to_the_limit() {
    static DECODED: AtomicUsize = AtomicUsize::new(0);
    fn counting(path: &Path) -> Result<Decoded> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        fake(path)
    }
    let items: Vec<Item> = (0..20).map(|_| item("20")).collect();
    let options = LoaderOptions { image_size: 8, workers: 3, prefetch_batches: 2, ..Default::default() };
    let mut loader = Loader::with_decode(items.into(), plans(20, 2), options, counting);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(DECODED.load(Ordering::SeqCst), 4);
    let batch = loader.next().unwrap().unwrap();
    loader.recycle(batch);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(DECODED.load(Ordering::SeqCst), 6);
    assert_eq!(loader.count(), 9);
}

#[test]
fn no_plans_give_no_batches() {
    assert!(loader(&[], 1, 2).next().is_none());
    let empty = vec![BatchPlan { indices: vec![], height: 6, width: 10 }];
    for workers in [0, 2] {
        let options = LoaderOptions { workers, ..Default::default() };
        let batches: Vec<Batch> = Loader::new(vec![item("1")], empty.clone(), options).flatten().collect();
        assert_eq!(batches.len(), 1);
        assert!(batches[0].pixels.is_empty());
    }
}
