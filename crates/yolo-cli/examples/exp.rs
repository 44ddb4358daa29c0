//! Experiment.
#![allow(missing_docs, clippy::unwrap_used, clippy::all)]
use std::collections::BTreeMap;
use std::path::Path;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};
use yolo_model::{Checkpoint, NmsOptions, Yolo};
use yolo_prune::{Mask, Method, PruneOptions, Rank, plan};
use yolo_train::calibration::{CalibrationOptions, calibration_images};
use yolo_train::{ValidationOptions, validate};

fn env(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or(default.to_owned())
}
fn main() {
    let device = burn::tensor::Device::flex();
    yolo_model::kernels::keep_freed_memory();
    let dense = Checkpoint::load(Path::new("/work/shared/weights/yolov5n.pt")).unwrap();
    let config = DatasetConfig::read(Path::new("/work/shared/data/coco-tiny/coco-tiny.yaml")).unwrap();
    let scan = ScanOptions { cache_dir: None, single_class: false, strict: false };
    let (mut a, mut b) = (Split::Train, Split::Val);
    if env("SWAP", "0") == "1" { std::mem::swap(&mut a, &mut b); }
    let train = Dataset::open(&config, a, &scan, &|_, _| {}).unwrap();
    let val = Dataset::open(&config, b, &scan, &|_, _| {}).unwrap();
    let n: usize = env("N", "80").parse().unwrap();
    let size: usize = env("SIZE", "640").parse().unwrap();
    let paths: Vec<_> = train.items.iter().map(|i| i.image.clone()).collect();
    let options = CalibrationOptions { max_images: n, image_size: size, stride: 32, workers: 2 };
    let (images, _) = calibration_images(&paths, &options).unwrap();
    let fused = dense.fuse().unwrap();
    let amount: f64 = env("AMOUNT", "0.5").parse().unwrap();
    let mut popt = PruneOptions::new(Method::Global, amount);
    popt.rank = Rank::Stored;
    if env("METHOD", "global") == "layer" { popt.method = Method::Layer; }
    let t = std::time::Instant::now();
    let p = plan(&dense, &popt).unwrap();
    let masks: BTreeMap<String, Mask> = p.masks.iter().map(|l| (l.tensor.clone(), l.mask.clone())).collect();
    let new = yolo_prune::reconstruct::refit_masks(&fused, &masks, &images, &device).unwrap();
    let mut pruned = fused.clone();
    let (mut zeros, mut total) = (0usize, 0usize);
    for (name, (w, b)) in new {
        zeros += w.iter().filter(|v| **v == 0.0).count(); total += w.len();
        pruned.weights.get_mut(&name).unwrap().f32s_mut().unwrap().copy_from_slice(&w);
        let bias = name.replace(".weight", ".bias");
        pruned.weights.get_mut(&bias).unwrap().f32s_mut().unwrap().copy_from_slice(&b);
    }
    let seconds = t.elapsed().as_secs_f64();
    let model = Yolo::from_checkpoint(&pruned, &device).unwrap();
    let nms = NmsOptions { score_threshold: 0.001, iou_threshold: 0.65, ..NmsOptions::validation() };
    let v = ValidationOptions { batch_size: 16, nms, workers: 2, forward_threads: 2, ..ValidationOptions::new(640) };
    let r = validate(&model, &val, &device, &v, |_| {}).unwrap();
    let rss = std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmHWM")).unwrap().to_owned();
    println!("amount {amount} zeros {:.4} map {:.4} map50 {:.4} seconds {seconds:.1} {rss}", zeros as f64 / total as f64, r.native.map, r.native.map50);
}
