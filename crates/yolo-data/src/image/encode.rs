//! Writing images.

use std::io::Cursor;

use image::ImageFormat;
use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use super::RgbImage;
use crate::{DataError, Result};

/// Default quality of JPEG files (1 to 100), which is OpenCV's.
pub const JPEG_QUALITY: u8 = 95;

/// A file format that images are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JPEG of this quality, 1 to 100, colours at half the resolution (4:2:0).
    Jpeg(u8),
    /// JPEG of this quality, colours at full resolution (4:4:4).
    JpegFullColor(u8),
    /// PNG, without loss.
    Png,
    /// BMP, without loss or compression.
    Bmp,
    /// WebP, without loss.
    WebP,
    /// TIFF, without loss.
    Tiff,
}

impl Encoding {
    /// The format of a file name's extension, in upper or lower case; JPEG for `jpg`, `jpeg` and `mpo`.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_lowercase().as_str() {
            "jpg" | "jpeg" | "mpo" => Some(Self::Jpeg(JPEG_QUALITY)),
            "png" => Some(Self::Png),
            "bmp" => Some(Self::Bmp),
            "webp" => Some(Self::WebP),
            "tif" | "tiff" => Some(Self::Tiff),
            _ => None,
        }
    }
}

/// Encodes `image` as the bytes of a file.
///
/// # Errors
/// An image without pixels, or too large for the format.
pub fn encode(image: &RgbImage, encoding: Encoding) -> Result<Vec<u8>> {
    match encoding {
        Encoding::Jpeg(quality) => jpeg(image, quality, Subsampling::S420),
        Encoding::JpegFullColor(quality) => jpeg(image, quality, Subsampling::S444),
        Encoding::Png => other(image, ImageFormat::Png),
        Encoding::Bmp => other(image, ImageFormat::Bmp),
        Encoding::WebP => other(image, ImageFormat::WebP),
        Encoding::Tiff => other(image, ImageFormat::Tiff),
    }
}

/// Encodes `image` as a JPEG file of `quality` 1 to 100, with 4:2:0 subsampling.
///
/// # Errors
/// An image without pixels, or too large for the format.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    jpeg(image, quality, Subsampling::S420)
}

fn jpeg(image: &RgbImage, quality: u8, subsampling: Subsampling) -> Result<Vec<u8>> {
    Encoder::new(&image.pixels, image.width as usize, image.height as usize, PixelFormat::Rgb)
        .quality(quality)
        .subsampling(subsampling)
        .encode()
        .map_err(|e| DataError::mismatch(format!("the image cannot be encoded as JPEG: {e}")))
}

fn other(image: &RgbImage, format: ImageFormat) -> Result<Vec<u8>> {
    let name = format.extensions_str().first().copied().unwrap_or_default();
    let failed =
        |reason: String| DataError::mismatch(format!("the image cannot be encoded as {name}: {reason}"));
    if image.width == 0 || image.height == 0 {
        return Err(failed("it has no pixels".to_owned()));
    }
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(
        &mut bytes,
        &image.pixels,
        image.width,
        image.height,
        image::ExtendedColorType::Rgb8,
        format,
    )
    .map_err(|e| failed(e.to_string()))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::image::decode;

    /// A gradient: neighbouring pixels differ.
    fn gradient() -> RgbImage {
        let pixels = (0..12 * 7).flat_map(|i: u32| [i * 3, 255 - i * 2, i].map(|v| v as u8)).collect();
        RgbImage { width: 12, height: 7, pixels }
    }

    #[test]
    fn lossless_formats_decode_to_the_same_pixels() {
        for encoding in [Encoding::Png, Encoding::Bmp, Encoding::WebP, Encoding::Tiff] {
            let bytes = encode(&gradient(), encoding).unwrap();
            assert_eq!(decode(&bytes, Path::new("x")).unwrap().image, gradient(), "{encoding:?}");
        }
    }

    #[test]
    fn jpeg_decodes_to_nearly_the_same_pixels() {
        let far = |encoding| {
            let bytes = encode(&gradient(), encoding).unwrap();
            let back = decode(&bytes, Path::new("x")).unwrap().image;
            back.pixels.iter().zip(&gradient().pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
        };
        assert!(far(Encoding::JpegFullColor(95)) < 10);
        assert!(far(Encoding::JpegFullColor(95)) < far(Encoding::Jpeg(95)));
    }

    #[test]
    fn extensions_name_formats() {
        assert_eq!(Encoding::of_extension("JPG"), Some(Encoding::Jpeg(95)));
        assert_eq!(Encoding::of_extension("tif"), Some(Encoding::Tiff));
        assert_eq!(Encoding::of_extension("gif"), None);
    }

    #[test]
    fn images_without_pixels_are_refused() {
        for encoding in [Encoding::Jpeg(95), Encoding::Png] {
            assert!(encode(&RgbImage::default(), encoding).is_err(), "{encoding:?}");
        }
    }
}
