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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Every byte, once per channel and in other places.
    fn pixels() -> Vec<u8> {
        (0..3 * 256).map(|i| (i * 7 + i / 256) as u8).collect()
    }

    #[test]
    fn bytes_become_the_nearest_floats() {
        let tensor = images(&pixels(), 1, 8, 32, &Device::flex());
        assert_eq!(tensor.dims(), [1, 3, 8, 32]);
        let values = tensor.into_data().try_into_vec_as::<f32>().unwrap();
        assert_eq!(values, scaled(&pixels()));
    }

    #[test]
    fn in_half_precision_they_are_the_rounded_quotients() {
        let tensor = images_in(FloatDType::F16, &pixels(), [1, 3, 8, 32], &Device::flex());
        assert_eq!(tensor.dtype(), DType::F16);
        let values = tensor.into_data().try_into_vec_as::<f32>().unwrap();
        let rounded: Vec<f32> =
            scaled(&pixels()).into_iter().map(|x| half::f16::from_f32(x).to_f32()).collect();
        assert_eq!(values, rounded);
    }
}
