//! JPEG, with libjpeg-turbo's pixels: its integer IDCT, chroma upsampling and colour conversion.

use std::borrow::Cow;

use libjpeg_turbo_rs::{DecodeLimits, DecodeWarning, Decoder, PixelFormat};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Decoded, MAX_PIXELS, RgbImage, check_size, exif};

/// Decodes a JPEG file; the error is a reason without the file's name.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let complete = has_end_marker(bytes);
    // libjpeg adds a missing end marker where the file ends, so it decodes everything before.
    let bytes = if complete { Cow::Borrowed(bytes) } else { Cow::Owned([bytes, b"\xff\xd9"].concat()) };
    let (image, orientation, mut warnings) = match decode_like_libjpeg(&bytes) {
        Ok(decoded) => decoded,
        Err(Failure::Final(reason)) => return Err(reason),
        Err(Failure::TryAnother(reason)) => {
            let (image, orientation) = decode_otherwise(&bytes).map_err(|_| reason.clone())?;
            let warning = format!(
                "libjpeg cannot decode it ({reason}); another decoder could, with slightly other colours"
            );
            (image, orientation, vec![warning])
        }
    };
    if warnings.is_empty() && !complete {
        warnings.push("the JPEG data has no end marker; the file may have been cut off".to_owned());
    }
    Ok(Decoded { image: exif::upright(image, orientation), warnings })
}

enum Failure {
    /// No other decoder should try.
    Final(String),
    TryAnother(String),
}

fn decode_like_libjpeg(bytes: &[u8]) -> Result<(RgbImage, u32, Vec<String>), Failure> {
    let limits = DecodeLimits { max_pixels: MAX_PIXELS, ..Default::default() };
    let fail = |e: libjpeg_turbo_rs::JpegError| match e {
        libjpeg_turbo_rs::JpegError::LimitExceeded { .. } => Failure::Final(e.to_string()),
        e => Failure::TryAnother(e.to_string()),
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(fail)?;
    let four_channels = decoder.header().components.len() == 4;
    decoder.set_output_format(if four_channels { PixelFormat::Cmyk } else { PixelFormat::Rgb });
    decoder.set_lenient(true);
    // As in libjpeg: only a progressive file that ends early is smoothed.
    decoder.set_block_smoothing(true);
    let decoded = decoder.decode_image().map_err(fail)?;
    let orientation = decoded.exif_data.as_deref().map_or(1, exif::orientation);
    let pixels = if four_channels { cmyk_to_rgb(&decoded.data) } else { decoded.data };
    let image = RgbImage { width: decoded.width as u32, height: decoded.height as u32, pixels };
    if image.pixels.len() as u64 != u64::from(image.width) * u64::from(image.height) * 3 {
        return Err(Failure::TryAnother("it has an unusual number of channels".to_owned()));
    }
    let warnings = decoded.warnings.iter().map(describe).collect();
    Ok((image, orientation, warnings))
}

fn decode_otherwise(bytes: &[u8]) -> Result<(RgbImage, u32), String> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let info = decoder.info().ok_or("it has no frame header")?;
    check_size(u64::from(info.width), u64::from(info.height))?;
    let pixels = decoder.decode().map_err(|e| e.to_string())?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if pixels.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err("it has an unusual number of channels".to_owned());
    }
    let orientation = decoder.exif().map_or(1, |tiff| exif::orientation(tiff));
    Ok((RgbImage { width, height, pixels }, orientation))
}

/// OpenCV's conversion of libjpeg's CMYK, whose values count white, not ink: `k − ((255 − c)·k >> 8)`.
fn cmyk_to_rgb(cmyk: &[u8]) -> Vec<u8> {
    let convert = |v: u8, k: i32| (k - (((255 - i32::from(v)) * k) >> 8)) as u8;
    let pixels = cmyk.as_chunks::<4>().0.iter();
    pixels.flat_map(|&[c, m, y, k]| [c, m, y].map(|v| convert(v, i32::from(k)))).collect()
}

fn describe(warning: &DecodeWarning) -> String {
    match warning {
        DecodeWarning::TruncatedData { decoded_mcus, total_mcus } => format!(
            "the JPEG data ends early ({decoded_mcus} of {total_mcus} blocks are there); the rest is grey"
        ),
        other => format!("damaged JPEG data: {other}"),
    }
}

/// Whether an end marker follows the last scan. It need not be at the very end: files with several pictures, or with
/// data behind the picture, are valid. The end marker of a preview in the header does not count.
fn has_end_marker(bytes: &[u8]) -> bool {
    let last_scan = || bytes.windows(2).rposition(|pair| pair == b"\xff\xda");
    bytes.ends_with(b"\xff\xd9")
        || last_scan().is_some_and(|at| bytes[at..].windows(2).any(|pair| pair == b"\xff\xd9"))
}
