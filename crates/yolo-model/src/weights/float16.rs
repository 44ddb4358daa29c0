//! Half precision to single and back, exact for every bit pattern.
//!
//! `half` converts in bulk, with the processor's instructions where it has them. Those make signalling NaNs
//! quiet, so NaNs are converted here: a file that is read and written again stays the same.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Little-endian half-precision numbers as single-precision ones.
pub(super) fn widen(bytes: &[u8]) -> Vec<f32> {
    let halves: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    for (value, half) in values.iter_mut().zip(&halves) {
        if half.is_nan() {
            let (sign, payload) = (u32::from(half.to_bits() >> 15), u32::from(half.to_bits() & 0x3ff));
            *value = f32::from_bits(sign << 31 | 0x7f80_0000 | payload << 13);
        }
    }
    values
}

/// The nearest half-precision numbers, ties to even. Finite values may become infinite.
pub(super) fn narrow(values: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    for (half, value) in halves.iter_mut().zip(values) {
        if value.is_nan() {
            let bits = value.to_bits();
            let payload = (bits >> 13 & 0x3ff) as u16;
            // A payload that lies in the lost bits would leave an infinity.
            let payload = if payload == 0 { 0x200 } else { payload };
            *half = f16::from_bits((bits >> 31 << 15) as u16 | 0x7c00 | payload);
        }
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_round_trip() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let back = narrow(&widen(&bytes));
        assert!(back.iter().enumerate().all(|(bits, half)| usize::from(half.to_bits()) == bits));
    }

    #[test]
    fn narrowing_rounds_ties_to_even() {
        // Halves near 1 are 2^-10 apart, so 1 + 2^-11 lies midway between 1 and the next.
        let halves = narrow(&[1.0 + 2.0_f32.powi(-11), 1.0 + 3.0 * 2.0_f32.powi(-11), 65519.0, 65520.0]);
        let expected = [0x3c00, 0x3c02, 0x7bff, 0x7c00];
        assert!(halves.iter().map(|half| half.to_bits()).eq(expected));
    }
}
