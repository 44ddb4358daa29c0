//! Decoding of image files into 8-bit RGB, as OpenCV's `imread` with `IMREAD_COLOR` gives it.
//!
//! EXIF orientation is applied, grey becomes three equal channels, alpha is dropped (not blended), 16 bits
//! keep their upper 8, palettes are expanded and CMYK is converted. Colour profiles are ignored, as in OpenCV. The
//! first bytes of a file decide its format, never its name. Input files are never changed.

mod encode;
pub(crate) mod exif;
mod formats;
mod jpeg;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use encode::{Encoding, JPEG_QUALITY, encode, encode_jpeg};

use crate::{DataError, Result};

/// Most pixels that an image may have; a header that claims more is refused before any memory is taken.
pub const MAX_PIXELS: u64 = 1 << 27;

/// An 8-bit RGB image in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RgbImage {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[height, width, 3]` values, rows from top to bottom, channels in the order R, G, B.
    pub pixels: Vec<u8>,
}

impl RgbImage {
    /// An image of one colour.
    pub fn filled(width: u32, height: u32, rgb: [u8; 3]) -> Self {
        Self { width, height, pixels: rgb.repeat(width as usize * height as usize) }
    }
}

/// A decoded image, and the problems of its file that do not make it unusable.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The image, upright.
    pub image: RgbImage,
    /// One sentence each, without the file's name; empty for a valid file.
    pub warnings: Vec<String>,
}

/// Reads and decodes the image file at `path`.
///
/// A JPEG that ends early is decoded up to its end; the rest is grey, and there is a warning.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read; [`DataError::Invalid`] as for [`decode`].
pub fn decode_file(path: impl AsRef<Path>) -> Result<Decoded> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    decode(&bytes, path)
}

/// Decodes the image file `bytes`; `path` is only used to name it in errors.
///
/// # Errors
/// [`DataError::Invalid`] if the bytes are empty, not an image of a known format, damaged beyond use, or claim
/// more than [`MAX_PIXELS`] pixels.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Decoded> {
    if bytes.is_empty() {
        return Err(DataError::invalid(path, "the file is empty; copy or download the image again"));
    }
    let Some(format) = Format::sniff(bytes) else {
        return Err(DataError::invalid(
            path,
            "not an image that can be read (its first bytes are not those of a JPEG, PNG, BMP, WebP or TIFF file); \
             convert it to JPEG or PNG, or remove it",
        ));
    };
    let decoded = match format {
        Format::Jpeg => guarded(|| jpeg::decode(bytes)),
        Format::Other(format) => decode_as(bytes, format),
    };
    let reason = match decoded {
        Ok(decoded) => return Ok(decoded),
        Err(reason) => reason,
    };
    let name = format.name();
    Err(DataError::invalid(
        path,
        format!("cannot decode this {name} file: {reason}; save it again with an image editor, or remove it"),
    ))
}

/// Decodes a PNG, BMP, WebP or TIFF file of a format that is known; the error is a reason without the file's
/// name.
pub(crate) fn decode_as(bytes: &[u8], format: ::image::ImageFormat) -> std::result::Result<Decoded, String> {
    guarded(|| formats::decode(bytes, format))
}

/// Runs a decoder and turns a panic into an error. A decoder parses untrusted input and may panic on it; one bad file
/// must not end a run over thousands.
fn guarded(
    decoder: impl FnOnce() -> std::result::Result<Decoded, String>,
) -> std::result::Result<Decoded, String> {
    catch_unwind(AssertUnwindSafe(decoder))
        .unwrap_or_else(|_| Err("the decoder stopped on inconsistent data".to_owned()))
}

/// File formats, recognised by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Jpeg,
    Other(::image::ImageFormat),
}

impl Format {
    fn sniff(bytes: &[u8]) -> Option<Self> {
        use ::image::ImageFormat::{Bmp, Png, Tiff, WebP};
        if bytes.starts_with(b"\xff\xd8\xff") {
            return Some(Self::Jpeg);
        }
        let format = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Png
        } else if bytes.starts_with(b"BM") {
            Bmp
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            WebP
        } else if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
            Tiff
        } else {
            return None;
        };
        Some(Self::Other(format))
    }

    fn name(self) -> &'static str {
        use ::image::ImageFormat::{Bmp, Png, Tiff};
        match self {
            Self::Jpeg => "JPEG",
            Self::Other(Png) => "PNG",
            Self::Other(Bmp) => "BMP",
            Self::Other(Tiff) => "TIFF",
            Self::Other(_) => "WebP",
        }
    }
}

/// Refuses a size that is 0 or too large to allocate.
fn check_size(width: u64, height: u64) -> std::result::Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("its size is {width}×{height}"));
    }
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(format!("it claims {width}×{height} pixels, above the limit of {MAX_PIXELS}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognised_by_content() {
        assert_eq!(Format::sniff(b"\xff\xd8\xff\xe0"), Some(Format::Jpeg));
        assert_eq!(Format::sniff(b"RIFF\0\0\0\0WEBP"), Some(Format::Other(::image::ImageFormat::WebP)));
        assert_eq!(Format::sniff(b"RIFF\0\0\0\0WAVE"), None);
        assert_eq!(Format::sniff(b"GIF89a"), None);
    }

    #[test]
    fn sizes_up_to_the_limit_are_accepted() {
        assert!(check_size(1 << 14, 1 << 13).is_ok());
        assert!(check_size(1 << 14, (1 << 13) + 1).is_err());
        assert!(check_size(0, 5).is_err());
        assert!(check_size(u64::MAX, 2).is_err());
    }
}
