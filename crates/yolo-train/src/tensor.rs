//! From pixels to tensors: the only bridge between the data and the tensor library.

use burn::tensor::{Device, Tensor, TensorData};

/// Pixels `[N, 3, height, width]`, RGB, as floats in `[0, 1]` on a device.
///
/// Every value is `pixel / 255`, correctly rounded; multiplying by 1/255 differs in half of the cases.
///
/// # Panics
/// If there are not `n · 3 · height · width` pixels.
pub fn images(pixels: &[u8], n: usize, height: usize, width: usize, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(scaled(pixels), [n, 3, height, width]), device)
}

/// `pixel / 255` of every byte.
pub(crate) fn scaled(pixels: &[u8]) -> Vec<f32> {
    let scaled: [f32; 256] = std::array::from_fn(|pixel| pixel as f32 / 255.0);
    pixels.iter().map(|&pixel| scaled[usize::from(pixel)]).collect()
}
