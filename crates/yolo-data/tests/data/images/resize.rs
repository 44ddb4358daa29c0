//! Resized pixels against OpenCV.

use serde::Deserialize;
use yolo_data::image::RgbImage;
use yolo_data::resize::{Interpolation, resize};

use super::{fixture, fnv1a64};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    from: (u32, u32),
    to: (u32, u32),
    linear: String,
    area: String,
}

/// The image of `reference/make_resize.py`.
fn source(width: u32, height: u32) -> RgbImage {
    let mut x = width * 1000 + height;
    let pixels = (0..3 * width * height)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        })
        .collect();
    RgbImage { width, height, pixels }
}

#[test]
fn every_size_equals_opencv_bit_for_bit() {
    let file = std::fs::read_to_string(fixture("resize.json")).unwrap();
    let cases: Cases = serde_json::from_str(&file).unwrap();
    let mut wrong = Vec::new();
    for case in &cases.cases {
        let image = source(case.from.0, case.from.1);
        for (interpolation, expected) in
            [(Interpolation::Linear, &case.linear), (Interpolation::Area, &case.area)]
        {
            let out = resize(&image, case.to.0, case.to.1, interpolation);
            assert_eq!((out.width, out.height), case.to);
            if fnv1a64(out.pixels) != *expected {
                wrong.push(format!("{:?} -> {:?} {interpolation:?}", case.from, case.to));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), 2 * cases.cases.len());
    assert!(cases.cases.len() >= 55);
}

#[test]
fn halving_takes_the_mean_of_four_in_both_modes() {
    let pixels = [[10, 0, 0], [13, 0, 0], [0, 0, 9], [0, 0, 0], [10, 2, 0], [13, 0, 0], [0, 0, 9], [4, 0, 0]];
    let image = RgbImage { width: 4, height: 2, pixels: pixels.concat() };
    for interpolation in [Interpolation::Linear, Interpolation::Area] {
        assert_eq!(resize(&image, 2, 1, interpolation).pixels, [12, 1, 0, 1, 0, 5]);
    }
}

#[test]
fn a_flat_image_stays_flat() {
    let image = RgbImage::filled(37, 23, [1, 114, 255]);
    for (width, height) in [(64, 48), (20, 11), (37, 60), (90, 4), (1, 1)] {
        for interpolation in [Interpolation::Linear, Interpolation::Area] {
            let out = resize(&image, width, height, interpolation);
            assert_eq!(out, RgbImage::filled(width, height, [1, 114, 255]), "{width}×{height}");
        }
    }
}
