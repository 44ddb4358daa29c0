//! Hand-made numbers and properties of the augmentation steps. `tests/data/augment.rs` compares pixels with OpenCV.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_eval::{Convention, Cxcywh, Xyxy};

use super::copy_paste::{copy_paste, draw_copies};
use super::flip::{flip_left_right, flip_upside_down};
use super::mixup::{draw_ratio, mixup};
use super::mosaic::{Tile, draw_centre, draw_crop, mosaic4, mosaic9};
use super::perspective::{is_candidate, random_perspective};
use super::polygon::{bounds_inside, fill, resample};
use super::sample::{Loaded, Recipe, Scratch};
use super::*;
use crate::dataset::{Item, Label};
use crate::image::RgbImage;

fn object(class: u32, bbox_px: Xyxy) -> Object {
    Object { class, bbox_px, polygon_px: Vec::new() }
}

fn outlined(class: u32, b: Xyxy) -> Object {
    Object { polygon_px: vec![[b.x1, b.y1], [b.x2, b.y1], [b.x2, b.y2], [b.x1, b.y2]], ..object(class, b) }
}

fn label(class: u32, cx: f32, cy: f32, w: f32, h: f32) -> Label {
    Label { class, bbox_norm: Cxcywh { cx, cy, w, h }, polygon_norm: Vec::new() }
}

fn pixel(image: &RgbImage, x: u32, y: u32) -> [u8; 3] {
    image.pixels.as_chunks().0[(y * image.width + x) as usize]
}

/// Every pixel differs from its neighbours.
fn numbered(width: u32, height: u32) -> RgbImage {
    let pixels = (0..width * height).flat_map(|i| [i as u8, (i >> 8) as u8, (i * 7) as u8]).collect();
    RgbImage { width, height, pixels }
}

fn grey(width: u32, height: u32, value: u8) -> RgbImage {
    RgbImage::filled(width, height, [value; 3])
}

#[test]
fn four_tiles_meet_at_the_centre() {
    // Of different sizes, on a canvas of 20 × 20 pixels whose tiles meet at (7, 12).
    let images = [grey(10, 8, 1), grey(10, 6, 2), grey(5, 10, 3), grey(10, 10, 4)];
    let labels = [label(0, 0.5, 0.5, 1.0, 1.0)];
    let tiles = std::array::from_fn(|i| Some(Tile { image: &images[i], labels: &labels }));
    let canvas = mosaic4(&tiles, 10, (7, 12), Vec::new());
    let value = |x, y| pixel(&canvas.image, x, y)[0];
    assert_eq!((canvas.image.width, canvas.image.height), (20, 20));
    assert_eq!([value(6, 11), value(7, 11), value(6, 12), value(7, 12)], [1, 2, 3, 4]);
    // Above left reaches from row 4, above right from row 6, below left from column 2, below right to the end.
    assert_eq!([value(0, 3), value(0, 4), value(16, 5), value(16, 6), value(17, 6)], [114, 1, 114, 2, 114]);
    assert_eq!([value(1, 12), value(2, 12), value(2, 19), value(16, 19), value(17, 19)], [114, 3, 3, 4, 114]);
    let boxes: Vec<Xyxy> = canvas.objects.iter().map(|o| o.bbox_px).collect();
    let expected = [
        Xyxy::new(0.0, 4.0, 7.0, 12.0),
        Xyxy::new(7.0, 6.0, 17.0, 12.0),
        Xyxy::new(2.0, 12.0, 7.0, 20.0),
        Xyxy::new(7.0, 12.0, 17.0, 20.0),
    ];
    assert_eq!(boxes, expected);
}

#[test]
fn a_missing_tile_is_grey_and_old_memory_does_not_show() {
    let image = grey(4, 4, 9);
    let tile = Some(Tile { image: &image, labels: &[] });
    let canvas = mosaic4(&[None, tile, tile, tile], 4, (4, 4), vec![77; 500]);
    for (x, y, expected) in [(0, 0, 114), (3, 3, 114), (4, 3, 9), (3, 4, 9), (7, 7, 9)] {
        assert_eq!(pixel(&canvas.image, x, y), [expected; 3]);
    }
}

#[test]
fn nine_tiles_go_clockwise_around_the_first() {
    // Side 10; the first tile is 10 wide and 6 high, so it covers x 10..20 and y 10..16 before the crop.
    let mut images: Vec<RgbImage> = (1..=9).map(|v| grey(10, 10, v)).collect();
    images[0] = grey(10, 6, 1);
    let labels = [label(3, 0.5, 0.5, 0.4, 0.5)];
    let tiles = std::array::from_fn(|i| Some(Tile { image: &images[i], labels: &labels }));
    let canvas = mosaic9(&tiles, 10, (5, 4), Vec::new());
    let value = |x: u32, y: u32| pixel(&canvas.image, x - 5, y - 4)[0];
    // Positions before the crop: the middle, above, above right, right, below right, below, and so on.
    let at = [(15, 12), (15, 5), (22, 5), (22, 12), (22, 21), (15, 21), (7, 21), (7, 14), (7, 5)];
    let values: Vec<u8> = at.iter().map(|&(x, y)| value(x, y)).collect();
    assert_eq!(values, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // 4 wide and 3 high in the middle of the first tile, at (15, 13) before the crop.
    assert_eq!(canvas.objects[0].bbox_px, Xyxy::new(8.0, 7.5, 12.0, 10.5));
    assert_eq!(canvas.objects.len(), 9);
}

#[test]
fn mosaic_parameters_cover_their_ranges() {
    let mut rng = StdRng::seed_from_u64(3);
    let centres: Vec<(u32, u32)> = (0..2000).map(|_| draw_centre(8, &mut rng)).collect();
    let crops: Vec<(u32, u32)> = (0..2000).map(|_| draw_crop(8, &mut rng)).collect();
    for axis in [|p: &(u32, u32)| p.0, |p: &(u32, u32)| p.1] {
        assert_eq!((centres.iter().map(axis).min(), centres.iter().map(axis).max()), (Some(4), Some(11)));
        assert_eq!((crops.iter().map(axis).min(), crops.iter().map(axis).max()), (Some(0), Some(7)));
    }
}

#[test]
fn flips_are_involutions_and_move_boxes_with_pixels() {
    let original = LabelledImage {
        image: numbered(7, 5),
        objects: vec![outlined(2, Xyxy::new(1.0, 2.0, 4.0, 3.0)), object(1, Xyxy::new(0.0, 0.0, 7.0, 1.0))],
    };
    let mut sample = original.clone();
    flip_left_right(&mut sample);
    assert_eq!(pixel(&sample.image, 6, 1), pixel(&original.image, 0, 1));
    assert_eq!(sample.objects[0].bbox_px, Xyxy::new(3.0, 2.0, 6.0, 3.0));
    assert_eq!(sample.objects[0].polygon_px[0], [6.0, 2.0]);
    flip_left_right(&mut sample);
    assert_eq!(sample, original);
    flip_upside_down(&mut sample);
    assert_eq!(pixel(&sample.image, 2, 4), pixel(&original.image, 2, 0));
    assert_eq!(pixel(&sample.image, 2, 2), pixel(&original.image, 2, 2));
    assert_eq!(sample.objects[0].bbox_px, Xyxy::new(1.0, 2.0, 4.0, 3.0));
    assert_eq!(sample.objects[1].bbox_px, Xyxy::new(0.0, 4.0, 7.0, 5.0));
    flip_upside_down(&mut sample);
    assert_eq!(sample, original);
}

#[test]
fn mixup_weighs_pixels_and_keeps_all_objects() {
    let one = |value, class| LabelledImage {
        image: grey(2, 1, value),
        objects: vec![object(class, Xyxy::new(0.0, 0.0, 1.0, 1.0))],
    };
    let mut sample = one(101, 4);
    mixup(&mut sample, one(200, 5), 0.25);
    // 25.25 + 150 = 175.25
    assert_eq!(sample.image.pixels, [175; 6]);
    assert_eq!(sample.objects.iter().map(|o| o.class).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn the_ratio_of_mixup_has_the_moments_of_its_distribution() {
    let mut rng = StdRng::seed_from_u64(5);
    let n = 4000;
    let draws: Vec<f64> = (0..n).map(|_| f64::from(draw_ratio(&mut rng))).collect();
    let mean = draws.iter().sum::<f64>() / f64::from(n);
    let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
    assert!((mean - 0.5).abs() < 0.004, "{mean}");
    // Of Beta(a, a): 1 / (4 (2 a + 1)).
    let expected = 1.0 / (4.0 * 65.0);
    assert!((variance / expected - 1.0).abs() < 0.1, "{variance}, not {expected}");
}

#[test]
fn a_copy_is_the_mirrored_object_and_nothing_else() {
    let image = numbered(20, 10);
    let objects =
        vec![outlined(6, Xyxy::new(1.0, 2.0, 4.0, 5.0)), object(1, Xyxy::new(0.0, 7.0, 20.0, 10.0))];
    let mut sample = LabelledImage { image: image.clone(), objects };
    copy_paste(&mut sample, &[0]);
    assert_eq!(sample.objects.len(), 3);
    assert_eq!(sample.objects[2].bbox_px, Xyxy::new(16.0, 2.0, 19.0, 5.0));
    assert_eq!(sample.objects[2].class, 6);
    for y in 0..10 {
        for x in 0..20 {
            let copied = (15..=18).contains(&x) && (2..=5).contains(&y);
            let from = if copied { 19 - x } else { x };
            assert_eq!(pixel(&sample.image, x, y), pixel(&image, from, y), "x {x}, y {y}");
        }
    }
}

#[test]
fn a_copy_that_covers_an_object_is_dropped() {
    let place = |there: Xyxy| {
        let objects = vec![outlined(0, Xyxy::new(0.0, 0.0, 4.0, 4.0)), object(1, there)];
        let mut sample = LabelledImage { image: numbered(20, 10), objects };
        copy_paste(&mut sample, &[0]);
        sample.objects.len()
    };
    // The copy lies at x 16..20, y 0..4: it covers 4 of 16, then 8 of 16 pixels.
    assert_eq!(place(Xyxy::new(13.0, 0.0, 17.0, 4.0)), 3);
    assert_eq!(place(Xyxy::new(14.0, 0.0, 18.0, 4.0)), 2);
    // An object in the middle would cover itself.
    let mut sample =
        LabelledImage { image: numbered(20, 10), objects: vec![outlined(0, Xyxy::new(8.0, 0.0, 12.0, 4.0))] };
    let before = sample.clone();
    copy_paste(&mut sample, &[0]);
    assert_eq!(sample, before);
}

#[test]
fn copies_are_drawn_among_outlined_objects_without_repetition() {
    let b = Xyxy::new(0.0, 0.0, 3.0, 3.0);
    let objects: Vec<Object> = (0..10).map(|i| if i < 5 { object(i, b) } else { outlined(i, b) }).collect();
    let mut rng = StdRng::seed_from_u64(1);
    let mut all = draw_copies(&objects, 1.0, &mut rng);
    all.sort_unstable();
    assert_eq!(all, [5, 6, 7, 8, 9]);
    // 0.5 · 5 = 2.5 and 0.1 · 5 = 0.5, to even.
    assert_eq!(draw_copies(&objects, 0.5, &mut rng).len(), 2);
    assert_eq!(draw_copies(&objects, 0.1, &mut rng).len(), 0);
    assert!(draw_copies(&objects[..5], 1.0, &mut rng).is_empty());
}

#[test]
fn outlines_are_resampled_around_and_bounded_inside() {
    let square = [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]];
    let points = resample(&square, 9);
    assert_eq!(points[0], [0.0, 0.0]);
    assert_eq!(points[1], [2.0, 0.0]);
    assert_eq!(points[3], [4.0, 1.0]);
    assert_eq!(points[8], [0.0, 0.0]);
    assert_eq!(bounds_inside(points.iter().copied(), 3.0, 1.5), Xyxy::new(0.0, 0.0, 2.0, 1.0));
    assert_eq!(bounds_inside([[-1.0, 5.0], [9.0, 1.0]], 3.0, 9.0), Xyxy::default());
    assert!(resample(&[], 9).is_empty());
    assert!(fill(&[], 9, 9).is_empty());
}

#[test]
fn a_box_is_kept_if_enough_of_it_is_left() {
    let before = Xyxy::new(0.0, 0.0, 40.0, 20.0);
    let keeps = |w: f32, h: f32| is_candidate(before, Xyxy::new(5.0, 5.0, 5.0 + w, 5.0 + h), 0.1);
    assert!(keeps(40.0, 20.0));
    // A side of 2 pixels, a tenth of the area.
    assert!(!keeps(2.0, 20.0) && !keeps(40.0, 2.0));
    assert!(keeps(40.0, 2.01) && !keeps(8.0, 10.0) && keeps(8.1, 10.0));
    let long = Xyxy::new(0.0, 0.0, 3.0, 300.0);
    assert!(!is_candidate(long, long, 0.1) && is_candidate(long, Xyxy { y2: 299.0, ..long }, 0.1));
}

#[test]
fn parameters_make_the_matrix_they_describe() {
    let scaled = WarpParams { scale: 2.0, centre: [0.25, 0.75], ..WarpParams::NONE };
    // x ↦ 2 (x − 50) + 0.25 · 40, y ↦ 2 (y − 30) + 0.75 · 20
    assert_eq!(scaled.matrix((100, 60), (40, 20)), [[2.0, 0.0, -90.0], [0.0, 2.0, -45.0], [0.0, 0.0, 1.0]]);
    let close = |m: warp::Matrix, expected: warp::Matrix| {
        let pairs = m.iter().flatten().zip(expected.iter().flatten());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-9), "{m:?}, not {expected:?}");
    };
    // A quarter anticlockwise on the screen: what is right of the centre goes above it.
    let turned = WarpParams { degrees: 90.0, ..WarpParams::NONE }.matrix((100, 60), (100, 60));
    close(turned, [[0.0, 1.0, 20.0], [-1.0, 0.0, 80.0], [0.0, 0.0, 1.0]]);
    let sheared = WarpParams { shear: [45.0, 0.0], ..WarpParams::NONE }.matrix((100, 60), (100, 60));
    close(sheared, [[1.0, 1.0, -30.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    // Perspective comes before the shift to the output: rows of T·P·C.
    let tilted = WarpParams { perspective: [0.001, 0.0], ..WarpParams::NONE }.matrix((100, 60), (100, 60));
    close(tilted, [[1.05, 0.0, -2.5], [0.03, 1.0, -1.5], [0.001, 0.0, 0.95]]);
}

#[test]
fn no_parameters_give_the_same_image_or_its_middle() {
    let objects = vec![object(0, Xyxy::new(4.0, 3.0, 14.0, 9.0)), object(1, Xyxy::new(0.0, 0.0, 2.0, 9.0))];
    let sample = LabelledImage { image: numbered(20, 12), objects };
    let (same, _) = random_perspective(sample.clone(), &WarpParams::NONE, (20, 12), Vec::new());
    assert_eq!(same.image, sample.image);
    // The second box is too narrow, warp or not.
    assert_eq!(same.objects, sample.objects[..1]);
    let (middle, memory) = random_perspective(sample.clone(), &WarpParams::NONE, (10, 6), vec![1; 999]);
    assert_eq!(memory, sample.image.pixels);
    for y in 0..6 {
        for x in 0..10 {
            assert_eq!(pixel(&middle.image, x, y), pixel(&sample.image, x + 5, y + 3));
        }
    }
    assert_eq!(middle.objects[0].bbox_px, Xyxy::new(0.0, 0.0, 9.0, 6.0));
}

#[test]
fn no_augmentation_draws_no_change() {
    let mut rng = StdRng::seed_from_u64(9);
    let none = Augmentation::none();
    assert_eq!(WarpParams::draw(&none, &mut rng), WarpParams::NONE);
    assert_eq!(
        HsvGains::draw(&none, &mut rng),
        HsvGains { hue: 1.0, hue_shift: 0.0, saturation: 1.0, value: 1.0 }
    );
    assert!(!chance(0.0, &mut rng) && chance(1.0, &mut rng));
}

#[test]
fn values_out_of_range_are_named() {
    assert_eq!(Augmentation::none().problem(), None);
    for (setting, key) in [
        (Augmentation { mixup: 1.5, ..Augmentation::none() }, "mixup"),
        (Augmentation { hsv_h: -0.1, ..Augmentation::none() }, "hsv_h"),
        (Augmentation { scale: 1.0, ..Augmentation::none() }, "scale"),
        (Augmentation { degrees: f32::NAN, ..Augmentation::none() }, "degrees"),
    ] {
        assert!(setting.problem().unwrap().starts_with(key));
    }
    let read: Augmentation = serde_json::from_str(r#"{"scale": 0.5}"#).unwrap();
    assert_eq!(read, Augmentation { scale: 0.5, ..Augmentation::none() });
    assert!(serde_json::from_str::<Augmentation>(r#"{"mosiac": 1.0}"#).is_err());
}

/// The smallest box around the pixels above the grey of the border.
fn bright_bounds(image: &RgbImage) -> Option<Xyxy> {
    let at = |i: usize| [i as u32 % image.width, i as u32 / image.width].map(|v| v as f32);
    let bright = image.pixels.as_chunks::<3>().0.iter().enumerate().filter(|(_, p)| p[0] > 127);
    let whole = bright.map(|(i, _)| at(i)).flat_map(|[x, y]| [[x, y], [x + 1.0, y + 1.0]]);
    let bounds = bounds_inside(whole, image.width as f32, image.height as f32);
    (bounds.area() > 0.0).then_some(bounds)
}

proptest! {
    #[test]
    fn warped_boxes_fit_the_warped_pixels(
        seed in any::<u64>(),
        (x, y) in (10_u32..90, 10_u32..60),
        (w, h) in (12_u32..60, 12_u32..50),
        tilted in any::<bool>(),
        with_outline in any::<bool>(),
    ) {
        let strong = Augmentation {
            degrees: 30.0, translate: 0.2, scale: 0.4, shear: 8.0,
            perspective: if tilted { 0.0008 } else { 0.0 },
            ..Augmentation::none()
        };
        let params = WarpParams::draw(&strong, &mut StdRng::seed_from_u64(seed));
        let mut image = grey(160, 120, 0);
        for row in y..y + h {
            for column in x..x + w {
                let at = 3 * (row * 160 + column) as usize;
                image.pixels[at..at + 3].fill(255);
            }
        }
        let bbox = Xyxy::new(x as f32, y as f32, (x + w) as f32, (y + h) as f32);
        let object = if with_outline { outlined(7, bbox) } else { object(7, bbox) };
        let sample = LabelledImage { image, objects: vec![object] };
        let (warped, _) = random_perspective(sample, &params, (130, 140), Vec::new());
        if let Some(object) = warped.objects.first() {
            let b = object.bbox_px;
            prop_assert!(b.x1 >= 0.0 && b.y1 >= 0.0 && b.x2 <= 130.0 && b.y2 <= 140.0);
            prop_assert!(b.x2 - b.x1 > 2.0 && b.y2 - b.y1 > 2.0);
            // Where the frame cuts an object, a box around corners is wider than what is left, and the points of
            // an outline end somewhere before the frame.
            let cut = b.x1 < 1.0 || b.y1 < 1.0 || b.x2 > 129.0 || b.y2 > 139.0;
            if let (false, Some(seen)) = (cut || b.area() < 100.0, bright_bounds(&warped.image)) {
                let off = [b.x1 - seen.x1, b.y1 - seen.y1, b.x2 - seen.x2, b.y2 - seen.y2];
                prop_assert!(off.iter().all(|d| d.abs() < 2.5), "{:?} around {:?}", b, seen);
            }
        }
    }

    #[test]
    fn upright_warps_equal_the_general_case(
        (width, height) in (1_u32..40, 1_u32..30),
        (scale_x, scale_y) in (-2.5_f64..2.5, -2.5_f64..2.5),
        (x, y) in (-40.0_f64..60.0, -40.0_f64..60.0),
    ) {
        let image = numbered(width, height);
        let upright = [[scale_x, 0.0, x], [0.0, scale_y, y], [0.0, 0.0, 1.0]];
        // A turn too small to move anything, but not 0.
        let turned = [[scale_x, 1e-200, x], [1e-200, scale_y, y], [0.0, 0.0, 1.0]];
        let [short, long] = [upright, turned].map(|matrix| {
            let mut out = RgbImage::default();
            warp::warp_affine(&image, &matrix, (37, 23), &mut out);
            out
        });
        prop_assert!(short == long);
    }
}

/// Samples of 8 × 4 pixels on a network input of 16 × 16, as Ultralytics makes them.
fn ultralytics(augmentation: Augmentation, seed: u64) -> LabelledImage {
    let item = |class| Item {
        image: "x".into(),
        width: 8,
        height: 4,
        labels: vec![label(class, 0.5, 0.5, 0.5, 1.0)],
    };
    let (items, augmentation) =
        ([item(0), item(1)], Augmentation { convention: Convention::Ultralytics, ..augmentation });
    let load =
        |idx: usize| Ok(Arc::new(Loaded { image: grey(8, 4, 50 + idx as u8 * 100), warnings: Vec::new() }));
    let recipe = Recipe {
        items: &items,
        partners: &[1],
        augmentation: &augmentation,
        image_size: 16,
        network: (16, 16),
        mosaics: true,
        load: &load,
    };
    recipe.make(0, &mut StdRng::seed_from_u64(seed), &mut Scratch::default()).unwrap().sample
}

#[test]
fn by_ultralytics_an_image_alone_is_placed_by_the_warp() {
    let sample = ultralytics(Augmentation::none(), 0);
    let value = |x, y| pixel(&sample.image, x, y)[0];
    assert_eq!([value(3, 8), value(4, 8), value(11, 8), value(12, 8)], [114, 50, 50, 114], "not enlarged");
    assert_eq!([value(8, 5), value(8, 6), value(8, 9), value(8, 10)], [114, 50, 50, 114], "centre on centre");
    assert_eq!(sample.objects[0].bbox_px, Xyxy { x1: 6.0, y1: 6.0, x2: 10.0, y2: 10.0 });
}

#[test]
fn by_ultralytics_images_are_mixed_without_mosaics_too() {
    let sample = ultralytics(Augmentation { mixup: 1.0, ..Augmentation::none() }, 0);
    assert_eq!(sample.objects.iter().map(|object| object.class).collect::<Vec<_>>(), [0, 1]);
    let mixed = pixel(&sample.image, 8, 8)[0];
    assert!((80..120).contains(&mixed), "{mixed} is about the mean of 50 and 150");
    let apart = ultralytics(Augmentation { mixup: 0.0, ..Augmentation::none() }, 0);
    assert_eq!(apart.objects.len(), 1);
}

#[test]
fn by_ultralytics_hues_move_by_a_part_of_the_circle() {
    let augmentation =
        Augmentation { convention: Convention::Ultralytics, hsv_h: 0.5, ..Augmentation::none() };
    let gains = HsvGains::draw(&augmentation, &mut StdRng::seed_from_u64(1));
    assert_eq!((gains.hue, gains.saturation), (1.0, 1.0));
    assert!(gains.hue_shift.abs() <= 90.0 && gains.hue_shift != 0.0);
    // Red has hue 0, which no factor changes; a third of the circle further it is green.
    let mut image = RgbImage::filled(2, 1, [200, 0, 0]);
    hsv::scale_hsv(&mut image, HsvGains { hue: 1.0, hue_shift: 60.0, saturation: 1.0, value: 1.0 });
    assert_eq!(pixel(&image, 0, 0), [0, 200, 0]);
    hsv::scale_hsv(&mut image, HsvGains { hue: 1.0, hue_shift: -120.0, saturation: 1.0, value: 1.0 });
    assert_eq!(pixel(&image, 1, 0), [0, 0, 200], "around the end");
}
