//! Checks one image file: whether it is an image, and its size after EXIF orientation.
//!
//! JPEG files are read up to their frame header only; all other formats are decoded once, so that a broken
//! file is found here. Nothing is written.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ::image::ImageFormat;

use crate::image::{decode_as, exif};

/// Smaller sides mean a broken file, as in YOLOv5.
const MIN_SIDE_PX: u32 = 10;

/// The size of a usable image file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probed {
    /// Width in pixels, after EXIF orientation.
    pub(super) width: u32,
    /// Height in pixels, after EXIF orientation.
    pub(super) height: u32,
    /// A problem of the file that does not make it unusable.
    pub(super) warning: Option<String>,
}

/// Checks the image at `path`; the error says why it cannot be used and what to do.
pub(super) fn probe(path: &Path) -> Result<Probed, String> {
    let file =
        File::open(path).map_err(|e| format!("cannot be opened ({e}): check the path and permissions"))?;
    let mut reader = BufReader::new(file);
    let start = reader.fill_buf().map_err(|e| format!("cannot be read: {e}"))?;
    if start.is_empty() {
        return Err("the file is empty (0 bytes): copy or download it again".to_owned());
    }
    let probed = if start.starts_with(&[0xFF, 0xD8]) { probe_jpeg(&mut reader)? } else { probe_other(path)? };
    let (width, height) = (probed.width, probed.height);
    if width.min(height) < MIN_SIDE_PX {
        return Err(format!(
            "{width} x {height} pixels; both sides must be at least {MIN_SIDE_PX}: remove it"
        ));
    }
    Ok(probed)
}

fn probe_jpeg(reader: &mut BufReader<File>) -> Result<Probed, String> {
    let header = read_jpeg_header(reader).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            "the JPEG ends before its frame header: copy or download it again".to_owned()
        }
        _ => format!("not a readable JPEG ({e}): copy or download it again"),
    })?;
    let mut end = [0; 2];
    let complete = reader.seek(SeekFrom::End(-2)).is_ok() && reader.read_exact(&mut end).is_ok();
    let warning = (!complete || end != [0xFF, 0xD9]).then(|| {
        "the JPEG does not end with its end marker: it may be cut off, and is used up to its end; save it again \
         to avoid this warning"
            .to_owned()
    });
    let (width, height) = upright(header.width, header.height, header.orientation);
    Ok(Probed { width, height, warning })
}

struct JpegHeader {
    width: u32,
    height: u32,
    /// As EXIF numbers it; 1 is upright.
    orientation: u32,
}

/// Follows the segments of a JPEG to its frame header (SOF), and reads the orientation from an EXIF segment before it.
fn read_jpeg_header(reader: &mut BufReader<File>) -> std::io::Result<JpegHeader> {
    let invalid = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut orientation = None;
    reader.seek(SeekFrom::Start(2))?;
    loop {
        let marker = next_marker(reader)?;
        match marker {
            // Restart, start of image and TEM stand alone.
            0xD0..=0xD8 | 0x01 => continue,
            0xD9 | 0xDA => return Err(invalid("no frame header before the picture")),
            _ => {}
        }
        let length =
            usize::from(read_u16(reader)?).checked_sub(2).ok_or_else(|| invalid("segment too short"))?;
        // C4, C8 and CC are tables and a reserved code; the other C0…CF are frame headers.
        let is_frame = (0xC0..=0xCF).contains(&marker) && ![0xC4, 0xC8, 0xCC].contains(&marker);
        if !is_frame && marker != 0xE1 {
            reader.seek_relative(length as i64)?;
            continue;
        }
        let mut segment = vec![0; length];
        reader.read_exact(&mut segment)?;
        if let Some(tiff) = segment.strip_prefix(b"Exif\0\0") {
            orientation = orientation.or_else(|| Some(exif::orientation(tiff)));
        } else if is_frame {
            let [_, h1, h0, w1, w0, ..] = segment[..] else { return Err(invalid("frame header too short")) };
            let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
            let orientation = orientation.unwrap_or(1);
            return Ok(JpegHeader { width: width.into(), height: height.into(), orientation });
        }
    }
}

/// The second byte of the next marker; skips bytes outside segments, as decoders do.
fn next_marker(reader: &mut BufReader<File>) -> std::io::Result<u8> {
    let mut previous = 0;
    loop {
        let byte = read_u8(reader)?;
        if previous == 0xFF && byte != 0xFF && byte != 0 {
            return Ok(byte);
        }
        previous = byte;
    }
}

fn read_u8(reader: &mut BufReader<File>) -> std::io::Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn read_u16(reader: &mut BufReader<File>) -> std::io::Result<u16> {
    let mut bytes = [0; 2];
    reader.read_exact(&mut bytes)?;
    Ok(u16::from_be_bytes(bytes))
}

fn probe_other(path: &Path) -> Result<Probed, String> {
    let Some(format) = format_by_content(path).map_err(|e| format!("cannot be read: {e}"))? else {
        return Err("not an image (unknown format): replace or remove it".to_owned());
    };
    if ![ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Tiff].contains(&format) {
        return Err(format!("{format:?} images are not supported: convert it to PNG or JPEG"));
    }
    let decoded =
        std::fs::read(path).map_err(|e| e.to_string()).and_then(|bytes| decode_as(&bytes, format)).map_err(
            |reason| format!("not a readable {format:?} image ({reason}): copy it again or remove it"),
        )?;
    Ok(Probed { width: decoded.image.width, height: decoded.image.height, warning: None })
}

/// The format by the first bytes; the file name is ignored.
fn format_by_content(path: &Path) -> std::io::Result<Option<ImageFormat>> {
    let mut start = vec![];
    File::open(path)?.take(64).read_to_end(&mut start)?;
    Ok(::image::guess_format(&start).ok())
}

/// Width and height after an EXIF orientation; 5 to 8 swap them.
fn upright(width: u32, height: u32, orientation: u32) -> (u32, u32) {
    match orientation {
        5..=8 => (height, width),
        _ => (width, height),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A JPEG of `width` × `height` without a picture in it, with an EXIF orientation.
    fn jpeg_header(width: u16, height: u16, orientation: Option<u8>) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xFE, 0, 4, 0xFF, 0xC0];
        if let Some(orientation) = orientation {
            let tiff = [
                b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(),
                &[orientation, 0, 0, 0, 0, 0, 0, 0],
            ]
            .concat();
            bytes.extend([0xFF, 0xE1, 0, tiff.len() as u8 + 2]);
            bytes.extend(tiff);
        }
        bytes.extend([0xFF, 0xC4, 0, 3, 0, 0xFF, 0xFF, 0xC2, 0, 17, 8]);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xFF, 0xD9]);
        bytes
    }

    fn probe_bytes(bytes: &[u8]) -> Result<Probed, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        probe(file.path())
    }

    #[test]
    fn a_jpeg_lying_on_its_side_is_measured_upright() {
        for orientation in [None, Some(1), Some(2), Some(3), Some(4), Some(0), Some(9)] {
            let probed = probe_bytes(&jpeg_header(30, 20, orientation)).unwrap();
            assert_eq!((probed.width, probed.height, &probed.warning), (30, 20, &None));
        }
        for orientation in 5..=8 {
            let probed = probe_bytes(&jpeg_header(30, 20, Some(orientation))).unwrap();
            assert_eq!((probed.width, probed.height), (20, 30));
        }
    }

    #[test]
    fn a_jpeg_without_its_end_is_used_with_a_warning() {
        let mut bytes = jpeg_header(30, 20, None);
        bytes.truncate(bytes.len() - 2);
        assert!(probe_bytes(&bytes).unwrap().warning.unwrap().contains("end marker"));
    }

    #[test]
    fn unusable_files_come_with_the_reason() {
        let whole = jpeg_header(30, 20, Some(6));
        for cut in 1..whole.len() - 12 {
            assert!(probe_bytes(&whole[..cut]).is_err(), "cut to {cut} bytes");
        }
        assert!(probe_bytes(b"").unwrap_err().contains("empty"));
        assert!(probe_bytes(b"<html>404</html>").unwrap_err().contains("not an image"));
        assert!(
            probe_bytes(b"GIF89a\x20\0\x20\0\0\0\0").unwrap_err().contains("Gif images are not supported")
        );
        assert!(probe_bytes(&jpeg_header(300, 9, None)).unwrap_err().contains("300 x 9"));
    }

    #[test]
    fn other_formats_are_decoded() {
        let dir = tempfile::tempdir().unwrap();
        let pixels =
            ::image::ImageBuffer::<::image::Luma<u16>, _>::from_pixel(12, 34, ::image::Luma([40_000]));
        for name in ["a.png", "a.tiff"] {
            let path = dir.path().join(name);
            pixels.save(&path).unwrap();
            let probed = probe(&path).unwrap();
            assert_eq!((probed.width, probed.height), (12, 34), "{name}");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            assert!(probe(&path).is_err(), "{name} cut in half");
        }
    }
}
