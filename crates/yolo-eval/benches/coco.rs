//! COCO evaluation at the size of val2017: 5 000 images, 36 800 annotations, 140 000 detections.
//!
//! The data are synthetic and always the same. With `YOLO_BENCH_DUMP=dir` they are written there as `gt.json` and
//! `dt.json`, with our twelve numbers in `stats.json`, for `peer_coco.py` to be timed on.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use yolo_eval::Ltwh;
use yolo_eval::coco::{Detection, Detections, GroundTruth, Params, evaluate, write_detections};

const IMAGES: u64 = 5_000;
const CATEGORIES: u64 = 80;
const ANNOTATIONS: u64 = 36_800;
const DETECTIONS: usize = 140_000;

/// A linear congruential generator (Knuth's MMIX constants): the same data everywhere, without a crate.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 31) as f64
    }

    /// Some categories are much more frequent than others, as in COCO.
    fn category(&mut self) -> i64 {
        if self.unit() < 0.3 { 1 } else { 1 + self.below(CATEGORIES) as i64 }
    }

    /// Mostly small boxes inside 640 × 480, on hundredths of a pixel.
    fn bbox(&mut self) -> Ltwh {
        let hundredths = |v: f64| (v * 100.0).round() / 100.0;
        let w = hundredths(4.0 + 400.0 * self.unit().powi(3));
        let h = hundredths(4.0 + 300.0 * self.unit().powi(3));
        let left = hundredths(self.unit() * (640.0 - w));
        let top = hundredths(self.unit() * (480.0 - h));
        Ltwh { left, top, w, h }
    }
}

/// An annotation file; every annotation has an outline, as real ones do.
fn ground_truth(rng: &mut Lcg) -> (String, Vec<(i64, i64, Ltwh)>) {
    let mut text = String::from("{\"info\":{\"year\":2017},\"images\":[");
    for id in 1..=IMAGES {
        let comma = if id > 1 { "," } else { "" };
        write!(text, "{comma}{{\"id\":{id},\"width\":640,\"height\":480,\"file_name\":\"{id:012}.jpg\"}}")
            .unwrap();
    }
    text.push_str("],\"categories\":[");
    for id in 1..=CATEGORIES {
        let comma = if id > 1 { "," } else { "" };
        write!(text, "{comma}{{\"id\":{id},\"name\":\"c{id}\"}}").unwrap();
    }
    text.push_str("],\"annotations\":[");
    let mut objects = Vec::new();
    for id in 1..=ANNOTATIONS {
        let (image, category, b) = (1 + rng.below(IMAGES) as i64, rng.category(), rng.bbox());
        let crowd = u8::from(rng.unit() < 0.012);
        let area = b.w * b.h * (0.5 + rng.unit() / 2.0);
        let comma = if id > 1 { "," } else { "" };
        let Ltwh { left, top, w, h } = b;
        write!(
            text,
            "{comma}{{\"id\":{id},\"image_id\":{image},\"category_id\":{category},\"bbox\":[{left},{top},{w},{h}],\
             \"area\":{area},\"iscrowd\":{crowd},\"segmentation\":[[{left},{top},{},{top},{},{},{left},{}]]}}",
            left + w,
            left + w,
            top + h,
            top + h
        )
        .unwrap();
        objects.push((image, category, b));
    }
    text.push_str("]}");
    (text, objects)
}

/// Near hits of most objects, several each, and strays; in no particular order.
fn detections(rng: &mut Lcg, objects: &[(i64, i64, Ltwh)]) -> Vec<Detection> {
    let mut all = Vec::with_capacity(DETECTIONS);
    while all.len() < DETECTIONS {
        let near_hit = rng.unit() < 0.5;
        let (image_id, category_id, bbox, score) = if near_hit {
            let (image, category, b) = objects[rng.below(objects.len() as u64) as usize];
            let mut jitter = |side: f64| side * 0.25 * (rng.unit() - 0.5);
            let bbox = Ltwh {
                left: b.left + jitter(b.w),
                top: b.top + jitter(b.h),
                w: b.w + jitter(b.w),
                h: b.h + jitter(b.h),
            };
            (image, category, bbox, rng.unit())
        } else {
            (1 + rng.below(IMAGES) as i64, rng.category(), rng.bbox(), rng.unit().powi(4))
        };
        all.push(Detection { image_id, category_id, bbox, score }.rounded());
    }
    all
}

fn write_problem(folder: &Path) {
    let mut rng = Lcg(2017);
    let (text, objects) = ground_truth(&mut rng);
    std::fs::write(folder.join("gt.json"), text).unwrap();
    write_detections(folder.join("dt.json"), &detections(&mut rng, &objects)).unwrap();
}

fn load(folder: &Path) -> (GroundTruth, Detections) {
    (GroundTruth::read(folder.join("gt.json")).unwrap(), Detections::read(folder.join("dt.json")).unwrap())
}

fn coco(criterion: &mut Criterion) {
    let temporary = tempfile::tempdir().unwrap();
    let dump = std::env::var_os("YOLO_BENCH_DUMP");
    let folder = dump.as_deref().map_or(temporary.path(), Path::new);
    std::fs::create_dir_all(folder).unwrap();
    write_problem(folder);
    let (gt, dt) = load(folder);
    assert_eq!(dt.len(), DETECTIONS);
    if dump.is_some() {
        let summary = evaluate(&gt, &dt, &Params::coco()).unwrap().summary();
        std::fs::write(folder.join("stats.json"), serde_json::to_string(&summary.values()).unwrap()).unwrap();
    }

    let mut group = criterion.benchmark_group("coco_5000_images");
    group.sample_size(10);
    group.bench_function("load", |b| b.iter(|| load(black_box(folder))));
    group.bench_function("evaluate", |b| b.iter(|| evaluate(&gt, black_box(&dt), &Params::coco())));
    group.bench_function("load_and_evaluate", |b| {
        b.iter(|| {
            let (gt, dt) = load(black_box(folder));
            evaluate(&gt, &dt, &Params::coco()).unwrap().summary()
        });
    });
    group.finish();
}

criterion_group!(benches, coco);
criterion_main!(benches);
