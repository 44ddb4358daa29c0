//! From pixels to tensors: the only place where image data meet the tensor library.

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

/// Pixels `[N, 3, height, width]`, RGB, as floats in `[0, 1]` on a device.
///
/// They are copied as bytes and divided on the device. If the device divides according to IEEE 754, every value is
/// `pixel / 255`, correctly rounded; multiplying by 1/255 differs in half of the cases.
///
/// # Panics
/// If `pixels` does not have `n · 3 · height · width` bytes.
pub fn images(pixels: &[u8], n: usize, height: usize, width: usize, device: &Device) -> Tensor<4> {
    images_in(FloatDType::F32, pixels, [n, 3, height, width], device)
}

/// [`images`] in `format`, in which the division is done.
pub(crate) fn images_in(format: FloatDType, pixels: &[u8], shape: [usize; 4], device: &Device) -> Tensor<4> {
    let bytes = TensorData::new(pixels.to_vec(), shape);
    let bytes = Tensor::<4, Int>::from_data(bytes, (device, DType::U8));
    bytes.cast(format).div_scalar(255.0)
}

#[cfg(test)]
mod tests;
