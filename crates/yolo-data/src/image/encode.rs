//! Writing images.

use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use super::RgbImage;
use crate::{DataError, Result};

/// `image` as a JPEG file of `quality` 1 to 100, with 4:2:0 subsampling.
///
/// # Errors
/// An image without pixels, or too large for the format.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    Encoder::new(&image.pixels, image.width as usize, image.height as usize, PixelFormat::Rgb)
        .quality(quality)
        .subsampling(Subsampling::S420)
        .encode()
        .map_err(|e| DataError::mismatch(format!("the image cannot be encoded as JPEG: {e}")))
}
