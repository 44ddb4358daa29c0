//! Letterbox, batches and boxes against the golden vectors of the specification.

use proptest::prelude::*;
use yolo_data::dataset::{Item, Label};
use yolo_data::image::RgbImage;
use yolo_data::letterbox::{
    Geometry, LetterboxOptions, Placement, letterbox, letterbox_into, load_size, load_size_by,
};
use yolo_data::rect::{BatchOptions, plan_batches};
use yolo_eval::{Convention, Cxcywh, Xyxy};

/// Original size, loaded size, network (h, w), pad (x, y), border (top, bottom, left, right), h/h0 and w/w0.
type ValidationRow = ((u32, u32), (u32, u32), (u32, u32), (f64, f64), [u32; 4], f64, f64);

/// Golden vectors measured on the reference at v7.0: 640 pixels, pad 0.5, batches of one.
const VALIDATION: &[ValidationRow] = &[
    ((640, 480), (640, 480), (512, 672), (16.0, 16.0), [16, 16, 16, 16], 1.0, 1.0),
    ((640, 427), (640, 427), (448, 672), (16.0, 10.5), [10, 11, 16, 16], 1.0, 1.0),
    ((427, 640), (427, 640), (672, 448), (10.5, 16.0), [16, 16, 10, 11], 1.0, 1.0),
    ((500, 375), (640, 480), (512, 672), (16.0, 16.0), [16, 16, 16, 16], 1.28, 1.28),
    ((640, 640), (640, 640), (672, 672), (16.0, 16.0), [16, 16, 16, 16], 1.0, 1.0),
    ((500, 333), (640, 426), (448, 672), (16.0, 11.0), [11, 11, 16, 16], 1.2792793, 1.28),
    ((640, 359), (640, 359), (384, 672), (16.0, 12.5), [12, 13, 16, 16], 1.0, 1.0),
    ((1280, 720), (640, 360), (384, 672), (16.0, 12.0), [12, 12, 16, 16], 0.5, 0.5),
    ((810, 1080), (480, 640), (672, 512), (16.0, 16.0), [16, 16, 16, 16], 0.5925926, 0.5925926),
];

#[test]
fn validation_geometry_equals_the_reference() {
    let options = BatchOptions { image_size: 640, batch_size: 1, stride: 32, pad: 0.5, rect: true };
    for &(original, loaded, network, pad, [top, bottom, left, right], ratio_y, ratio_x) in VALIDATION {
        assert_eq!(load_size(original, 640), loaded);
        let plan = &plan_batches(&[original], &options)[0];
        assert_eq!((plan.height as u32, plan.width as u32), network);

        let geometry = Geometry::validation(original, 640, network, Convention::Yolov5);
        assert_eq!((geometry.loaded, geometry.network, geometry.pad), (loaded, network, pad));
        assert!((geometry.gain[1] - ratio_y).abs() < 5e-8, "{original:?}: {:?}", geometry.gain);
        assert!((f64::from(loaded.0) / f64::from(original.0) - ratio_x).abs() < 5e-8);

        let placement = Placement::new(loaded, network, LetterboxOptions::VALIDATION);
        assert_eq!(placement.offset, (left, top));
        assert_eq!(placement.inner.1 + top + bottom, network.0);
        assert_eq!(placement.inner.0 + left + right, network.1);
    }
}

#[test]
fn detection_letterbox_equals_the_reference() {
    for (original, network, pad) in [
        ((1280, 720), (384, 640), (0.0, 12.0)),
        ((810, 1080), (640, 480), (0.0, 0.0)),
        ((640, 427), (448, 640), (0.0, 10.5)),
        ((500, 375), (480, 640), (0.0, 0.0)),
        ((100, 50), (320, 640), (0.0, 0.0)),
    ] {
        let image = RgbImage::filled(original.0, original.1, [9, 8, 7]);
        let (out, ratio, found_pad) = letterbox(&image, (640, 640), LetterboxOptions::DETECTION);
        assert_eq!((out.height, out.width), network, "{original:?}");
        assert_eq!(found_pad, pad, "{original:?}");
        assert_eq!(ratio, 640.0 / f64::from(original.0.max(original.1)));
    }
}

fn close(a: Xyxy, b: [f32; 4], tolerance: f32) -> bool {
    [a.x1, a.y1, a.x2, a.y2].iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
}

#[test]
fn boxes_come_back_as_in_the_reference() {
    let geometry = Geometry::validation((500, 333), 640, (448, 672), Convention::Yolov5);
    assert_eq!(geometry.gain, [426.0 / 333.0; 2]);
    let found = geometry.to_original(Xyxy::new(116.0, 60.5, 336.0, 260.0));
    assert!(close(found, [78.16901, 38.69366, 250.14085, 194.64085], 1e-5), "{found:?}");
    assert_eq!(geometry.to_original(Xyxy::new(-5.0, 0.0, 700.0, 500.0)), Xyxy::new(0.0, 0.0, 500.0, 333.0));

    // Detection: the same box as (232, 97, 672, 496) in 1280×720, told from the two sizes alone.
    let geometry = Geometry::detection((1280, 720), (384, 640), Convention::Yolov5);
    assert_eq!((geometry.gain, geometry.pad), ([0.5; 2], (0.0, 12.0)));
    let found = geometry.to_original(Xyxy::new(116.0, 60.5, 336.0, 260.0));
    assert_eq!(found, Xyxy::new(232.0, 97.0, 672.0, 496.0));
}

fn item(width: u32, height: u32, bbox_norm: Cxcywh) -> Item {
    let label = Label { class: 3, bbox_norm, polygon_norm: Vec::new() };
    Item { image: "x.jpg".into(), width, height, labels: vec![label] }
}

#[test]
fn labels_are_clipped_just_inside_the_network_input() {
    // No border and the whole image: the far edges end a thousandth of a pixel early.
    let geometry = Geometry::validation((640, 480), 640, (480, 640), Convention::Yolov5);
    let whole = item(640, 480, Cxcywh { cx: 0.5, cy: 0.5, w: 1.0, h: 1.0 });
    let norm = geometry.labels_to_network(&whole.labels)[0];
    let (width, height) = (640.0 - 1e-3_f64, 480.0 - 1e-3_f64);
    assert_eq!(norm.w, width as f32 / 640.0);
    assert_eq!(norm.h, height as f32 / 480.0);
    let (class, bbox) = geometry.compared_labels(&whole)[0];
    assert_eq!(class, 3);
    assert!(close(bbox, [0.0, 0.0, 639.999, 479.999], 1e-4), "{bbox:?}");
}

#[test]
fn compared_labels_share_the_bias_of_the_reference() {
    // 500×333 loads as 640×426: x is scaled by 1.28 and unscaled by 1.27928, so the right edge moves by 0.28
    // pixels, and is clipped; the left half stays in proportion.
    let geometry = Geometry::validation((500, 333), 640, (448, 672), Convention::Yolov5);
    let half = item(500, 333, Cxcywh { cx: 0.25, cy: 0.5, w: 0.5, h: 0.5 });
    let (_, bbox) = geometry.compared_labels(&half)[0];
    assert!(close(bbox, [0.0, 83.25, 250.14085, 249.75], 2e-4), "{bbox:?}");
}

#[test]
fn the_batch_writer_equals_the_letterbox() {
    let pixels = (0..3 * 13 * 7).map(|i| (i * 37 % 251) as u8).collect();
    let image = RgbImage { width: 13, height: 7, pixels };
    for target in [(12, 18), (7, 13), (8, 13), (20, 14), (5, 9)] {
        for scale_up in [false, true] {
            let options = LetterboxOptions { auto: false, scale_up, stride: 32 };
            let (expected, _, _) = letterbox(&image, target, options);
            let placement = Placement::new((13, 7), target, options);
            let plane = (target.0 * target.1) as usize;
            let mut out = vec![7; 3 * plane];
            letterbox_into(&image, &placement, &mut out);
            for (i, pixel) in expected.pixels.chunks_exact(3).enumerate() {
                assert_eq!(pixel, [out[i], out[plane + i], out[2 * plane + i]], "{target:?}, pixel {i}");
            }
        }
    }
}

#[test]
fn an_odd_border_pixel_goes_below_and_right() {
    let image = RgbImage::filled(2, 1, [1, 2, 3]);
    let (out, ratio, pad) = letterbox(&image, (2, 5), LetterboxOptions::VALIDATION);
    assert_eq!((ratio, pad), (1.0, (1.5, 0.5)));
    let red: Vec<u8> = out.pixels.into_iter().step_by(3).collect();
    assert_eq!(red, [114, 1, 1, 114, 114, 114, 114, 114, 114, 114]);
}

proptest! {
    #[test]
    fn to_network_and_back_is_the_identity(
        width in 10u32..2000, height in 10u32..2000,
        x in 0.0f32..0.9, y in 0.0f32..0.9, w in 0.01f32..0.1, h in 0.01f32..0.1,
    ) {
        let options = BatchOptions { image_size: 640, batch_size: 1, stride: 32, pad: 0.5, rect: true };
        let plan = &plan_batches(&[(width, height)], &options)[0];
        let network = (plan.height as u32, plan.width as u32);
        let geometry = Geometry::validation((width, height), 640, network, Convention::Yolov5);
        prop_assert_eq!(geometry.ratio, 1.0);
        let (wf, hf) = (width as f32, height as f32);
        let bbox = Xyxy::new(x * wf, y * hf, (x + w) * wf, (y + h) * hf);
        let back = geometry.to_original(geometry.to_network(bbox));
        // Half a unit in the last place of a network coordinate, seen through the gain.
        let tolerance = 3e-4 / geometry.gain[1] as f32;
        prop_assert!(close(back, [bbox.x1, bbox.y1, bbox.x2, bbox.y2], tolerance), "{:?} {:?}", bbox, back);
    }

    #[test]
    fn a_letterbox_has_the_size_asked_for(
        width in 1u32..300, height in 1u32..300, target_h in 1u32..300, target_w in 1u32..300,
        scale_up in any::<bool>(),
    ) {
        let options = LetterboxOptions { auto: false, scale_up, stride: 32 };
        let placement = Placement::new((width, height), (target_h, target_w), options);
        prop_assert_eq!(placement.network, (target_h, target_w));
        prop_assert!(placement.offset.0 + placement.inner.0 <= target_w);
        prop_assert!(placement.offset.1 + placement.inner.1 <= target_h);
    }

    #[test]
    fn every_image_is_in_exactly_one_batch_that_holds_it(
        sizes in prop::collection::vec((10u32..1500, 10u32..1500), 0..60),
        batch_size in 1usize..9,
    ) {
        let options = BatchOptions { image_size: 640, batch_size, stride: 32, pad: 0.5, rect: true };
        let plans = plan_batches(&sizes, &options);
        let mut seen: Vec<usize> = plans.iter().flat_map(|p| p.indices.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..sizes.len()).collect::<Vec<_>>());
        for plan in &plans {
            prop_assert!(plan.height % 32 == 0 && plan.width % 32 == 0);
            for &i in &plan.indices {
                let (w, h) = load_size(sizes[i], 640);
                prop_assert!(w as usize <= plan.width && h as usize <= plan.height);
            }
        }
    }
}

/// The specification's boxes of the other convention (§8), validation and prediction.
#[test]
fn by_the_other_convention_boxes_are_put_back_by_whole_pixels_and_both_axes() {
    let close = |found: Xyxy, expected: [f32; 4]| {
        let found = [found.x1, found.y1, found.x2, found.y2];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {expected:?}");
    };
    let convention = Convention::Ultralytics;
    assert_eq!(load_size_by((500, 333), 640, convention), (640, 427));
    // 333 · 640 / 499 is a fraction above 427, and no side is longer than the size.
    assert_eq!(load_size_by((499, 333), 640, convention), (640, 428));
    let geometry = Geometry::validation((500, 333), 640, (448, 672), convention);
    assert_eq!((geometry.pad, geometry.gain), ((16.0, 10.0), [1.28, 427.0 / 333.0]));
    close(
        geometry.to_original(Xyxy::new(116.0, 60.5, 336.0, 260.0)),
        [78.125, 39.382_904, 250.0, 194.964_87],
    );
    let wide = Geometry::detection((1000, 333), (256, 640), convention);
    close(wide.to_original(Xyxy::new(116.0, 60.5, 336.0, 260.0)), [181.25, 61.753_525, 525.0, 333.0]);
    let tall = Geometry::detection((1280, 720), (384, 640), convention);
    close(tall.to_original(Xyxy::new(116.0, 60.5, 336.0, 260.0)), [232.0, 97.0, 672.0, 496.0]);
}
