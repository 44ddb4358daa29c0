//! PNG, BMP, WebP and TIFF.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{Decoded, RgbImage, check_size, exif};

/// Bytes per pixel of the widest format: four channels of 16 bits.
const MAX_BYTES_PER_PIXEL: u64 = 8;

/// Decodes a file of `format`; the error is a reason without the file's name.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> Result<Decoded, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(super::MAX_PIXELS * MAX_BYTES_PER_PIXEL);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    check_size(u64::from(width), u64::from(height))?;
    let orientation = match format {
        ImageFormat::Tiff => decoder.orientation().map_or(1, |o| u32::from(o.to_exif())),
        _ => decoder.exif_metadata().ok().flatten().map_or(1, |tiff| exif::orientation(&tiff)),
    };
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    // OpenCV scales and rounds 16-bit colours of a TIFF to 8 bits; of everything else it keeps the upper half.
    let image = rgb(image, if format == ImageFormat::Tiff { nearest } else { upper })?;
    Ok(Decoded { image: exif::upright(image, orientation), warnings: Vec::new() })
}

/// The first one or three of every pixel's channels as 8-bit RGB.
///
/// `narrow` turns 16-bit colours into 8 bits; greys keep their upper half.
fn rgb(image: DynamicImage, narrow: fn(u16) -> u8) -> Result<RgbImage, String> {
    let (width, height) = (image.width(), image.height());
    let pixels = match image {
        DynamicImage::ImageRgb8(i) => i.into_raw(),
        DynamicImage::ImageRgba8(i) => colours::<4, u8>(&i, |v| v),
        DynamicImage::ImageLuma8(i) => greys::<1, u8>(&i, |v| v),
        DynamicImage::ImageLumaA8(i) => greys::<2, u8>(&i, |v| v),
        DynamicImage::ImageRgb16(i) => colours::<3, u16>(&i, narrow),
        DynamicImage::ImageRgba16(i) => colours::<4, u16>(&i, narrow),
        DynamicImage::ImageLuma16(i) => greys::<1, u16>(&i, upper),
        DynamicImage::ImageLumaA16(i) => greys::<2, u16>(&i, upper),
        _ => return Err("its pixels are floating-point numbers, and only 8 and 16 bits can be read".into()),
    };
    Ok(RgbImage { width, height, pixels })
}

fn upper(value: u16) -> u8 {
    (value >> 8) as u8
}

fn nearest(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

fn colours<const N: usize, T: Copy>(values: &[T], convert: impl Fn(T) -> u8) -> Vec<u8> {
    values.as_chunks::<N>().0.iter().flat_map(|p| [convert(p[0]), convert(p[1]), convert(p[2])]).collect()
}

fn greys<const N: usize, T: Copy>(values: &[T], convert: impl Fn(T) -> u8) -> Vec<u8> {
    values.as_chunks::<N>().0.iter().flat_map(|p| [convert(p[0]); 3]).collect()
}
