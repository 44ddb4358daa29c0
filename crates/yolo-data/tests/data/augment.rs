//! Augmentation against what OpenCV makes of the same pixels.

use serde::Deserialize;
use yolo_data::augment::hsv::{HsvGains, hsv_to_rgb, rgb_to_hsv, scale_hsv};
use yolo_data::augment::polygon::fill;
use yolo_data::augment::warp::{Matrix, warp_affine, warp_perspective};
use yolo_data::image::RgbImage;

#[derive(Deserialize)]
struct Fixture {
    warps: Vec<Warp>,
    rgb_to_hsv: String,
    hsv_to_rgb: String,
    gains: Vec<Gains>,
    outlines: Vec<Outline>,
}

#[derive(Debug, Deserialize)]
struct Warp {
    kind: String,
    from: (u32, u32),
    to: (u32, u32),
    matrix: Matrix,
    fnv: String,
}

#[derive(Deserialize)]
struct Gains {
    gains: (f64, f64, f64),
    fnv: String,
}

#[derive(Deserialize)]
struct Outline {
    points: Vec<[f32; 2]>,
    mask: Vec<String>,
}

fn expected() -> Fixture {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/augment.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
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

/// FNV-1a, 64 bits.
fn fnv1a64(data: &[u8]) -> String {
    let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", data.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Sum of byte i times (i mod 65521) + 1.
fn checksum(data: impl Iterator<Item = u8>) -> String {
    data.zip((1..=65521_u64).cycle())
        .fold(0_u64, |sum, (byte, weight)| sum.wrapping_add(u64::from(byte) * weight))
        .to_string()
}

#[test]
fn warps_equal_opencv_bit_for_bit() {
    let mut wrong = Vec::new();
    let warps = expected().warps;
    for warp in &warps {
        let mut out = RgbImage::default();
        let f = if warp.kind == "affine" { warp_affine } else { warp_perspective };
        f(&source(warp.from.0, warp.from.1), &warp.matrix, warp.to, &mut out);
        assert_eq!((out.width, out.height), warp.to);
        if fnv1a64(&out.pixels) != warp.fnv {
            wrong.push(warp);
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), warps.len());
    assert_eq!(warps.len(), 17);
}

#[test]
fn every_colour_converts_as_in_opencv() {
    let all = (0..1_u32 << 24).flat_map(|i| {
        let [_, a, b, c] = i.to_be_bytes();
        rgb_to_hsv([a, b, c])
    });
    assert_eq!(checksum(all), expected().rgb_to_hsv);
}

#[test]
fn every_hsv_triple_converts_as_in_opencv() {
    let all = (0..180_u32 << 16).flat_map(|i| {
        let [_, h, s, v] = i.to_be_bytes();
        hsv_to_rgb([h, s, v])
    });
    assert_eq!(checksum(all), expected().hsv_to_rgb);
}

#[test]
fn gains_equal_look_up_tables_in_opencv() {
    for case in expected().gains {
        let mut image = source(64, 48);
        let (hue, saturation, value) = case.gains;
        scale_hsv(&mut image, HsvGains { hue, hue_shift: 0.0, saturation, value });
        assert_eq!(fnv1a64(&image.pixels), case.fnv, "{:?}", case.gains);
    }
}

#[test]
fn filled_outlines_equal_opencv_up_to_the_rim() {
    for outline in expected().outlines {
        let mut mask = vec![[false; 40]; 30];
        for span in fill(&outline.points, 40, 30) {
            mask[span.y as usize][span.first as usize..=span.last as usize].fill(true);
        }
        let theirs: Vec<Vec<bool>> =
            outline.mask.iter().map(|row| row.bytes().map(|b| b == b'#').collect()).collect();
        let differ = mask.iter().flatten().zip(theirs.iter().flatten()).filter(|(a, b)| a != b).count();
        let drawn: Vec<String> =
            mask.iter().map(|row| row.iter().map(|&v| if v { '#' } else { '.' }).collect()).collect();
        // OpenCV steps along a slanted edge with other roundings.
        assert!(differ <= 6, "{differ} pixels differ\n{}\n\n{}", drawn.join("\n"), outline.mask.join("\n"));
    }
}
