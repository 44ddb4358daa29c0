//! From pixels to tensors: the only bridge between the data and the tensor library.

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

/// Pixels `[N, 3, height, width]`, RGB, as floats in `[0, 1]` on a device.
///
/// They travel as bytes and are divided there. Where the device divides as IEEE 754 says, every value is
/// `pixel / 255`, correctly rounded; multiplying by 1/255 differs in half of the cases.
///
/// # Panics
/// If there are not `n · 3 · height · width` pixels.
pub fn images(pixels: &[u8], n: usize, height: usize, width: usize, device: &Device) -> Tensor<4> {
    images_in(FloatDType::F32, pixels, [n, 3, height, width], device)
}

/// [`images`] in another format, in which the division is done.
pub(crate) fn images_in(format: FloatDType, pixels: &[u8], shape: [usize; 4], device: &Device) -> Tensor<4> {
    let bytes = TensorData::new(pixels.to_vec(), shape);
    let bytes = Tensor::<4, Int>::from_data(bytes, (device, DType::U8));
    bytes.cast(format).div_scalar(255.0)
}

/// `pixel / 255` of every byte.
pub(crate) fn scaled(pixels: &[u8]) -> Vec<f32> {
    let scaled: [f32; 256] = std::array::from_fn(|pixel| pixel as f32 / 255.0);
    pixels.iter().map(|&pixel| scaled[usize::from(pixel)]).collect()
}

#[cfg(test)]
mod tests;
