//! Image resizing with the arithmetic of OpenCV's `cv2.resize`, bit for bit, for 8-bit RGB.
//!
//! The published detectors were trained and measured on pixels that OpenCV interpolated in fixed point, so a
//! mathematically exact bilinear filter gives other numbers (±1 on about one value in eight). There are the two
//! modes that the pipeline uses, `INTER_LINEAR` and `INTER_AREA`, with every special case that OpenCV has for them.

mod area;
mod linear;

use crate::image::RgbImage;

/// How pixels are combined when an image changes its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// OpenCV's `INTER_LINEAR`: two taps per axis with 11-bit weights; exactly half in both axes is `Area`.
    Linear,
    /// OpenCV's `INTER_AREA`: the mean of the covered pixels; a two-tap filter on an axis that grows.
    Area,
}

/// Resizes `image` to `width × height` pixels as `cv2.resize` does.
///
/// # Panics
/// If a side of `image` or of the result is 0.
pub fn resize(image: &RgbImage, width: u32, height: u32, interpolation: Interpolation) -> RgbImage {
    let mut out = RgbImage::default();
    resize_into(image, width, height, interpolation, &mut out);
    out
}

/// [`resize`] into `out`, whose memory is reused.
///
/// # Panics
/// If a side of `image` or of the result is 0.
pub fn resize_into(
    image: &RgbImage,
    width: u32,
    height: u32,
    interpolation: Interpolation,
    out: &mut RgbImage,
) {
    assert!(image.width > 0 && image.height > 0, "an empty image cannot be resized");
    assert!(width > 0 && height > 0, "an image cannot be resized to {width}×{height}");
    out.width = width;
    out.height = height;
    if (image.width, image.height) == (width, height) {
        out.pixels.clone_from(&image.pixels);
        return;
    }
    // Every path writes every byte, so the old content does not matter.
    out.pixels.resize(width as usize * height as usize * 3, 0);

    let scale_x = scale(image.width, width);
    let scale_y = scale(image.height, height);
    let blocks = whole(scale_x).zip(whole(scale_y));
    match (interpolation, blocks) {
        (Interpolation::Linear, Some((2, 2))) => area::half(image, out),
        (Interpolation::Linear, _) => {
            let columns = linear::taps(width, scale_x);
            let rows = linear::taps(height, scale_y);
            linear::interpolate(image, &columns, &rows, out);
        }
        (Interpolation::Area, _) if scale_x < 1.0 || scale_y < 1.0 => {
            let columns = linear::area_taps(width, scale_x);
            let rows = linear::area_taps(height, scale_y);
            linear::interpolate(image, &columns, &rows, out);
        }
        (Interpolation::Area, Some((2, 2))) => area::half(image, out),
        (Interpolation::Area, Some((kx, ky))) => area::block_mean(image, kx, ky, out),
        (Interpolation::Area, None) => area::weighted(image, scale_x, scale_y, out),
    }
}

/// Source pixels per destination pixel, with OpenCV's two roundings.
fn scale(from: u32, to: u32) -> f64 {
    1.0 / (f64::from(to) / f64::from(from))
}

/// `scale` as an integer, if it is one.
fn whole(scale: f64) -> Option<usize> {
    let nearest = scale.round_ties_even();
    ((scale - nearest).abs() < f64::EPSILON && nearest >= 1.0).then_some(nearest as usize)
}
