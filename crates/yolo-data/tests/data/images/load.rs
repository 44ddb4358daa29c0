//! The loader on real files.

use yolo_data::dataset::Item;
use yolo_data::image::decode_file;
use yolo_data::letterbox::{LetterboxOptions, letterbox, load_size_by};
use yolo_data::loader::{Batch, Loader, LoaderOptions};
use yolo_data::rect::{BatchOptions, plan_batches};
use yolo_data::resize::{Interpolation, resize};
use yolo_eval::Convention;

use super::fixture;

fn item(name: &str, width: u32, height: u32) -> Item {
    Item { image: fixture("decode").join(name), width, height, labels: Vec::new() }
}

/// One image to enlarge, one to shrink, one that is turned, and one that is missing.
fn items() -> Vec<Item> {
    vec![
        item("odd.jpg", 33, 19),
        item("444.jpg", 48, 36),
        item("missing.jpg", 40, 30),
        item("exif6.jpg", 16, 24),
        item("rgb.png", 48, 36),
    ]
}

fn load(workers: usize) -> Vec<Batch> {
    load_by(workers, Convention::Yolov5)
}

fn load_by(workers: usize, convention: Convention) -> Vec<Batch> {
    let items = items();
    let sizes: Vec<_> = items.iter().map(|i| (i.width, i.height)).collect();
    let plans = plan_batches(
        &sizes,
        &BatchOptions { image_size: 40, batch_size: 3, stride: 8, pad: 0.5, rect: true },
    );
    let options = LoaderOptions { workers, image_size: 40, convention, ..Default::default() };
    Loader::new(items, plans, options).collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_loader_equals_its_steps_one_by_one() {
    for convention in [Convention::Yolov5, Convention::Ultralytics] {
        assert_steps(convention);
    }
}

fn assert_steps(convention: Convention) {
    let items = items();
    let batches = load_by(2, convention);
    assert_eq!(batches.iter().map(|b| b.samples.len()).collect::<Vec<_>>(), [2, 2]);
    for batch in &batches {
        let plane = batch.height * batch.width;
        for (sample, pixels) in batch.samples.iter().zip(batch.pixels.chunks_exact(3 * plane)) {
            let image = decode_file(&items[sample.item_idx].image).unwrap().image;
            let (width, height) = load_size_by((image.width, image.height), 40, convention);
            assert_eq!(sample.geometry.loaded, (width, height));
            let shrinks = image.width.max(image.height) > 40 && convention == Convention::Yolov5;
            let mode = if shrinks { Interpolation::Area } else { Interpolation::Linear };
            let loaded = resize(&image, width, height, mode);
            let target = (batch.height as u32, batch.width as u32);
            let (expected, _, pad) = letterbox(&loaded, target, LetterboxOptions::VALIDATION);
            let whole = |pad: f64| if convention == Convention::Yolov5 { pad } else { (pad - 0.1).round() };
            assert_eq!(sample.geometry.pad, (whole(pad.0), whole(pad.1)));
            for (i, pixel) in expected.pixels.chunks_exact(3).enumerate() {
                assert_eq!(pixel, [pixels[i], pixels[plane + i], pixels[2 * plane + i]]);
            }
        }
    }
}

#[test]
fn a_missing_image_is_reported_and_the_rest_is_loaded() {
    let batches = load(1);
    let skipped: Vec<_> = batches.iter().flat_map(|b| &b.skipped).collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].item_idx, 2);
    assert!(skipped[0].error.contains("missing.jpg"), "{}", skipped[0].error);
}

#[test]
fn the_number_of_workers_does_not_change_a_byte() {
    let alone = load(0);
    for workers in [1, 2, 4] {
        assert_eq!(load(workers), alone);
    }
}
