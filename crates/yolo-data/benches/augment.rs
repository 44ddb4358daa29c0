//! Training samples per second at 640 pixels on one core, and the pieces they are made of, on generated images.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_data::augment::flip::flip_left_right;
use yolo_data::augment::hsv::scale_hsv;
use yolo_data::augment::mosaic::{Tile, mosaic4};
use yolo_data::augment::perspective::random_perspective;
use yolo_data::augment::sample::{Loaded, Recipe, Scratch};
use yolo_data::augment::{Augmentation, HsvGains, LabelledImage, WarpParams};
use yolo_data::dataset::{Item, Label};
use yolo_data::image::RgbImage;
use yolo_eval::Cxcywh;

const SIZE: u32 = 640;

/// The values of `hyp.scratch-low`.
const LOW: Augmentation = Augmentation {
    hsv_h: 0.015,
    hsv_s: 0.7,
    hsv_v: 0.4,
    translate: 0.1,
    scale: 0.5,
    fliplr: 0.5,
    mosaic: 1.0,
    ..Augmentation::none()
};

/// Smooth colours with noise, as photographs have them.
fn image(i: u32) -> RgbImage {
    let (width, height) = if i.is_multiple_of(3) { (480, SIZE) } else { (SIZE, 480) };
    let mut noise = i;
    let pixels = (0..3 * width * height)
        .map(|k| {
            let (x, y, c) = (k / 3 % width, k / 3 / width, k % 3);
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x * (c + 1) / 6 + y * (3 - c) / 8 + i * 20 + (noise >> 28)) as u8
        })
        .collect();
    RgbImage { width, height, pixels }
}

fn items(n: u32) -> (Vec<Item>, Vec<Arc<Loaded>>) {
    let labels: Vec<Label> = (0..7)
        .map(|k| {
            let at = 0.1 + 0.1 * k as f32;
            let bbox_norm = Cxcywh { cx: at, cy: 1.0 - at, w: 0.15, h: 0.2 };
            Label { class: k, bbox_norm, polygon_norm: Vec::new() }
        })
        .collect();
    let images: Vec<RgbImage> = (0..n).map(image).collect();
    let item = |i: &RgbImage| Item {
        image: PathBuf::from("generated"),
        width: i.width,
        height: i.height,
        labels: labels.clone(),
    };
    let items = images.iter().map(item).collect();
    (items, images.into_iter().map(|image| Arc::new(Loaded { image, warnings: Vec::new() })).collect())
}

fn pieces(c: &mut Criterion) {
    let (items, loaded) = items(4);
    let tile = |i: usize| Some(Tile { image: &loaded[i].image, labels: &items[i].labels });
    let tiles = std::array::from_fn(tile);
    let mut memory = Vec::new();
    c.bench_function("mosaic of four", |b| {
        b.iter(|| {
            let canvas = mosaic4(black_box(&tiles), SIZE, (700, 500), std::mem::take(&mut memory));
            memory = black_box(canvas).image.pixels;
        });
    });

    let upright = WarpParams { scale: 1.2, centre: [0.45, 0.55], ..WarpParams::NONE };
    let warps = [
        ("warp, scale and shift", upright),
        ("warp, rotation", WarpParams { degrees: 10.0, ..upright }),
        ("warp, perspective", WarpParams { perspective: [2e-4, 1e-4], ..upright }),
    ];
    for (name, params) in warps {
        let mut canvas = mosaic4(&tiles, SIZE, (700, 500), Vec::new());
        let mut memory = Vec::new();
        c.bench_function(name, |b| {
            b.iter(|| {
                let sample = std::mem::take(&mut canvas);
                let objects = sample.objects.clone();
                let (out, old) =
                    random_perspective(sample, &params, (SIZE, SIZE), std::mem::take(&mut memory));
                memory = black_box(out).image.pixels;
                let image = RgbImage { width: 2 * SIZE, height: 2 * SIZE, pixels: old };
                canvas = LabelledImage { image, objects };
            });
        });
    }

    let gains = HsvGains { hue: 1.01, hue_shift: 0.0, saturation: 0.6, value: 1.2 };
    let (mut sample, _) = random_perspective(
        mosaic4(&tiles, SIZE, (700, 500), Vec::new()),
        &WarpParams::NONE,
        (SIZE, SIZE),
        Vec::new(),
    );
    c.bench_function("hsv", |b| b.iter(|| scale_hsv(black_box(&mut sample.image), gains)));
    c.bench_function("flip", |b| b.iter(|| flip_left_right(black_box(&mut sample))));
}

fn samples(c: &mut Criterion) {
    let (items, loaded) = items(24);
    let partners: Vec<usize> = (0..items.len()).collect();
    let settings = [
        ("hyp.scratch-low", LOW),
        ("single image, hyp.scratch-low", Augmentation { mosaic: 0.0, ..LOW }),
        ("with mixup", Augmentation { mixup: 1.0, ..LOW }),
    ];
    let mut group = c.benchmark_group("sample at 640");
    group.throughput(Throughput::Elements(1));
    for (name, augmentation) in settings {
        let recipe = Recipe {
            items: &items,
            partners: &partners,
            augmentation: &augmentation,
            image_size: SIZE,
            network: (SIZE, SIZE),
            mosaics: true,
            load: &|idx| Ok(Arc::clone(&loaded[idx])),
        };
        let mut rng = StdRng::seed_from_u64(1);
        let mut scratch = Scratch::default();
        let mut next = (0..items.len()).cycle();
        group.bench_function(name, |b| {
            b.iter(|| {
                let made = recipe.make(next.next().unwrap(), &mut rng, &mut scratch).unwrap();
                scratch.recycle(black_box(made).sample);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pieces, samples);
criterion_main!(benches);
