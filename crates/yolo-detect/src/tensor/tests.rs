//! Bytes on their way to a device.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::executor::scaled;

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
    let rounded: Vec<f32> = scaled(&pixels()).into_iter().map(|x| half::f16::from_f32(x).to_f32()).collect();
    assert_eq!(values, rounded);
}
