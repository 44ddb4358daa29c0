//! Decoded pixels against OpenCV, format by format, and damaged files.

use std::path::Path;

use yolo_data::image::{decode, decode_file};

use super::{coco_tiny, fixture, fnv1a64, json};

#[test]
fn every_format_equals_opencv_bit_for_bit() {
    let expected = json("decode.json");
    let mut wrong = Vec::new();
    for (name, expected) in expected["files"].as_object().unwrap() {
        let decoded = decode_file(fixture("decode").join(name)).unwrap();
        let size = (u64::from(decoded.image.width), u64::from(decoded.image.height));
        assert_eq!(Some(size.0), expected["width"].as_u64(), "width of {name}");
        assert_eq!(Some(size.1), expected["height"].as_u64(), "height of {name}");
        let equal = fnv1a64(decoded.image.pixels) == expected["fnv"].as_str().unwrap();
        // Lossy WebP has a test of its own.
        if !equal && name != "lossy.webp" {
            wrong.push(name.clone());
        }
        let damaged = name.starts_with("truncated") || name == "no_end.jpg";
        assert_eq!(!decoded.warnings.is_empty(), damaged, "{name}: {:?}", decoded.warnings);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn lossy_webp_is_close_to_opencv() {
    // The pure Rust decoder rounds the colour conversion and the chroma upsampling in its own way.
    let ours = decode_file(fixture("decode/lossy.webp")).unwrap().image.pixels;
    let theirs = std::fs::read(fixture("decode/lossy.webp.raw")).unwrap();
    assert_eq!(ours.len(), theirs.len());
    let largest = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(largest <= 2, "{largest}");
}

#[test]
fn a_truncated_jpeg_is_grey_where_it_ends() {
    let decoded = decode_file(fixture("decode/truncated_420.jpg")).unwrap();
    assert!(decoded.warnings[0].contains("early"), "{:?}", decoded.warnings);
    assert!(decoded.image.pixels.ends_with(&[128; 3 * 16]));
    assert!(!decoded.image.pixels.starts_with(&[128; 3]));
}

#[test]
fn a_preview_in_the_header_does_not_hide_that_the_file_ends_early() {
    let bytes = std::fs::read(fixture("decode/truncated_progressive.jpg")).unwrap();
    let plain = decode(&bytes, Path::new("plain.jpg")).unwrap();
    // An application segment with a scan and an end marker in it, behind the start marker.
    let segment = b"\xff\xef\0\x06\xff\xda\xff\xd9";
    let with_preview = [&bytes[..2], segment, &bytes[2..]].concat();
    assert_eq!(decode(&with_preview, Path::new("preview.jpg")).unwrap(), plain);
    assert_eq!(plain.warnings.len(), 1);
}

#[test]
fn a_file_that_is_not_an_image_is_an_error_with_a_fix() {
    let path = Path::new("somewhere/picture.jpg");
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (b"<html>not found</html>", "not an image"),
        (b"GIF89a", "convert it"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\0", "PNG"),
        (b"BM", "BMP"),
        (b"II*\0\xff\xff\xff\xff", "TIFF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
    ] {
        let error = decode(bytes, path).unwrap_err().to_string();
        assert!(error.starts_with("somewhere/picture.jpg: ") && error.contains(reason), "{error}");
    }
    assert!(decode_file("no/such/file.jpg").unwrap_err().to_string().starts_with("no/such/file.jpg: "));
}

#[test]
fn the_name_of_a_file_does_not_matter() {
    let bytes = std::fs::read(fixture("decode/rgb.png")).unwrap();
    assert!(decode(&bytes, Path::new("wrong.jpg")).is_ok());
}

#[test]
fn a_header_that_claims_too_many_pixels_is_refused() {
    // Height and width of the first frame header of a sound JPEG, then of a PNG, become 65000 × 65000.
    let mut jpeg = std::fs::read(fixture("decode/444.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|w| w == b"\xff\xc0").unwrap();
    let side = 65_000_u16.to_be_bytes();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[side, side].concat());
    let error = decode(&jpeg, Path::new("bomb.jpg")).unwrap_err().to_string();
    assert!(error.contains("limit"), "{error}");

    let mut bmp = std::fs::read(fixture("decode/rgb.bmp")).unwrap();
    let side = 65_000_u32.to_le_bytes();
    bmp[18..26].copy_from_slice(&[side, side].concat());
    let error = decode(&bmp, Path::new("bomb.bmp")).unwrap_err().to_string();
    assert!(error.contains("limit"), "{error}");
}

#[test]
fn damaged_files_never_panic() {
    for entry in std::fs::read_dir(fixture("decode")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for i in (0..bytes.len()).step_by(37) {
            let mut damaged = bytes.clone();
            damaged[i] ^= 0x5a;
            let _ = decode(&damaged, &path);
            let _ = decode(&bytes[..i], &path);
        }
    }
}

#[test]
fn coco_images_equal_opencv_bit_for_bit() {
    let Some(root) = coco_tiny() else { return };
    let expected = json("coco_tiny.json");
    let files = expected["files"].as_object().unwrap();
    for (name, hash) in files {
        let decoded = decode_file(root.join(name)).unwrap();
        assert_eq!(fnv1a64(decoded.image.pixels), hash.as_str().unwrap(), "{name}");
        assert!(decoded.warnings.is_empty(), "{name}: {:?}", decoded.warnings);
    }
    assert_eq!(files.len(), 160);
}
