//! Experiment.
#![allow(missing_docs, clippy::unwrap_used, clippy::all)]
use std::path::Path;
use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};
use yolo_model::{Checkpoint, NmsOptions, Yolo};
use yolo_prune::*;
use yolo_train::calibration::{CalibrationOptions, calibration_images};
use yolo_train::{ValidationOptions, validate};

fn env(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or(default.to_owned())
}
fn named<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).unwrap()
}
fn main() {
    let device = burn::tensor::Device::flex();
    yolo_model::kernels::keep_freed_memory();
    let dense = Checkpoint::load(Path::new("/work/shared/weights/yolov5n.pt")).unwrap();
    let config = DatasetConfig::read(Path::new("/work/shared/data/coco-tiny/coco-tiny.yaml")).unwrap();
    let scan = ScanOptions { cache_dir: None, single_class: false, strict: false };
    let (mut a, mut b) = (Split::Train, Split::Val);
    if env("SWAP", "0") == "1" {
        std::mem::swap(&mut a, &mut b);
    }
    let train = Dataset::open(&config, a, &scan, &|_, _| {}).unwrap();
    let val = Dataset::open(&config, b, &scan, &|_, _| {}).unwrap();
    let n: usize = env("N", "80").parse().unwrap();
    let size: usize = env("SIZE", "640").parse().unwrap();
    let paths: Vec<_> = train.items.iter().map(|i| i.image.clone()).collect();
    let options = CalibrationOptions { max_images: n, image_size: size, stride: 32, workers: 2 };
    let (images, _) = calibration_images(&paths, &options).unwrap();
    let method = env("METHOD", "reconstruction");
    for amount in env("AMOUNT", "0.5").split(',') {
        let amount: f64 = amount.parse().unwrap();
        let mut o = PruneOptions::new(named(&method), amount);
        if let Ok(v) = std::env::var("CRIT") {
            o.criterion = named(&v);
        }
        if let Ok(v) = std::env::var("ALLOC") {
            o.allocation = named(&v);
        }
        if let Ok(v) = std::env::var("REPAIR") {
            o.repair = named(&v);
        }
        if let Ok(v) = std::env::var("RANK") {
            o.rank = named(&v);
        }
        if let Ok(v) = std::env::var("STRUCT") {
            o.structure = v.parse().unwrap();
        }
        if let Ok(v) = std::env::var("MAX") {
            o.limit.most = v.parse().unwrap();
        }
        if let Ok(v) = std::env::var("EXCLUDE") {
            o.exclude = v.split(',').map(Pattern::new).collect();
        }
        let t = std::time::Instant::now();
        let mut quiet = |_: &'static str, _: usize, _: usize| {};
        let mut cal = Calibration::new(&images, &device, &mut quiet);
        let p = plan_calibrated(&dense, &o, &mut cal).unwrap();
        let mut pruned = apply(&dense, &p).unwrap();
        let seconds = t.elapsed().as_secs_f64();
        let s = Sparsity::of(&pruned).unwrap();
        if std::env::var("LAYERS").is_ok() {
            for l in &s.layers {
                eprintln!("{:30} {:?} {:.3}", l.name, l.shape, l.fraction());
            }
        }
        let nms = NmsOptions { score_threshold: 0.001, iou_threshold: 0.65, ..NmsOptions::validation() };
        let v = ValidationOptions {
            batch_size: 16,
            nms,
            workers: 2,
            forward_threads: 2,
            ..ValidationOptions::new(640)
        };
        let map = |c: &Checkpoint| {
            let model = Yolo::from_checkpoint(&c.fuse().unwrap(), &device).unwrap();
            validate(&model, &val, &device, &v, |_| {}).unwrap().native
        };
        let r = map(&pruned);
        let ad = device.clone().autodiff();
        let mut re = String::new();
        if std::env::var("BN").is_ok() {
            let it = images
                .batches()
                .iter()
                .map(|b| Ok::<_, PruneError>(yolo_train::images(&b.pixels, b.n, b.height, b.width, &ad)));
            pruned = reestimate_batch_norm(&pruned, it, &ad).unwrap();
            re = format!("bn {:.4}", map(&pruned).map);
        }
        let rss = std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find(|l| l.starts_with("VmHWM"))
            .unwrap()
            .to_owned();
        println!(
            "{method} {:?} {:?} {:?} {} amount {amount} sparsity {:.4} map {:.4} map50 {:.4} {re} seconds {seconds:.1} {rss}",
            o.criterion,
            o.allocation,
            o.repair,
            o.structure,
            s.conv_zeros as f64 / s.conv_weights as f64,
            r.map,
            r.map50
        );
    }
}
