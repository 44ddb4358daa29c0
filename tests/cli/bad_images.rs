//! Images that are damaged: used as far as they go, or left out; good ones beside them count.

use image::{ImageBuffer, ImageFormat, Luma};

use crate::support::{Case, IMAGES, OBJECTS, VAL, encoded, fixture, picture};

/// The tiny data set with one more image of this content and one label for it.
fn with_image(name: &str, content: impl AsRef<[u8]>) -> Case {
    let case = Case::with_data();
    case.write(&format!("in/data/images/val/{name}"), content);
    let stem = name.split('.').next().unwrap();
    case.write(&format!("in/data/labels/val/{stem}.txt"), "0 0.5 0.5 0.5 0.5\n");
    case
}

/// Asserts that `more` images count besides the good ones.
fn assert_counts(case: &Case, more: usize) {
    let data = &case.results()["data"];
    let (images, instances) = (IMAGES.len() + more, OBJECTS * IMAGES.len() + more);
    assert_eq!((&data["images"], &data["instances"]), (&images.into(), &instances.into()));
}

/// Validates with such an image, which has to be left out with a warning that holds all `parts`.
fn leaves_out(name: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
    let case = with_image(name, content);
    let parts = [&[name, "image left out"], parts].concat();
    case.run(VAL).ok().warns(&parts);
    assert_counts(&case, 0);
}

#[test]
fn a_jpeg_that_ends_early_is_used_with_a_warning() {
    for fixture_name in ["truncated_420.jpg", "truncated_444.jpg", "truncated_progressive.jpg", "no_end.jpg"]
    {
        let case = with_image("000009.jpg", fixture(fixture_name));
        case.run(VAL).ok().warns(&["000009.jpg", "end"]);
        assert_counts(&case, 1);
    }
}

#[test]
fn a_sound_jpeg_is_used_without_a_warning() {
    for fixture_name in ["420.jpg", "progressive.jpg", "exif6.jpg", "cmyk.jpg", "grey.jpg"] {
        let case = with_image("000009.jpg", fixture(fixture_name));
        let outcome = case.run(VAL).ok();
        assert!(!outcome.stderr.contains("warning"), "{fixture_name}: {}", outcome.stderr);
        assert_counts(&case, 1);
    }
}

#[test]
fn an_empty_file_is_left_out() {
    leaves_out("000009.jpg", "", &["0 bytes", "again"]);
    leaves_out("000009.png", "", &["0 bytes", "again"]);
}

#[test]
fn sixteen_bits_per_channel_are_fine() {
    let deep = ImageBuffer::<Luma<u16>, _>::from_fn(64, 64, |x, y| Luma([(x * 1000 + y) as u16]));
    let case = Case::with_data();
    let path = case.path("in/data/images/val/000009.png");
    deep.save(&path).unwrap();
    case.write("in/data/labels/val/000009.txt", "0 0.5 0.5 0.5 0.5\n");
    let outcome = case.run(VAL).ok();
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    assert_counts(&case, 1);
    let case = with_image("000009.png", fixture("rgb16.png"));
    case.run(VAL).ok();
    assert_counts(&case, 1);
}

#[test]
fn every_supported_format_is_used() {
    for (extension, format) in
        [("bmp", ImageFormat::Bmp), ("tif", ImageFormat::Tiff), ("webp", ImageFormat::WebP)]
    {
        let case = with_image(&format!("000009.{extension}"), encoded(&picture(0), format));
        case.run(VAL).ok();
        assert_counts(&case, 1);
    }
}

#[test]
fn what_is_no_image_is_left_out() {
    leaves_out("000009.jpg", "not a picture\n", &["not an image", "remove"]);
    leaves_out("000009.jpg", "GIF89a\x20\0\x20\0\0\0\0", &["not supported", "PNG or JPEG"]);
    leaves_out("000009.png", "<html>404</html>", &["not an image", "remove"]);
}

#[test]
fn a_png_that_ends_early_is_left_out() {
    let whole = encoded(&picture(0), ImageFormat::Png);
    for cut in [9, 33, whole.len() / 2, whole.len() - 20] {
        leaves_out("000009.png", &whole[..cut], &["Png", "remove"]);
    }
}

#[test]
fn a_jpeg_that_is_cut_in_its_header_is_left_out() {
    let whole = fixture("420.jpg");
    for cut in [2, 10, 40] {
        leaves_out("000009.jpg", &whole[..cut], &["JPEG", "again"]);
    }
}

#[test]
fn a_jpeg_with_a_sound_header_and_nothing_behind_it_is_left_out_or_warned_of() {
    let whole = fixture("420.jpg");
    let scan = whole.windows(2).rposition(|pair| pair == b"\xff\xda").unwrap();
    let case = with_image("000009.jpg", &whole[..scan]);
    case.run(VAL).ok().warns(&["000009.jpg"]);
    let images = case.results()["data"]["images"].as_u64().unwrap();
    assert!((4..=5).contains(&images), "{images}");
}

#[test]
fn a_huge_claimed_size_takes_no_memory() {
    let mut whole = encoded(&picture(0), ImageFormat::Png);
    whole[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    leaves_out("000009.png", whole, &["Png"]);
    let mut jpeg = fixture("420.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let case = with_image("000009.jpg", jpeg);
    case.run(VAL).ok().warns(&["000009.jpg"]);
    assert_counts(&case, 0);
}

#[test]
fn an_image_that_is_too_small_is_left_out() {
    leaves_out("000009.png", blank(64, 5), &["64 x 5", "at least 10"]);
}

/// A black PNG.
fn blank(width: u32, height: u32) -> Vec<u8> {
    encoded(&image::RgbImage::new(width, height), ImageFormat::Png)
}

#[test]
fn extreme_shapes_are_measured() {
    let case = Case::with_data();
    for (name, width, height) in [("000008", 1200, 10), ("000009", 10, 1200)] {
        case.write(&format!("in/data/images/val/{name}.png"), blank(width, height));
        case.write(&format!("in/data/labels/val/{name}.txt"), "0 0.5 0.5 0.5 0.5\n");
    }
    case.run(VAL).ok();
    assert_counts(&case, 2);
}

#[test]
fn no_image_that_can_be_decoded_is_a_failure() {
    let case = Case::with_data();
    for name in IMAGES {
        case.write(&format!("in/data/images/val/{name}.png"), "not a picture");
    }
    case.run(VAL).fails(&["no usable image", "000001.png", "not an image"]);
}
