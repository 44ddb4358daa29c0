//! Weights of a convolution as 8-bit integers, symmetric, with one scale per output channel.

use super::{MASK, SCALE, VALUES, bits, part};
use crate::weights::HostTensor;
use crate::weights::entry::Entry;
use crate::weights::tensor::ElementType;

/// The largest integer; −128 is not used, so that the range is symmetric.
const LARGEST: f32 = 127.0;

/// A tensor as integers. Zeros of either sign are not among `values`.
pub(super) struct Quantized {
    pub(super) mask: Vec<u8>,
    pub(super) values: Vec<i8>,
    /// Per output channel; 0 for a channel without weights.
    pub(super) scales: Vec<f32>,
}

impl Quantized {
    /// The integers of a convolution's weight `[out, in, height, width]` with the elements `values`; `None` for another
    /// tensor, and for one whose numbers do not allow it: not finite, or so small or large that a scale or a product
    /// with it would not be a normal number.
    pub(super) fn of(tensor: &HostTensor, values: &[f32]) -> Option<Self> {
        let &[channels, ..] = tensor.shape.as_slice() else { return None };
        if tensor.shape.len() != 4 || values.is_empty() {
            return None;
        }
        let rows = values.chunks_exact(values.len() / channels);
        let scales: Vec<f32> = rows.clone().map(scale).collect::<Option<_>>()?;
        let quantized = rows.zip(&scales).flat_map(|(row, scale)| {
            row.iter().filter(|value| **value != 0.0).map(|value| integer(*value, *scale))
        });
        Some(Self {
            values: quantized.collect(),
            mask: bits(values.iter().map(|value| *value != 0.0)),
            scales,
        })
    }

    /// As it is stored under `name`.
    pub(super) fn entries(self, name: &str) -> Vec<Entry<'static>> {
        let Self { mask, values, scales } = self;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let scale_bytes = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        vec![
            part(name, MASK, ElementType::U8, mask.len(), mask),
            part(name, VALUES, ElementType::I8, values.len(), bytes),
            part(name, SCALE, ElementType::F32, scales.len(), scale_bytes),
        ]
    }
}

/// The scale of a channel.
fn scale(row: &[f32]) -> Option<f32> {
    // `max` would drop a NaN.
    if !row.iter().all(|value| value.is_finite()) {
        return None;
    }
    let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / LARGEST;
    let is_sound = largest == 0.0 || (scale.is_normal() && (scale * LARGEST).is_finite());
    is_sound.then_some(scale)
}

/// The nearest integer to `value / scale`, but not 0.
fn integer(value: f32, scale: f32) -> i8 {
    match (value / scale).round().clamp(-LARGEST, LARGEST) as i8 {
        0 if value < 0.0 => -1,
        0 => 1,
        integer => integer,
    }
}
